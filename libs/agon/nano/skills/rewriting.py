"""Plurals and opposites."""

from random import Random

from agon.nano.skills.base import Item, loosely, plain, politely, user
from agon.nano.skills.words import WORDS

_IRREGULAR = {"mouse": "mice", "sheep": "sheep", "fish": "fish", "foot": "feet", "goose": "geese", "man": "men",
              "woman": "women", "child": "children"}  # fmt: skip
_IN_VES = {"leaf": "leaves", "knife": "knives", "wolf": "wolves", "shelf": "shelves", "scarf": "scarves"}
_NO_PLURAL = frozenset(
    """
    bacon butter cocoa coffee cotton dirt dust furniture gold grass honey iron milk mud music rice salt sand silver
    soap soil snow sugar water weather bread north south hair juice
    """.split()  # noqa: SIM905
)
_PLURAL = ("What is the plural of {word}?", "Write the plural of {word}.", "One {word}, two ...?",
           "Plural of {word}?", "What is the plural of \"{word}\"?", "Make {word} plural.")  # fmt: skip

PAIRS = (
    ("hot", "cold"), ("big", "small"), ("tall", "short"), ("fast", "slow"), ("old", "young"), ("happy", "sad"),
    ("light", "dark"), ("hard", "soft"), ("high", "low"), ("rich", "poor"), ("full", "empty"), ("open", "closed"),
    ("early", "late"), ("loud", "quiet"), ("wet", "dry"), ("clean", "dirty"), ("strong", "weak"), ("near", "far"),
    ("left", "right"), ("up", "down"), ("day", "night"), ("good", "bad"), ("black", "white"), ("first", "last"),
    ("inside", "outside"), ("thick", "thin"), ("wide", "narrow"), ("deep", "shallow"), ("easy", "difficult"),
    ("sweet", "sour"), ("true", "false"), ("push", "pull"), ("begin", "end"), ("win", "lose"), ("love", "hate"),
    ("yes", "no"), ("above", "below"), ("before", "after"), ("always", "never"),
    ("buy", "sell"), ("come", "go"), ("give", "take"), ("laugh", "cry"), ("summer", "winter"), ("smooth", "rough"),
    ("cheap", "expensive"), ("brave", "afraid"), ("asleep", "awake"), ("more", "less"),
)  # fmt: skip
OPPOSITES = {one: other for pair in PAIRS for one, other in (pair, pair[::-1])}
_OPPOSITE = ("What is the opposite of {word}?", "Opposite of {word}?", "Tell me the opposite of {word}.",
             "Give me the opposite of {word}.", "What is the opposite of \"{word}\"?", "Say the opposite of {word}.",
             "The opposite of {word} is?", "Which word is the opposite of {word}?")  # fmt: skip


def plural_of(noun: str) -> str:
    """English spelling: ladies, boxes, tomatoes, leaves, mice, cats."""
    if noun in _IRREGULAR or noun in _IN_VES:
        return _IRREGULAR.get(noun) or _IN_VES[noun]
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    if noun.endswith(("s", "x", "z", "ch", "sh")) or noun in {"potato", "tomato"}:
        return f"{noun}es"
    return f"{noun}s"


_NOUNS = tuple(sorted({word for word in WORDS if word not in _NO_PLURAL} | set(_IRREGULAR)))


def plural(rng: Random, level: float) -> Item:
    """The plural of a noun. The nouns that have no rule are drills: nobody can guess them."""
    noun = rng.choice(_NOUNS)
    many = plural_of(noun)

    def check(text: str) -> bool:
        said = plain(text)
        return said == many or said.endswith(f" is {many}") or said == f"two {many}"

    asked = loosely(rng, rng.choice(_PLURAL).format(word=noun))
    return Item("plural", noun, user(asked), f"The plural of {noun} is {many}.", check,
                drill=noun in _IRREGULAR or noun in _IN_VES)  # fmt: skip


def opposite(rng: Random, level: float) -> Item:
    """The opposite of a common word. A list to know by heart, so it is the wording that is held out."""
    word = rng.choice(tuple(OPPOSITES))
    other = OPPOSITES[word]
    template = rng.choice(_OPPOSITE)
    asked = template.format(word=word)
    asked = politely(rng, asked) if asked.startswith(("Tell", "Give", "Say")) else loosely(rng, asked)

    def check(text: str) -> bool:
        said = plain(text)
        return said == other or said.endswith(f" is {other}")

    return Item("opposite", f"{template}/{word}", user(asked), f"The opposite of {word} is {other}.", check)
