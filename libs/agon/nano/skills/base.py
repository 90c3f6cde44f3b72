"""What a skill is: a generator of questions with their right answers, a checker, and a split that never leaks."""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

Message = dict[str, str]
Check = Callable[[str], bool]

HELD_OUT_SHARE = 8
"""One in so many keys is never trained on."""


@dataclass(frozen=True, slots=True)
class Item:
    """One question: a chat that ends with a user's turn, an answer that is right, and a check of any other answer.

    `key` names what is asked, apart from the wording where the wording is not what is tested; it alone decides the
    split. A `drill` is an exercise that only training sees: shorter or simpler than what is asked of a trained model.
    """

    skill: str
    key: str
    messages: tuple[Message, ...]
    answer: str
    check: Check = field(compare=False, repr=False)
    drill: bool = False

    @property
    def is_held_out(self) -> bool:
        """Whether training must not see it. A pure function of skill and key."""
        digest = hashlib.sha256(f"{self.skill}/{self.key}".encode()).digest()
        return int.from_bytes(digest[:4], "big") % HELD_OUT_SHARE == 0

    def is_right(self, text: str) -> bool:
        """Whether `text` answers the question: other words are fine where they say the same."""
        return self.check(text.strip())


Draw = Callable[[Random, float], Item]
"""Makes any item of a skill. The number, 0 to 1, says how large it may be: training starts small."""


@dataclass(frozen=True, slots=True)
class Skill:
    """Something a nano model is taught."""

    name: str
    title: str
    """For people, as in "Adding two numbers"."""
    draw: Draw
    weight: float = 1.0
    """How often training draws it, relative to the others."""

    def train(self, rng: Random, level: float = 1.0) -> Item:
        """An item for training; never one that `held_out` could give. `level`, 0 to 1, bounds its size."""
        while (item := self.draw(rng, level)).is_held_out:
            pass
        return item

    def held_out(self, rng: Random) -> Item:
        """An item that training never saw."""
        while not (item := self.draw(rng, 1.0)).is_held_out or item.drill:
            pass
        return item

    def is_right(self, item: Item, text: str) -> bool:
        """`item.is_right(text)`, for those who hold the skill."""
        return item.is_right(text)


def user(text: str) -> tuple[Message, ...]:
    """A chat of one turn."""
    return ({"role": "user", "content": text},)


def turns(*texts: str) -> tuple[Message, ...]:
    """A chat of user and assistant in turn, the user first."""
    return tuple({"role": "assistant" if number % 2 else "user", "content": text} for number, text in enumerate(texts))


def loosely(rng: Random, text: str) -> str:
    """The text as people type it: now and then without its capital or its last mark."""
    if rng.random() < 0.3:
        text = text[0].lower() + text[1:]
    if rng.random() < 0.25 and text[-1] in ".?!":
        text = text[:-1]
    return text


def politely(rng: Random, order: str) -> str:
    """An order such as "Spell cat." as people put it: as it is, or with please, can you, could you."""
    chance = rng.random()
    bare = order[0].lower() + order[1:]
    if chance < 0.6:
        return loosely(rng, order)
    if chance < 0.75:
        return loosely(rng, f"Please {bare}")
    opening = rng.choice(("Can you", "Could you", "Can you please", "Could you please"))
    return loosely(rng, f"{opening} {bare.rstrip('.')}?" if bare[-1] == "." else f"{opening} {bare}")


def plain(text: str) -> str:
    """For comparing: lower case, single spaces, no mark at the end."""
    return re.sub(r"\s+", " ", text).strip().lower().rstrip(".!?").strip()


def says(*answers: str) -> Check:
    """A check: one of these, give or take case, spaces and the last mark."""
    wanted = {plain(answer) for answer in answers}
    return lambda text: plain(text) in wanted


def says_one_of(answers: Iterable[str]) -> Check:
    return says(*answers)


_SUM_WORDS = frozenset("so and is the answer equals it result plus minus times x".split())  # noqa: SIM905


def comes_to(number: int, *operands: int) -> Check:
    """A check: a sum, alone or with its steps, whose last number is this one; steps must name the operands."""

    def check(text: str) -> bool:
        found = [int(digits) for digits in re.findall(r"\d+", text)]
        is_sum = set(re.findall(r"[a-z]+", text.lower())) <= _SUM_WORDS
        return bool(found) and found[-1] == number and is_sum and (len(found) == 1 or set(operands) <= set(found))

    return check
