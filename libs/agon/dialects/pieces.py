"""What an answer is made of."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Text:
    """More of what the model says to the user."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """More of what it thought before."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool begins. `index` counts the calls of this answer from 0."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class Arguments:
    """More of a call's arguments, as JSON text. Joined they are an object, unless the answer was cut off."""

    index: int
    text: str


Piece = Text | Reasoning | Call | Arguments


@dataclass(slots=True)
class Spoken:
    """A whole answer: its pieces, put together."""

    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    """Name and arguments, in order."""


def fold(pieces: Iterable[Piece], into: Spoken | None = None) -> Spoken:
    """Put pieces together; `into` is what came before them."""
    spoken = into or Spoken()
    for piece in pieces:
        match piece:
            case Text(text):
                spoken.text += text
            case Reasoning(text):
                spoken.reasoning += text
            case Call(_, name):
                spoken.calls.append((name, ""))
            case Arguments(index, text):
                name, before = spoken.calls[index]
                spoken.calls[index] = (name, before + text)
    return spoken


def call_id(answer: str, choice: int, index: int) -> str:
    """The id of a call: the same wherever it is told, another for each call of each answer."""
    return f"call_{hashlib.blake2b(f'{answer}/{choice}/{index}'.encode(), digest_size=12).hexdigest()}"
