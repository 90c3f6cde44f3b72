"""Deliveries from Kafka: decoded, claimed at the gate, and then started, parked, finished or moved aside."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

from agon.bus.clients import Record
from agon.bus.dead_letters import DeadLetters
from agon.bus.headers import traceparent
from agon.bus.in_flight import Delivery
from agon.bus.subscription import Subscription
from agon.errors import Cancelled, Expired, WorkerLost
from agon.messages import GenerationRequest, now
from agon.stream.gate import Claim, Claiming, Done, Duplicate, Ended, Gate, Parked, Yours
from agon.telemetry import Metrics
from agon_inference.decoding import Limits, Refusal, arrived_at, decode, digest, identify
from agon_inference.ending import Ending
from agon_inference.held import Held
from agon_inference.models import Models
from agon_inference.retrying import Patience
from agon_inference.taken import Identity, Taken
from agon_inference.transcript import entries_of, job
from agon_inference.writer import Writer

_log = logging.getLogger(__name__)
_MOST_CLAIMS = 64
_LARGE = 128 * 1024  # bytes; decoding more takes milliseconds, which belong into a thread
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A record as it was delivered."""

    model: str
    letters: DeadLetters
    subscription: Subscription
    delivery: Delivery
    record: Record


class _Named(NamedTuple):
    """One that has an identity, and how to ask the gate for it."""

    arrival: _Arrival
    claiming: Claiming


