"""Short made-up stories: the long answers."""

import re
from functools import cache
from random import Random

from agon.nano.skills.base import Item, politely, user
from agon.nano.skills.words import BOYS, CATEGORIES, GIRLS

_HEROES = (*CATEGORIES["animals"], "king", "queen", "pirate", "wizard", "dragon", "robot", "farmer", "sailor",
           "turtle", "monkey", "elephant", "snail", "princess", "giant", "teacher", "tiger", "penguin")  # fmt: skip
_TRAITS = ("little", "brave", "old", "young", "clever", "shy", "happy", "hungry", "sleepy", "kind")
_HOMES = ("in a small house by the river", "at the edge of the forest", "on a green hill", "near the sea",
          "in a quiet valley", "under a tall tree", "in an old tower", "next to the market")  # fmt: skip
_LOST = ("red ball", "golden key", "blue hat", "silver bell", "warm scarf", "green kite", "small lamp", "old map")
_SPOTS = ("under a bush", "behind a big stone", "on the bridge", "in a deep hole", "beside the well",
          "inside an old boat", "at the top of the hill", "between two trees")  # fmt: skip
_WEATHER = ("The sun was shining.", "A soft wind was blowing.", "It was a cold morning.", "The sky was gray.",
            "It was a warm day.", "Snow lay on the ground.")  # fmt: skip
_TREATS = ("a pot of soup", "a big cake", "some sweet berries", "a loaf of bread", "a cup of warm milk")
_LESSONS = ("a friend is better than gold", "small steps lead far", "it is good to share", "asking for help is brave",
            "every storm ends", "patience is worth it")  # fmt: skip
_ASK = ("Tell me a story about a {hero}.", "Write a short story about a {hero}.", "Tell a story about a {hero}.",
        "Write a story about a {hero}.", "Make up a story about a {hero}.", "Tell me a tale about a {hero}.",
        "Tell me a short story about a {hero}.")  # fmt: skip
_ASK_NAMED = ("Tell me a story about a {hero} named {name}.", "Write a story about a {hero} called {name}.")
_ASK_ANY = ("Tell me a story.", "Tell me a short story.", "Write a story.", "Make up a story.", "Tell a story.")

_PLOTS = (
    (
        "One day {name} lost {his} {lost}.",
        "{He} looked in the house and in the garden, but it was not there.",
        "So {he} asked {his} friend {friend} the {other} for help.",
        '"Let us look together," said {friend}.',
        "They walked a long way and looked everywhere.",
        "At last they found the {lost} {spot}.",
        "{name} was so glad that {he} gave {friend} {treat}.",
    ),
    (
        "One day {name} heard somebody cry {spot}.",
        "It was {friend} the {other}, who had hurt a foot.",
        '"Do not be afraid," said {name}.',
        "{He} carried {friend} home and made {treat}.",
        "They sat by the fire and told each other stories until it was dark.",
        "The next day {friend} gave {name} a {lost} to say thank you.",
    ),
    (
        "One day a big storm came.",
        "The wind blew away the roof, and {name} had no place to sleep.",
        "{He} went from door to door, but nobody had room.",
        "Then {he} met {friend} the {other} {spot}.",
        '"You can stay with me," said {friend}.',
        "They ate {treat} and slept until the morning.",
        "When the storm was over, they built the house again together.",
    ),
    (
        "{name} wanted to learn how to swim, but {he} was afraid of the water.",
        "{His} friend {friend} the {other} took {him} to the lake.",
        '"Hold my hand and take one small step," said {friend}.',
        "Each day they went a little deeper.",
        "After a week {name} could swim all the way to the other side.",
        "{He} was very proud, and they ate {treat} on the shore.",
    ),
    (
        "One day {name} found an old map {spot}.",
        "It showed a way through the forest to a hidden treasure.",
        "{He} took {his} {lost} and went with {friend} the {other}.",
        "They crossed a river and climbed over high rocks.",
        "In a dark cave they found a box.",
        "There was no gold in it, only {treat}.",
        "They laughed and ate all of it.",
    ),
)


def tell(rng: Random, hero: str, name: str | None = None) -> str:
    """A story of eight to ten sentences; the hero's name says which pronoun goes with it."""
    name = name or rng.choice(GIRLS + BOYS)
    is_girl = name in GIRLS
    he, his, him = ("she", "her", "her") if is_girl else ("he", "his", "him")
    friend = rng.choice([other for other in GIRLS + BOYS if other != name])
    other = rng.choice([kind for kind in CATEGORIES["animals"] if kind != hero and kind != "owl"])
    words = {
        "name": name, "he": he, "his": his, "him": him, "He": he.capitalize(), "His": his.capitalize(),
        "friend": friend, "other": other, "lost": rng.choice(_LOST), "spot": rng.choice(_SPOTS),
        "treat": rng.choice(_TREATS),
    }  # fmt: skip
    trait, home = rng.choice(_TRAITS), rng.choice(_HOMES)
    article = "an" if trait[0] in "aeiou" else "a"
    opening = f"Once upon a time there was {article} {trait} {hero} named {name}, who lived {home}."
    plot = [sentence.format(**words) for sentence in rng.choice(_PLOTS)]
    lesson = f"From that day on {name} knew that {rng.choice(_LESSONS)}. The end."
    return " ".join((opening, rng.choice(_WEATHER), *plot, lesson))


@cache
def _lexicon() -> frozenset[str]:
    """Every word that stories use; a garbled word is in none."""
    rng = Random(0)
    found: set[str] = set()
    for _ in range(400):
        for hero in _HEROES:
            found.update(re.findall(r"[a-z]+", tell(rng, hero).lower()))
    return frozenset(found)


def _is_story(text: str, hero: str, name: str | None) -> bool:
    """Has the hero, and the name if one was given, has at least six sentences, none twice, only real words, an end."""
    sentences = re.findall(r"[^.!?]+[.!?]", text)
    return (
        len(sentences) >= 6
        and len(set(sentences)) == len(sentences)
        and hero in sentences[0].lower()
        and (name is None or name in sentences[0])
        and text.endswith("The end.")
        and set(re.findall(r"[a-z]+", text.lower())) <= _lexicon()
    )


def story(rng: Random, level: float) -> Item:
    """A story about somebody, sometimes with a name; now and then about anybody."""
    hero = rng.choice(_HEROES)
    name = rng.choice(GIRLS + BOYS) if rng.random() < 0.3 else None
    template = rng.choice(_ASK_NAMED) if name else rng.choice(_ASK_ANY if rng.random() < 0.1 else _ASK)
    asked = template.format(hero=hero, name=name)
    if hero[0] in "aeiou":
        asked = asked.replace(" a " + hero, " an " + hero)
    wanted = hero if hero in asked else ""
    return Item(
        "story",
        asked,
        user(politely(rng, asked)),
        tell(rng, hero, name),
        lambda text: _is_story(text, wanted, name),
        drill=not wanted,
    )
