"""The gate in plain Python: what `claim.lua` and `append.lua` must answer, without Redis, retries or time."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from agon.stream.frames import Out
from agon.stream.gate import Answer

Told = tuple[str, int]
"""A claim's answer by name, with the attempt for `yours`, and whether the bytes are the same for `duplicate`."""


@dataclass
class Request:
    """One request as Redis should have it."""

    owner: str | None = None
    attempt: int = 0
    source: str = ""
    digest: str = ""
    frames: list[bytes] = field(default_factory=list)
    ends: dict[int, int] = field(default_factory=dict)
    ended: bool = False
    done: tuple[str, str] | None = None
    cancelled: bool = False

    def claim(self, worker: str, source: str, digest: str, alive: Collection[str], abandoned: bool) -> Told:
        if self.done:
            return ("done", 0) if self.done[0] == source else ("duplicate", self.done[1] == digest)
        if self.owner is None:
            self.owner, self.attempt, self.source, self.digest = worker, 1, source, digest
            self.frames, self.ends = [], {}
            return "yours", 1
        if self.source != source:
            return "duplicate", self.digest == digest
        others = self.owner in alive and self.owner != worker
        if others or (self.owner == worker and not self.ended and not abandoned):
            return "parked", 0
        self.owner = worker
        if self.ended:
            return "ended", 0
        self.attempt += 1
        return "yours", self.attempt

    def append(self, worker: str, attempt: int, frames: Sequence[Out]) -> Answer:
        if self.owner is None:
            return Answer.FENCED if self.done else Answer.BEHIND
        if (self.owner, self.attempt) != (worker, attempt):
            return Answer.FENCED
        new = [frame for frame in frames if frame.data not in self.frames]
        ends = dict(self.ends)
        for frame in new:
            if frame.kind == "delta":
                if frame.at != ends.get(frame.choice, 0):
                    return Answer.BEHIND
                ends[frame.choice] = frame.at + frame.tokens
        if not new:
            return Answer.OK
        if self.ended:
            return Answer.FENCED
        final = new[-1].kind == "final"
        if self.cancelled and not final:
            return Answer.CANCELLED
        self.frames += [frame.data for frame in new]
        self.ends, self.ended = ends, final
        return Answer.OK

    def rewrite(self, worker: str, attempt: int, frames: Sequence[Out], source: str, digest: str) -> Answer:
        if self.done or (self.owner and (self.owner, self.attempt) != (worker, attempt)):
            return Answer.FENCED
        if self.ended:
            return Answer.OK
        cancelled = self.cancelled
        self.__init__()  # type: ignore[misc]
        self.owner, self.attempt, self.source, self.digest = worker, attempt, source, digest
        answer = self.append(worker, attempt, frames)
        self.cancelled = cancelled
        return answer
