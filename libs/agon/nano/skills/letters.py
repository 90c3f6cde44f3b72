"""Skills about the letters of a word: spelling, reversing, upper case."""

import re
from random import Random

from agon.nano.skills.base import Item, politely, user
from agon.nano.skills.words import ADJECTIVES, VERBS, WORDS, any_word

_SPELL = ("Spell {word}.", "Spell the word {word}.", "Spell \"{word}\".", "Tell me how to spell {word}.",
          "Spell out {word}.", "Spell the word \"{word}\".", "Show me how {word} is spelled.")  # fmt: skip
_ASK_SPELL = ("How do you spell {word}?", "How is {word} spelled?", "How do I spell {word}?",
              "What are the letters of {word}?")  # fmt: skip
_REVERSE = ("Reverse the word {word}.", "Spell {word} backwards.", "Write {word} backwards.", "Reverse {word}.",
            "Reverse \"{word}\".", "Say {word} backwards.", "Turn the word {word} around.")  # fmt: skip
_ASK_REVERSE = ("What is {word} backwards?", "What is {word} spelled backwards?")
_UPPER = ("Write in upper case: {text}", "Put this in capital letters: {text}", "Make this upper case: {text}",
          "Write \"{text}\" in capital letters.", "Turn into capitals: {text}",
          "Write this in capitals: {text}")  # fmt: skip


def letters(word: str) -> str:
    """As in c-a-t."""
    return "-".join(word)


def spelled(word: str, text: str) -> bool:
    """Whether the last run of single letters in the text is this word."""
    runs = re.findall(r"(?<![a-z])[a-z](?:[-, ]+[a-z](?![a-z]))*(?![a-z])", text.lower())
    return bool(runs) and re.sub(r"[^a-z]", "", runs[-1]) == word


def spell(rng: Random, level: float) -> Item:
    """A word, letter by letter."""
    word, made_up = any_word(rng)
    if rng.random() < 0.7:
        asked = politely(rng, rng.choice(_SPELL).format(word=word))
    else:
        asked = rng.choice(_ASK_SPELL).format(word=word)
    return Item("spell", word, user(asked), f"{letters(word)}", lambda text: spelled(word, text), drill=made_up)


def reverse(rng: Random, level: float) -> Item:
    """A word, letter by letter from its end, after the letters as they are."""
    word, made_up = any_word(rng)
    if rng.random() < 0.75:
        asked = politely(rng, rng.choice(_REVERSE).format(word=word))
    else:
        asked = rng.choice(_ASK_REVERSE).format(word=word)
    back = word[::-1]
    answer = f"{letters(word)} backwards is {letters(back)}"

    def check(text: str) -> bool:
        return spelled(back, text) or text.strip(" .").lower() == back

    return Item("reverse", word, user(asked), answer, check, drill=made_up)


def upper(rng: Random, level: float) -> Item:
    """Two to five words in capitals."""
    count = rng.randint(1, 2 + round(2 * level))
    words = [rng.choice(WORDS) for _ in range(count)]
    if count > 2 and rng.random() < 0.5:
        words = ["the", rng.choice(ADJECTIVES), rng.choice(WORDS), rng.choice(VERBS)]
    text = " ".join(words)
    return Item(
        "upper",
        text,
        user(rng.choice(_UPPER).format(text=text)),
        text.upper(),
        lambda answer: answer.strip(' ".') == text.upper(),
    )
