"""Facts of a small made-up world, and questions about a text that is given."""

import re
from random import Random

from agon.nano.skills.base import Check, Item, loosely, plain, user
from agon.nano.skills.words import CATEGORIES, NAMES

PEOPLE: dict[str, dict[str, str]] = {
    name: dict(zip(("town", "job", "pet", "color", "food"), facts.split(), strict=True))
    for name, facts in {
        "Mira": "Oldum baker goat green soup",
        "Tavi": "Rivermoor sailor parrot blue fish",
        "Orla": "Highcliff doctor owl white bread",
        "Dario": "Oldum farmer horse brown corn",
        "Yuna": "Sandport teacher cat yellow rice",
        "Bram": "Rivermoor painter dog red pasta",
        "Selma": "Highcliff singer rabbit purple cake",
        "Kofi": "Sandport cook duck orange curry",
        "Ilse": "Greendale gardener frog pink salad",
        "Rolf": "Greendale smith bear black stew",
        "Nadia": "Oldum pilot fox silver pizza",
        "Emil": "Sandport writer mouse gray cheese",
    }.items()
}
TOWNS = {
    "Oldum": "by the lake",
    "Rivermoor": "on the river",
    "Highcliff": "in the mountains",
    "Sandport": "by the sea",
    "Greendale": "in the forest",
}
_ASKED = {
    "town": (
        ("Where does {name} live?", "In which town does {name} live?", "Which town is {name} from?",
         "What town does {name} live in?", "Tell me where {name} lives.", "Do you know where {name} lives?"),
        "{name} lives in {fact}.",
    ),
    "job": (
        ("What is {name}'s job?", "What does {name} do for work?", "What is the job of {name}?",
         "Which job does {name} have?", "Tell me {name}'s job.", "What does {name} work as?"),
        "{name} is a {fact}.",
    ),
    "pet": (
        ("What pet does {name} have?", "Which animal does {name} have?", "What is {name}'s pet?",
         "Does {name} have a pet?", "Tell me about {name}'s pet.", "What kind of pet does {name} own?"),
        "{name} has a {fact}.",
    ),
    "color": (
        ("What is {name}'s favorite color?", "Which color does {name} like best?", "What color does {name} like?",
         "Tell me {name}'s favorite color.", "Which color is {name}'s favorite?"),
        "{name}'s favorite color is {fact}.",
    ),
    "food": (
        ("What does {name} like to eat?", "What is {name}'s favorite food?", "Which food does {name} like best?",
         "What food does {name} like?", "Tell me what {name} likes to eat."),
        "{name} likes to eat {fact}.",
    ),
}  # fmt: skip
_WHERE = ("Where is {town}?", "Where does {town} lie?", "Tell me where {town} is.", "Where can I find {town}?")


def facts(rng: Random, level: float) -> Item:
    """What is true of the people and towns. Known by heart: it is the wording, for each fact, that is held out."""
    if rng.random() < 0.1:
        town, template = rng.choice(tuple(TOWNS)), rng.choice(_WHERE)
        answer, fact, asked, key = f"{town} is {TOWNS[town]}.", TOWNS[town], template.format(town=town), town
    else:
        name = rng.choice(tuple(PEOPLE))
        about = rng.choice(tuple(_ASKED))
        templates, sentence = _ASKED[about]
        template, fact, key = rng.choice(templates), PEOPLE[name][about], name
        asked = template.format(name=name)
        answer = sentence.format(name=name, fact=fact).replace(" a owl", " an owl")
    return Item("facts", f"{template}/{key}", user(loosely(rng, asked)), answer, _mentions(key, fact))


def _mentions(subject: str, fact: str, others: tuple[str, ...] = ()) -> Check:
    """The fact is said, alone or about its subject, and none of the other things that could have been said."""

    def check(text: str) -> bool:
        said = re.sub(r"[.,]", "", plain(text))
        words = said.split()
        is_about = subject.lower() in said or len(words) <= len(fact.split()) + 2
        return f" {fact.lower()} " in f" {said} " and is_about and len(words) <= 12 and not set(words) & set(others)

    return check


_THINGS = CATEGORIES["clothes"] + CATEGORIES["tools"] + ("bag", "cup", "book", "bike", "ball", "kite", "box", "key")
_PLACES = ("kitchen", "garden", "school", "park", "market", "library", "forest", "station", "barn", "attic", "harbor")


def reading(rng: Random, level: float) -> Item:
    """Two or three sentences, and a question about one of them."""
    count = 2 if level < 0.3 else rng.choice((2, 2, 3))
    names = rng.sample(NAMES, count)
    things = rng.sample(_THINGS, count)
    kind = rng.choice(("color", "place", "animal", "owner"))
    pools = {"color": CATEGORIES["colors"], "place": _PLACES, "animal": CATEGORIES["animals"], "owner": NAMES}
    values = names if kind == "owner" else rng.sample(pools[kind], count)
    sentence, question, answer = {
        "color": ("{name} has a {value} {thing}.", "What color is {name}'s {thing}?", "{name}'s {thing} is {value}."),
        "place": ("{name} is in the {value}.", "Where is {name}?", "{name} is in the {value}."),
        "animal": ("{name} sees a {value}.", "What does {name} see?", "{name} sees a {value}."),
        "owner": ("{name} has the {thing}.", "Who has the {thing}?", "{name} has the {thing}."),
    }[kind]
    rows = [
        {"name": name, "thing": thing, "value": value} for name, thing, value in zip(names, things, values, strict=True)
    ]
    text = " ".join(sentence.format(**row) for row in rows)
    row = rng.choice(rows)
    ask = question.format(**row)
    asked = rng.choice((f"{text} {ask}", f"{text} {ask}", f"Read this: {text} {ask}", f"{text}\n{ask}"))
    others = tuple(other.lower() for other in values if other != row["value"])
    return Item(
        "reading",
        text,
        user(asked.replace("a orange", "an orange").replace("a owl", "an owl")),
        answer.format(**row).replace("a owl", "an owl"),
        _mentions(row["thing"] if kind == "owner" else row["name"], row["value"], others),
    )
