"""Who takes part where the gate is compared with its model, and what they say: two workers and the ingress' readers."""

from dataclasses import dataclass, field

from agon.stream.frames import Delta, Frame, Out, body
from agon.stream.gate import Claiming
from agon.stream.inbox import Inbox
from agon.stream.told import Told

REQUESTS = ("r0", "r1")
CHOICES = {"r0": 1, "r1": 2}
LENGTH = 9
"""Tokens of each choice."""


def token(request: str, choice: int, at: int) -> int:
    return 1000 * REQUESTS.index(request) + 100 * choice + at


def shown(request: str, choice: int, tokens: int) -> str:
    """The text behind so many tokens: two letters each, but odd tokens are held back until the next one comes."""
    letters = "".join(f"{token(request, choice, at) % 97:02d}" for at in range(tokens))
    held = 2 if tokens % 2 and tokens < LENGTH else 0
    return letters[: len(letters) - held]


def delta(request: str, choice: int, at: int, tokens: int, flush: bool) -> Delta:
    """Tokens `at` to `at + tokens`; `flush` is the last frame of a choice, which may bring no token at all."""
    ids = tuple(token(request, choice, i) for i in range(at, at + tokens))
    text = shown(request, choice, at + tokens)[len(shown(request, choice, at)) :] + ("!" if flush else "")
    return Delta(ids, text, "stop" if flush else None)


def whole(request: str, choice: int) -> tuple[list[int], str]:
    return [token(request, choice, i) for i in range(LENGTH)], shown(request, choice, LENGTH) + "!"


@dataclass
class Held:
    """A request in a worker's hands: `sent` frames may or may not be on the list, because the reply was lost."""

    attempt: int
    claiming: Claiming
    written: list[Out]
    positions: list[int]
    flushed: list[bool]
    sent: list[Out] = field(default_factory=list)
    ended: bool = False


@dataclass
class Worker:
    name: str
    incarnation: int = 0
    paused: bool = False
    held: dict[str, Held] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        return f"{self.name}:{self.incarnation}"


@dataclass
class Reader:
    """The ingress' side of one request: the parts of a real stream, moved by hand."""

    inbox: Inbox = field(default_factory=lambda: Inbox(8))
    told: Told = field(default_factory=Told)
    frames: list[Frame] = field(default_factory=list)

    def drain(self) -> None:
        for frame in self.inbox.drain():
            if frame is None:
                self.told.begin_again()
            elif not self.told.ended and (new := self.told.take(frame)) is not None:
                self.frames.append(new)

    def text(self, choice: int) -> tuple[list[int], str]:
        deltas = [b for f in self.frames if f.choice == choice and isinstance(b := body(f), Delta)]
        return [i for d in deltas for i in d.token_ids], "".join(d.text for d in deltas)
