"""One side of a running turn: the frames of its request become characters, a rate, and an end."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec
from redis.exceptions import RedisError

from agon.arena.characters import Characters
from agon.arena.pacing import Arrived, Meter
from agon.errors import AgonError
from agon.store.battles import SideEnd
from agon.stream.frames import Delta, End, Frame, body

log = logging.getLogger(__name__)


class Frames(Protocol):
    """Where the frames of one request come from, each once and in order."""

    async def take(self) -> Sequence[Frame]:
        """Wait for frames; the last one of all is `final`."""

    async def close(self) -> None:
        """Give everything back."""


class Side:
    """An answer as far as it has come. `changed` is called after every change; `clock` gives seconds."""

    def __init__(self, model: str, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        self.model = model
        self.characters = Characters()
        self.meter = Meter()
        self.ended = False
        self.error: str | None = None
        """A code, where the side failed. Kept for the battle's row; voters see a neutral text."""
        self.finish: str | None = None
        self._clock = clock
        self._changed = changed
        self._asked_at: float | None = None
        self._tokens: int | None = None
        self._ended_at: float | None = None

    async def read(self, open_frames: Callable[[], Awaitable[Frames]], asked_at: float | None) -> None:
        """Follow the request to its end. Whatever goes wrong is this side's failure; only a cancel is raised.

        `asked_at` is when the request was sent; None where that was another process, whose times these are not.
        """
        self._asked_at = asked_at
        try:
            frames = await open_frames()
            try:
                while not self.ended:
                    for frame in await frames.take():
                        self._learn(frame)
                    self._changed()
            finally:
                await frames.close()
        except AgonError as error:
            self.fail(error.code or error.type)
        except (RedisError, OSError, TimeoutError, msgspec.DecodeError) as error:
            log.warning("a side of a battle could not be followed: %s", error)
            self.fail("stream_lost")

    def tell(self, answer: str, finish: str | None, error: str | None) -> None:
        """The whole side at once: it was stored before."""
        self.characters.feed(answer)
        self.finish = finish
        self._end(error)

    def fail(self, error: str) -> None:
        """The side has failed; nothing happens where it has ended before."""
        if not self.ended:
            self._end(error)

    def arrived(self) -> Arrived:
        return Arrived(len(self.characters), self.ended, self.meter.began)

    def end(self) -> SideEnd:
        """What is stored of a side that has ended."""
        first, last = (
            None if self._asked_at is None or at is None else at - self._asked_at
            for at in (self.meter.began, self._ended_at)
        )
        return SideEnd(self.characters.text(), self.finish, self.error, self._tokens, first, last)

    def _learn(self, frame: Frame) -> None:
        match body(frame):
            case Delta(text=text, finish_reason=finish):
                if text:
                    self.characters.feed(text)
                    self.meter.text(self._clock(), len(text))
                self.finish = finish or self.finish
            case End(status=status, completion_tokens=tokens, error_code=code):
                self._tokens = tokens
                self._end(None if status == "finished" else code or status)
            case _:
                pass  # `admitted` shows nothing

    def _end(self, error: str | None) -> None:
        self.ended, self.error, self._ended_at = True, error, self._clock()
        self.characters.end()
        self.meter.end(self._ended_at)
        self._changed()