class Intake:
    """One task that asks the gate for what was delivered, in batches, and every so often for what is parked.

    All that it starts goes into `held`. `changed` is called whenever the number of requests in our hands may have.
    """

    def __init__(
        self,
        gate: Gate,
        worker: str,
        held: dict[str, Held],
        models: Models,
        writer: Writer,
        ending: Ending,
        patience: Patience,
        metrics: Metrics,
        *,
        limits: Limits,
        parked_interval: timedelta,
        changed: Callable[[], None],
    ) -> None:
        self._gate = gate
        self._worker = worker
        self._held = held
        self._models = models
        self._writer = writer
        self._ending = ending
        self._patience = patience
        self._metrics = metrics
        self._limits = limits
        self._parked_seconds = parked_interval.total_seconds()
        self._changed = changed
        self._arrivals: deque[_Arrival] = deque()
        self._parked: dict[str, Taken] = {}  # by source
        self._ask_parked_at = 0.0
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self.arrived: Counter[str] = Counter()
        """Deliveries that were not looked at yet, by model."""
        self.bytes = 0
        """Size of all records that have arrived or are parked."""

    def receive(
        self, model: str, letters: DeadLetters, subscription: Subscription, delivery: Delivery, record: Record
    ) -> None:
        """Take a record of `model`'s topic; returns at once."""
        self._arrivals.append(_Arrival(model, letters, subscription, delivery, record))
        self.arrived[model] += 1
        self.bytes += len(record.value or b"")
        self._wake.set()
        if len(self._arrivals) > 1:  # one alone is looked at before our hands can be full of others
            self._changed()

    def park(self, taken: Taken) -> None:
        """Ask for this one again in a while: another worker owns it."""
        if taken.identity.source not in self._parked:
            self.bytes += taken.size
        self._parked[taken.identity.source] = taken

    async def run(self) -> None:
        """Go on for ever."""
        while True:
            await self._until_due()
            fresh = [named for arrival in self._pop_arrivals() if (named := await self._look(arrival)) is not None]
            parked = self._pop_parked()
            await self._claim(fresh, parked[:_MOST_CLAIMS])
            for start in range(_MOST_CLAIMS, len(parked), _MOST_CLAIMS):
                await self._claim([], parked[start : start + _MOST_CLAIMS])
            self._changed()

    async def _until_due(self) -> None:
        if self._arrivals:
            return
        self._wake.clear()
        try:
            wait = max(0.0, self._ask_parked_at - self._loop.time()) if self._parked else None
            async with asyncio.timeout(wait):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _pop_arrivals(self) -> list[_Arrival]:
        return [self._arrivals.popleft() for _ in range(min(len(self._arrivals), _MOST_CLAIMS))]

    def _pop_parked(self) -> list[Taken]:
        """All of them, when it is time to ask for them again."""
        if not self._parked or self._loop.time() < self._ask_parked_at:
            return []
        self._ask_parked_at = self._loop.time() + self._parked_seconds
        parked = list(self._parked.values())
        self.bytes -= sum(taken.size for taken in parked)
        self._parked.clear()
        return parked

    async def _look(self, arrival: _Arrival) -> _Named | None:
        """Whose record this is. None where nothing is to be claimed: it has no identity, or is in our hands already."""
        record = arrival.record
        self.arrived[arrival.model] -= 1
        self.bytes -= len(record.value or b"")
        named = await _run(record, identify, self._limits)
        if named is None:
            await self._bury(arrival)
            return None
        key, source = "/".join(named), arrival.delivery.source
        held = self._held.get(key)
        if held is not None and held.identity.source == source:
            held.taken.subscription, held.taken.delivery = arrival.subscription, arrival.delivery
            return None
        if (parked := self._parked.pop(source, None)) is not None:
            self.bytes -= parked.size
        return _Named(arrival, Claiming(*named, source, digest(record), self._worker))

    async def _bury(self, arrival: _Arrival) -> None:
        content = await self._decode(arrival)
        assert isinstance(content, Refusal)
        finish = arrival.subscription.finish
        self._ending.bury(
            arrival.letters,
            arrival.record,
            content.reason,
            content.error.message,
            lambda: finish(arrival.delivery),
        )

    async def _claim(self, fresh: list[_Named], parked: list[Taken]) -> None:
        claimings = [named.claiming for named in fresh] + [taken.claiming(self._worker) for taken in parked]
        if not claimings:
            return
        asking = asyncio.create_task(
            self._patience.until_done("claiming requests", lambda: self._gate.claim(claimings))
        )
        try:
            await asyncio.sleep(0)  # now the gate is asked: it takes as long as reading does
            batch = [await self._read(named) for named in fresh] + parked
            claims = await asking
        finally:
            asking.cancel()
        for taken, claim in zip(batch, claims, strict=True):
            self._decide(taken, claim)

    async def _read(self, named: _Named) -> Taken:
        arrival, claiming = named.arrival, named.claiming
        record, content = arrival.record, await self._decode(arrival)
        identity = Identity(
            tenant=claiming.tenant,
            request_id=claiming.request_id,
            model=arrival.model if isinstance(content, Refusal) else content.model,
            source=claiming.source,
            digest=claiming.digest,
            accepted_at=arrived_at(record),
            traceparent=traceparent(record.headers),
        )
        return Taken(identity, content, record, arrival.letters, arrival.subscription, arrival.delivery)

    async def _decode(self, arrival: _Arrival) -> GenerationRequest | Refusal:
        return await _run(arrival.record, decode, arrival.model, self._limits, self._models.serves)

    def _decide(self, taken: Taken, claim: Claim) -> None:
        match claim:
            case Yours(attempt, frames, cancelled):
                taken.abandoned = False
                self._begin(Held(taken, self._worker, attempt, entries_of(frames)), cancelled)
            case Parked(owner):
                # Ours, and not in our hands: the answer to an earlier claim was lost on its way.
                taken.abandoned = owner == self._worker and taken.identity.key not in self._held
                self.park(taken)
            case Ended(frames):
                held = Held(taken, self._worker, frames[-1].attempt, entries_of(frames))
                self._held[held.key] = held
                self._ending.end(held)
            case Done():
                self._metrics.counter("duplicates_suppressed").labels("done").inc()
                taken.finish()
            case Duplicate(same=True):
                self._metrics.counter("duplicates_suppressed").labels("duplicate").inc()
                taken.finish()
            case Duplicate():
                what = f"the request id {taken.identity.request_id} was used by another record; give each its own"
                self._ending.bury(taken.letters, taken.record, "duplicate_id", what, taken.finish)

    def _begin(self, held: Held, cancelled: bool) -> None:
        """Start what is ours, or end it at once where it can't or need not run."""
        self._held[held.key] = held
        if held.written:
            self._metrics.counter("resumed").labels(held.model).inc()
        content = held.taken.content
        if isinstance(content, Refusal):
            error = content.error
            self._ending.bury(
                held.taken.letters,
                held.taken.record,
                content.reason,
                error.message,
                lambda: self._writer.stop(held, error),
            )
            return
        transcript = held.transcript()
        if cancelled:
            self._writer.stop(held, Cancelled("the request was cancelled"))
        elif content.deadline is not None and content.deadline <= now():
            self._writer.stop(held, Expired("the request's deadline passed before its answer was complete"))
        elif transcript.all_ended:
            held.finish_as(transcript)
            self._writer.touch(held)
        elif transcript.emitted and not self._models.resumable(held.model):
            what = "the worker that generated this answer is gone, and its model can't go on in the middle"
            self._writer.stop(held, WorkerLost(what))
        else:
            held.submitted = True
            self._models.submit(held.model, job(content, transcript))


async def _run(record: Record, work: Callable[..., T], *arguments: Any) -> T:
    """What reads a record: of a large one in a thread."""
    if len(record.value or b"") > _LARGE:
        return await asyncio.to_thread(work, record, *arguments)
    return work(record, *arguments)
