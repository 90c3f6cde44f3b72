"""Events of backends become frames at the gate, and the gate's answers decide who goes on writing.

One append at a time carries everything that has come since the last one, for all requests: the slower Redis, the more
frames at once, and where many wait, longer ones. While it is away, everything stays here and the compute thread waits.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from agon.backends import Admitted, Event, Failed, Finished, Scored, Tokens
from agon.errors import AgonError, Cancelled, EngineFailed
from agon.stream.frames import out
from agon.stream.gate import Answer, Append, Gate
from agon.telemetry import Metrics
from agon_inference.held import Held
from agon_inference.meter import Meter
from agon_inference.models import Models
from agon_inference.retrying import Patience

_log = logging.getLogger(__name__)
_MOST_EVENTS = 4096  # the compute thread waits above it
_BEHIND_SECONDS = 0.01  # between two rewrites, should Redis forget faster than we write


class Writer:
    """Writes for the requests in `held`. `ended` is called once a final frame is on the list, `fenced` when another
    worker owns a request; both get it after its job was given up."""

    def __init__(
        self,
        gate: Gate,
        worker: str,
        held: dict[str, Held],
        patience: Patience,
        metrics: Metrics,
        *,
        ended: Callable[[Held], None],
        fenced: Callable[[Held], None],
    ) -> None:
        self._gate = gate
        self._worker = worker
        self._held = held
        self._patience = patience
        self._metrics = metrics
        self._ended = ended
        self._fenced = fenced
        self._models: Models | None = None
        self._meters: dict[str, Meter] = {}
        self._events: deque[Event] = deque()
        self._dirty: dict[str, Held] = {}
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._woken = False
        self._room = threading.Event()
        self._room.set()
        self._settled = asyncio.Event()
        self._closed = False

    # From backends

    def emit(self, events: Sequence[Event]) -> None:
        """Take a step's events. Called by the compute thread; waits while too much is unwritten."""
        self._room.wait()
        self.push(events)
        if self._crowded():
            self._room.clear()
            if not self._crowded():  # all was taken, or it was closed, before there was no room any more
                self._room.set()

    def push(self, events: Sequence[Event]) -> None:
        """Take events from any thread, without waiting: such a backend is bounded by what it may hold."""
        if not self._closed:
            self._events.extend(events)
            if not self._woken:
                self._woken = True
                self._loop.call_soon_threadsafe(self._wake.set)

    def _crowded(self) -> bool:
        return len(self._events) > _MOST_EVENTS and not self._closed

    def close(self) -> None:
        """Take no more events: what backends say from here on is that they are being stopped."""
        self._closed = True
        self._room.set()

    # From the event loop

    def attach(self, models: Models) -> None:
        """Which backends to cancel jobs in; they in turn need `emit`, so that they come later."""
        self._models = models

    def touch(self, held: Held) -> None:
        """Something of this request is pending."""
        self._dirty[held.key] = held
        self._wake.set()

    def stop(self, held: Held, error: AgonError) -> None:
        """End a request that is not wanted any more, whatever it is doing; what was generated before stays said."""
        if held.ending:
            return
        self._give_up(held)
        held.fail(error)
        self.touch(held)

    async def run(self) -> None:
        """Write, for ever."""
        while True:
            await self._wake.wait()
            self._settled.clear()
            self._wake.clear()
            self._take()
            while self._dirty:
                await self._write()
                self._take()
            self._settled.set()

    async def settled(self) -> None:
        """Wait until everything that has come is written."""
        self._wake.set()
        self._settled.clear()
        await self._settled.wait()

    def _take(self) -> None:
        self._woken = False  # before looking: what comes from here on wakes us again
        events = [self._events.popleft() for _ in range(len(self._events))]
        self._room.set()
        moment = time.time()
        for event in self._models.current(events) if self._models else events:
            held = self._held.get(event.key)
            if held is not None:
                self._apply(held, event, moment)

    def _apply(self, held: Held, event: Event, moment: float) -> None:
        match event:
            case Tokens():
                held.add(event)
                self._meter(held.model).tokens(held, event, moment)
            case Scored():
                held.score(event)
            case Admitted():
                held.admit(event)
                self._meter(held.model).prompt(event.prompt_tokens)
            case Finished():
                held.submitted = False
                held.finish(event)
                if event.times:
                    self._meter(held.model).finished(event.times)
            case Failed():
                held.submitted = False
                if not isinstance(event.error, AgonError):
                    _log.error("%s failed: %r", held.key, event.error)
                held.fail(event.error, event.prompt_tokens)
        if held.ending and held.submitted:
            self._give_up(held)
        self._dirty[held.key] = held

    def _meter(self, model: str) -> Meter:
        meter = self._meters.get(model)
        if meter is None:
            meter = self._meters[model] = Meter(self._metrics, model)
        return meter

    async def _write(self) -> None:
        batch = [held for held in self._dirty.values() if held.pending and self._held.get(held.key) is held]
        self._dirty.clear()
        if not batch:
            return
        appends = [_append(held) for held in batch]
        answers = await self._patience.until_done("writing frames", lambda: self._gate.append(self._worker, appends))
        behind = False
        for held, answer in zip(batch, answers, strict=True):
            behind |= answer is Answer.BEHIND
            self._judge(held, answer)
        if behind:
            await asyncio.sleep(_BEHIND_SECONDS)

    def _judge(self, held: Held, answer: Answer) -> None:
        match answer:
            case Answer.OK:
                held.accepted()
                if held.ended:
                    self._ended(held)
                elif held.pending:
                    self._dirty[held.key] = held
            case Answer.FENCED:
                _log.info("%s is another worker's now", held.key)
                self._metrics.counter("gate_fenced").labels(held.model).inc()
                self._give_up(held)
                self._fenced(held)
            case Answer.CANCELLED:
                self._cut_off(held, Cancelled("the request was cancelled"))
            case Answer.FULL:
                self._cut_off(held, EngineFailed("the answer has grown larger than what is kept of one request"))
            case Answer.BEHIND:
                _log.warning("Redis has lost frames of %s; writing all of it again", held.key)
                held.rewrite()
                self._dirty[held.key] = held

    def _cut_off(self, held: Held, error: AgonError) -> None:
        self._give_up(held)
        held.cut_off(error)
        self._dirty[held.key] = held

    def _give_up(self, held: Held) -> None:
        if held.submitted and self._models:
            held.submitted = False
            self._models.abandon(held.model, held.key)


def _append(held: Held) -> Append:
    identity, request = held.identity, held.request
    frames = tuple([out(held.key, held.attempt, entry.at, entry.choice, entry.body) for entry in held.send()])
    return Append(
        tenant=identity.tenant,
        request_id=identity.request_id,
        attempt=held.attempt,
        reply_to=request.reply_to if request else None,
        frames=frames,
        rewrite=held.taken.claiming(held.worker) if held.rewriting else None,
    )
