"""One turn of a battle while it runs: two answers come, are shown by the pacer, and are stored.

The showing does not depend on who watches: a client reads what is shown so far, then what comes.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from agon.arena.battle import SIDES
from agon.arena.events import delta_event, done_event, end_event, failed_event
from agon.arena.pacing import MAX_STEP, Pacer, Rates, Rules, Shown, choose_pace, start_time
from agon.store.battles import SideEnd
from agon_ingress.arena.side import Frames, Side

log = logging.getLogger(__name__)

NEVER_BEGAN = "start_timeout"
HEARTBEAT = b": still here\n\n"
SIDE_FAILED: dict[str, Any] = {
    "message": "This side could not answer, so there is nothing to vote on. Start a new battle.",
    "type": "server_error",
    "param": None,
    "code": "side_failed",
}
"""The same for every reason: what went wrong would tell who it was."""


@dataclass(frozen=True, slots=True)
class Diary:
    """What a turn writes down. Each returns once it is stored, and retries by itself where that can help."""

    shown: Callable[[float], Awaitable[tuple[float, float]]]
    """The showing begins, at this pace: gives the pace that stands, and the seconds since it began."""
    finished: Callable[[SideEnd, SideEnd], Awaitable[None]]
    done: Callable[[], Awaitable[None]]


class Turn:
    """A turn with its two sides. `run` is owned by whoever made it; `events` is for clients, any number of them."""

    def __init__(self, model_a: str, model_b: str, rules: Rules, rates: Rates) -> None:
        self.a = Side(model_a, time.monotonic, self._arrived)
        self.b = Side(model_b, time.monotonic, self._arrived)
        self.shown = Shown()
        self.over = False
        """Everything was told, or nobody here goes on telling it (`cut`)."""
        self.cut = False
        self._rules = rules
        self._rates = rates
        self._news = asyncio.Event()
        self._arrival = asyncio.Event()

    async def run(
        self,
        frames_a: Callable[[], Awaitable[Frames]],
        frames_b: Callable[[], Awaitable[Frames]],
        diary: Diary,
        asked_at: float | None,
    ) -> None:
        """Read, show and store the turn, up to its end. Whatever happens, its clients are told that it is over."""
        try:
            async with asyncio.TaskGroup() as group:
                readers = [
                    group.create_task(side.read(frames, asked_at))
                    for side, frames in ((self.a, frames_a), (self.b, frames_b))
                ]
                group.create_task(self._store(diary))
                await self._show(diary)
                for reader in readers:
                    reader.cancel()  # only one whose side never began is still waiting
            await diary.done()
        except BaseException:
            self.cut = True
            raise
        finally:
            self.over = True
            self._tell()

    def replay(self, end_a: SideEnd, end_b: SideEnd) -> None:
        """A turn that was told before: all of it is there at once."""
        for side, end in ((self.a, end_a), (self.b, end_b)):
            side.tell(end.answer, end.finish, end.error)
        self.shown = Shown(len(self.a.characters), len(self.b.characters), True)
        self.over = True

    async def events(self, seen_a: int, seen_b: int, heartbeat: float) -> AsyncGenerator[bytes]:
        """The server-sent events behind what a client has seen, `heartbeat` seconds of silence apart at most.

        A position only says what to leave out: it moves nothing of what is shown when. A turn that was cut ends
        without `end`, so that the client comes back.
        """
        while True:
            news, over = self._news, self.over
            async for chunk in self._between(seen_a, seen_b):
                yield chunk
            seen_a, seen_b = max(seen_a, self.shown.a), max(seen_b, self.shown.b)
            if over:
                break
            try:
                async with asyncio.timeout(heartbeat):
                    await news.wait()
            except TimeoutError:
                yield HEARTBEAT
        if not self.cut:
            yield self._verdict() + end_event()

    async def _between(self, seen_a: int, seen_b: int) -> AsyncIterator[bytes]:
        """What is shown behind these positions, in pieces of at most one step."""
        shown = self.shown
        while seen_a < shown.a or seen_b < shown.b:
            chunk = b""
            if seen_a < shown.a:
                start, seen_a = seen_a, min(seen_a + MAX_STEP, shown.a)
                chunk += delta_event("a", self.a.characters.text(start, seen_a), seen_a, seen_b)
            if seen_b < shown.b:
                start, seen_b = seen_b, min(seen_b + MAX_STEP, shown.b)
                chunk += delta_event("b", self.b.characters.text(start, seen_b), seen_a, seen_b)
            yield chunk

    def _verdict(self) -> bytes:
        failed = [name for name, side in zip(SIDES, (self.a, self.b), strict=True) if side.error is not None]
        if failed:
            return b"".join(failed_event(name, SIDE_FAILED) for name in failed)
        return done_event(self.a.finish or "stop", self.b.finish or "stop", self.shown.a, self.shown.b)

    async def _show(self, diary: Diary) -> None:
        await self._common_start()
        pace = choose_pace([self._rates.expect(side.model, side.meter.rate) for side in (self.a, self.b)], self._rules)
        pace, since = await diary.shown(pace)
        pacer = Pacer(pace, ticks=int(since / self._rules.tick))
        tick = time.monotonic()
        while True:
            shown = pacer.step(self.a.arrived(), self.b.arrived())
            if shown != self.shown:
                self.shown = shown
                self._tell()
            if shown.complete:
                break
            # On the grid: a late wake-up is not made up for, because a burst would be no tick.
            tick += self._rules.tick * max(1, math.ceil((time.monotonic() - tick) / self._rules.tick))
            await asyncio.sleep(tick - time.monotonic())
        for side in (self.a, self.b):
            self._rates.learn(side.model, side.meter.rate)

    async def _common_start(self) -> None:
        """Wait until both sides have begun, and then for the window; a side that never begins has failed."""
        try:
            async with asyncio.timeout(self._rules.start_timeout):
                while (start := start_time(self.a.arrived(), self.b.arrived(), self._rules)) is None:
                    self._arrival.clear()
                    await self._arrival.wait()
        except TimeoutError:
            for side in (self.a, self.b):
                if side.meter.began is None:
                    side.fail(NEVER_BEGAN)
            start = time.monotonic()
        await asyncio.sleep(start - time.monotonic())

    async def _store(self, diary: Diary) -> None:
        while not (self.a.ended and self.b.ended):
            self._arrival.clear()
            await self._arrival.wait()
        await diary.finished(self.a.end(), self.b.end())

    def _arrived(self) -> None:
        self._arrival.set()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
