"""The slices that a vote counts in: pure functions of what is known about it when it is judged.

The names are stored with the vote, so that what was added once can be taken away exactly, whatever rules come later.

| slice                                 | votes                                                                     |
|---------------------------------------|---------------------------------------------------------------------------|
| `overall`                             | all                                                                       |
| `language-en`, ..., `language-unknown`| by the question's language                                                |
| `category-code`, ..., `category-other`| by what the question is about (`agon.arena.categories`); may be several   |
| `turn-first`, `turn-later`            | by the turn that was voted on                                             |
| `length-short`, `-medium`, `-long`    | questions of up to 100, up to 500, and more characters                    |
| any other name                        | those that the arena declares: `{"name": ..., "where": {fact: condition}}`|

An import counts in the slices of what it states; what it leaves out makes no slice.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from agon.arena.categories import CATEGORIES, OTHER
from agon.errors import SetupError

OVERALL = "overall"
UNKNOWN = "unknown"
_ALL_ONLY = (OVERALL,)
MOST_DECLARED = 64
"""Slices that an arena may declare: each is a board of its own."""
_SHORT, _MEDIUM = 100, 500
_CATEGORY = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
_NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,63}$")
_BUILT_IN = re.compile(r"^(?:overall$|language-|category-|turn-|length-)")
_LANGUAGE = re.compile(r"^[a-z]{2,3}$")


class Facts(NamedTuple):
    """What is known about a vote; None is unknown. Characters are counted as Unicode code points."""

    models: tuple[str, str]
    turn: int = 1
    imported: bool = False
    language: str | None = None
    categories: tuple[str, ...] | None = None
    prompt_characters: int | None = None
    answer_characters: tuple[int, int] | None = None
    """of a and b"""
    voter_kind: str | None = None


Condition = Callable[[Facts], bool]


@dataclass(frozen=True, slots=True)
class Declared:
    """A slice of an arena's own: votes for which all conditions hold."""

    name: str
    conditions: tuple[Condition, ...]

    def holds(self, facts: Facts) -> bool:
        return all(condition(facts) for condition in self.conditions)


def slices(facts: Facts, declared: Sequence[Declared] = (), own_categories: Sequence[str] = ()) -> tuple[str, ...]:
    """The names of all slices that the vote belongs to, `overall` first. `own_categories` are those that the arena's
    imports may name besides `CATEGORIES`."""
    if facts.imported and not declared and facts.language is None and facts.categories is None:
        return _ALL_ONLY
    return (OVERALL, *_built_in(facts, own_categories), *(each.name for each in declared if each.holds(facts)))


def _built_in(facts: Facts, own_categories: Sequence[str]) -> list[str]:
    found = []
    language = None if facts.language is None else facts.language.lower().partition("-")[0]
    if language is not None and _LANGUAGE.match(language):
        found.append(f"language-{language}")
    elif not facts.imported:
        found.append(f"language-{UNKNOWN}")
    if facts.categories is not None:
        # Each once: an import may repeat itself, and its vote would count twice.
        known = [name for name in dict.fromkeys(facts.categories) if name in CATEGORIES or name in own_categories]
        found += [f"category-{name}" for name in known] or [f"category-{OTHER}"]
    elif not facts.imported:
        found.append(f"category-{UNKNOWN}")
    if not facts.imported:
        found.append("turn-first" if facts.turn == 1 else "turn-later")
        found.append(f"length-{_length(facts.prompt_characters)}")
    return found


def _length(characters: int | None) -> str:
    if characters is None:
        return UNKNOWN
    return "short" if characters <= _SHORT else "medium" if characters <= _MEDIUM else "long"


def declared_categories(policy: Mapping[str, Any]) -> tuple[str, ...]:
    """`policy["categories"]`: what imports may say that a question is about, besides what the house knows. Raises
    `SetupError`."""
    own = policy.get("categories", [])
    if not isinstance(own, list) or not all(isinstance(name, str) and _CATEGORY.match(name) for name in own):
        raise SetupError("the policy's `categories` must be a list of names of 1 to 64 of A-Z, a-z, 0-9, _ and -")
    return tuple(own)


def declared_slices(policy: Mapping[str, Any]) -> tuple[Declared, ...]:
    """The slices of an arena's policy, `policy["slices"]`: a list of `{"name": NAME, "where": {FACT: CONDITION}}`.

    | fact | condition |
    |---|---|
    | `language`, `voter_kind` | a list of values, of which it is one |
    | `categories` | a list, all of which it has |
    | `models` | a list that holds both models |
    | `turn`, `prompt_characters`, `answer_characters` (the longer one) | `{"least": N, "most": N}`, or one of them |

    A fact that is unknown meets no condition. Raises `SetupError` naming what is wrong.
    """
    rules = policy.get("slices", [])
    if not isinstance(rules, list) or len(rules) > MOST_DECLARED:
        raise SetupError(f"the policy's `slices` must be a list of at most {MOST_DECLARED} rules")
    found = []
    for rule in rules:
        name = rule.get("name") if isinstance(rule, dict) else None
        if not isinstance(name, str) or not _NAME.match(name) or _BUILT_IN.match(name):
            raise SetupError(f"a slice's `name` is 1 to 64 of a-z, 0-9, _ and -, and no built-in one: not {name!r}")
        where = rule.get("where")
        if not isinstance(where, dict) or not where:
            raise SetupError(f"slice {name!r} needs `where`, an object of conditions")
        found.append(Declared(name, tuple(_condition(name, fact, wanted) for fact, wanted in where.items())))
    if len({each.name for each in found}) != len(found):
        raise SetupError("two of the policy's slices have the same name")
    return tuple(found)


def _condition(name: str, fact: str, wanted: Any) -> Condition:
    if fact in ("language", "voter_kind"):
        values = _strings(name, fact, wanted)
        return lambda facts: getattr(facts, fact) in values
    if fact == "categories":
        values = _strings(name, fact, wanted)
        return lambda facts: facts.categories is not None and values <= set(facts.categories)
    if fact == "models":
        values = _strings(name, fact, wanted)
        return lambda facts: values >= set(facts.models)
    if fact in _NUMBERS:
        least, most = _bounds(name, fact, wanted)
        number = _NUMBERS[fact]
        return lambda facts: (value := number(facts)) is not None and least <= value <= most
    raise SetupError(f"slice {name!r} asks for {fact!r}, which is no fact about a vote")


_NUMBERS: dict[str, Callable[[Facts], int | None]] = {
    "turn": lambda facts: facts.turn,
    "prompt_characters": lambda facts: facts.prompt_characters,
    "answer_characters": lambda facts: None if facts.answer_characters is None else max(facts.answer_characters),
}


def _strings(name: str, fact: str, wanted: Any) -> frozenset[str]:
    if not isinstance(wanted, list) or not wanted or not all(isinstance(value, str) for value in wanted):
        raise SetupError(f"slice {name!r}: `{fact}` needs a list of strings")
    return frozenset(wanted)


def _bounds(name: str, fact: str, wanted: Any) -> tuple[float, float]:
    known = isinstance(wanted, dict) and wanted and set(wanted) <= {"least", "most"}
    if not known or not all(type(value) is int for value in wanted.values()):
        raise SetupError(f"slice {name!r}: `{fact}` needs integers `least`, `most` or both")
    return wanted.get("least", float("-inf")), wanted.get("most", float("inf"))
