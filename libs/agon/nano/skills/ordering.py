"""Skills about several words: sorting them, counting them."""

import re
from random import Random

from agon.nano.skills.base import Item, loosely, plain, politely, user
from agon.nano.skills.letters import letters
from agon.nano.skills.words import ADJECTIVES, VERBS, WORDS, any_word

_SORT = ("Sort these words: {items}", "Sort alphabetically: {items}", "Put these words in order: {items}",
         "Sort the words {items}.", "Put in alphabetical order: {items}")  # fmt: skip
_SORT_NUMBERS = ("Sort these numbers: {items}", "Put these numbers in order: {items}", "Sort {items}.",
                 "Sort the numbers {items}.")  # fmt: skip
_COUNT = ("How many words are in \"{text}\"?", "Count the words: {text}", "How many words are in this: {text}",
          "Count the words in \"{text}\".", "How many words does \"{text}\" have?")  # fmt: skip
_COUNT_LETTERS = ("How many letters are in {word}?", "How many letters does {word} have?",
                  "Count the letters in {word}.", "How many letters are in the word {word}?")  # fmt: skip


def sort(rng: Random, level: float) -> Item:
    """Two to four words, of different first letters, or numbers below 100, in order."""
    most = 2 if level < 0.25 else 3 if level < 0.5 else 4
    count = rng.randint(2, most)
    if rng.random() < 0.35:
        numbers = rng.sample(range(100), count)
        given, right = [str(n) for n in numbers], [str(n) for n in sorted(numbers)]
        asked = rng.choice(_SORT_NUMBERS)
    else:
        by_letter: dict[str, str] = {}
        while len(by_letter) < count:
            word = rng.choice(WORDS)
            by_letter.setdefault(word[0], word)
        given = list(by_letter.values())
        rng.shuffle(given)
        right = sorted(given)
        asked = rng.choice(_SORT)
    return Item(
        "sort",
        ",".join(right),
        user(loosely(rng, asked.format(items=", ".join(given)))),
        ", ".join(right),
        lambda text: re.findall(r"[a-z0-9]+", plain(text)) == right,
        drill=count == 2,
    )


def count(rng: Random, level: float) -> Item:
    """Words of a phrase or letters of a word, counted one by one."""
    if rng.random() < 0.4:
        word, made_up = any_word(rng)
        asked, things, noun = rng.choice(_COUNT_LETTERS).format(word=word), list(word), "letter"
        key, drill = letters(word), made_up
    else:
        most = 3 + round(4 * level)
        things = [rng.choice((*WORDS, *ADJECTIVES, *VERBS, "the", "a", "the")) for _ in range(rng.randint(2, most))]
        asked, noun = rng.choice(_COUNT).format(text=" ".join(things)), "word"
        key, drill = " ".join(things), len(things) < 3
    total = len(things)
    counted = ", ".join(f"{thing} {number}" for number, thing in enumerate(things, 1))
    plural = noun if total == 1 else f"{noun}s"
    answer = f"{counted}. That is {total} {plural}."

    def check(text: str) -> bool:
        return re.search(rf"(^|\b(is|are|has|have) ){total}( {noun}s?)?$", plain(text)) is not None

    return Item(
        "count", key, user(politely(rng, asked) if asked.startswith("Count") else asked), answer, check, drill=drill
    )
