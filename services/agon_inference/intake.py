"""Deliveries from Kafka: decoded, claimed at the gate, and then started, parked, finished or moved aside."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from agon.bus.clients import Record
from agon.bus.dead_letters import DeadLetters
from agon.bus.headers import traceparent
from agon.bus.in_flight import Delivery
from agon.bus.subscription import Subscription
from agon.errors import Cancelled, Expired, WorkerLost
from agon.messages import now
from agon.stream.gate import Claim, Done, Duplicate, Ended, Gate, Parked, Yours
from agon.telemetry import Metrics
from agon_inference.decoding import Limits, Refusal, arrived_at, decode, digest
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


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A record as it was delivered."""

    model: str
    letters: DeadLetters
    subscription: Subscription
    delivery: Delivery
    record: Record


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
            batch = [taken for arrival in self._pop_arrivals() if (taken := await self._look(arrival)) is not None]
            if self._parked and self._loop.time() >= self._ask_parked_at:
                self._ask_parked_at = self._loop.time() + self._parked_seconds
                batch += self._parked.values()
                self.bytes -= sum(taken.size for taken in self._parked.values())
                self._parked.clear()
            for start in range(0, len(batch), _MOST_CLAIMS):
                await self._claim(batch[start : start + _MOST_CLAIMS])
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

    async def _look(self, arrival: _Arrival) -> Taken | None:
        """Read a record. None where nothing is to be claimed: it has no identity, or is in our hands already."""
        record, model = arrival.record, arrival.model
        size = len(record.value or b"")
        if size > _LARGE:
            content = await asyncio.to_thread(decode, record, model, self._limits, self._models.serves)
        else:
            content = decode(record, model, self._limits, self._models.serves)
        self.arrived[model] -= 1
        self.bytes -= size
        if content.tenant is None or content.request_id is None:
            assert isinstance(content, Refusal)
            finish = arrival.subscription.finish
            self._ending.bury(
                arrival.letters, record, content.reason, content.error.message, lambda: finish(arrival.delivery)
            )
            return None
        identity = Identity(
            tenant=content.tenant,
            request_id=content.request_id,
            model=model if isinstance(content, Refusal) else content.model,
            source=arrival.delivery.source,
            digest=digest(record),
            accepted_at=arrived_at(record),
            traceparent=traceparent(record.headers),
        )
        held = self._held.get(identity.key)
        if held is not None and held.identity.source == identity.source:
            held.taken.subscription, held.taken.delivery = arrival.subscription, arrival.delivery
            return None
        if (parked := self._parked.pop(identity.source, None)) is not None:
            self.bytes -= parked.size
        return Taken(identity, content, record, arrival.letters, arrival.subscription, arrival.delivery)

    async def _claim(self, batch: list[Taken]) -> None:
        claimings = [taken.claiming(self._worker) for taken in batch]
        claims = await self._patience.until_done("claiming requests", lambda: self._gate.claim(claimings))
        for taken, claim in zip(batch, claims, strict=True):
            self._decide(taken, claim)

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
