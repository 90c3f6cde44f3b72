"""Chats of two or three turns whose last question cannot be answered without the earlier ones."""

from random import Random

from agon.nano.skills.base import Item, plain, turns
from agon.nano.skills.letters import letters, spelled
from agon.nano.skills.rewriting import OPPOSITES, plural_of
from agon.nano.skills.words import CATEGORIES, NAMES, WORDS, with_article

_BETWEEN = (
    ("How are you?", "I am fine, thank you. How are you?"),
    ("What is 2 + 3?", "2 + 3 = 5."),
    ("What is the opposite of hot?", "The opposite of hot is cold."),
    ("Spell cat.", "c-a-t"),
    ("Thanks!", "You are welcome!"),
    ("Which is bigger, 7 or 12?", "12 is bigger than 7."),
)


def _recall(rng: Random) -> Item:
    """Something that the user said about themselves."""
    kind = rng.choice(("name", "color", "pet"))
    if kind == "name":
        fact = rng.choice(NAMES)
        told = rng.choice(("My name is {x}.", "I am {x}.", "Hi, I'm {x}.", "Hello, my name is {x}.")).format(x=fact)
        reply = f"Nice to meet you, {fact}!"
        asked = rng.choice(("What is my name?", "Do you remember my name?", "Who am I?", "What's my name?"))
        answer = f"Your name is {fact}."
    elif kind == "color":
        fact = rng.choice(CATEGORIES["colors"])
        told = rng.choice(("My favorite color is {x}.", "I like the color {x} best.", "I love {x}.")).format(x=fact)
        reply = f"{fact.capitalize()} is a nice color."
        asked = rng.choice(("What is my favorite color?", "Which color do I like?", "What color do I like best?"))
        answer = f"Your favorite color is {fact}."
    else:
        fact = rng.choice(CATEGORIES["animals"])
        one = with_article(fact)
        told = rng.choice(("I have {x}.", "My pet is {x}.", "At home I have {x}.")).format(x=one)
        reply = f"{one.capitalize()} is a good friend."
        asked = rng.choice(("What pet do I have?", "Which animal do I have?", "What is my pet?"))
        answer = f"You have {one}."
    between = rng.sample(_BETWEEN, rng.choice((0, 0, 1, 1, 2)))
    texts = (told, reply, *(text for pair in between for text in pair), asked)
    key = f"{told}/{'/'.join(pair[0] for pair in between)}/{asked}"

    def check(text: str) -> bool:
        words = plain(text).replace(",", "").split()
        return fact.lower() in words and len(words) <= 12

    return Item("follow_up", key, turns(*texts), answer, check)


def _again(rng: Random) -> Item:
    """The same question about another word: "And dog?"."""
    kind = rng.choice(("spell", "opposite", "plural"))
    one, two = rng.sample(tuple(OPPOSITES) if kind == "opposite" else WORDS, 2)
    then = rng.choice(("And {x}?", "And what about {x}?", "What about {x}?", "And now {x}.")).format(x=two)
    if kind == "spell":
        texts = (f"Spell {one}.", letters(one), then)
        answer = letters(two)
        return Item("follow_up", f"spell/{two}", turns(*texts), answer, lambda text: spelled(two, text))
    if kind == "opposite":
        asked, done, right = "What is the opposite of {x}?", "The opposite of {x} is {y}.", OPPOSITES
        first, second = right[one], right[two]
    else:
        asked, done = "What is the plural of {x}?", "The plural of {x} is {y}."
        first, second = plural_of(one), plural_of(two)
    texts = (asked.format(x=one), done.format(x=one, y=first), then)
    return Item("follow_up", f"{kind}/{one}/{two}", turns(*texts), done.format(x=two, y=second),
                lambda text: plain(text) == second or plain(text).endswith(f" is {second}"))  # fmt: skip


def follow_up(rng: Random, level: float) -> Item:
    """Something told before, or the same again for another word."""
    return _recall(rng) if rng.random() < 0.55 else _again(rng)
