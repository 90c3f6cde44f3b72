"""What must reach Kafka before an offset may be finished: completions of requests that have ended, and dead letters."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError, OutOfOrderSequenceNumber, ProducerFenced

from agon.bus.clients import Record
from agon.bus.dead_letters import DeadLetters
from agon.bus.headers import Headers, event_headers
from agon.messages import GenerationCompleted, ModelCard
from agon.stream.gate import Gate
from agon.tasks import cancel_all
from agon.telemetry import Metrics
from agon.topics import Topics
from agon_inference.completions import bare, completed
from agon_inference.held import Held
from agon_inference.retrying import Patience

_log = logging.getLogger(__name__)
_ENVELOPE = 64 * 1024  # key, headers and batch around a completion's value
# After these a producer sends nothing any more: only a new process helps.
_FATAL = (OutOfOrderSequenceNumber, ProducerFenced)


class Ending:
    """Runs one task for each request that has ended and each record that is moved aside; the windows of the
    subscriptions bound how many there are. Nothing is given up but by `close`: then another worker does it again."""

    def __init__(
        self,
        gate: Gate,
        producer: AIOKafkaProducer,
        topics: Topics,
        worker: str,
        patience: Patience,
        metrics: Metrics,
        *,
        max_bytes: int,
        cards: Mapping[str, ModelCard],
        forget: Callable[[Held], None],
    ) -> None:
        self._gate = gate
        self._producer = producer
        self._topics = topics
        self._worker = worker
        self._patience = patience
        self._metrics = metrics
        self._max_bytes = max_bytes - _ENVELOPE
        self._cards = cards
        self._forget = forget
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self, held: Held) -> None:
        """The final frame is on the list: publish the completion, mark it done, finish the offsets, forget it."""
        self._start(self._end(held), f"end {held.key}")

    def bury(self, letters: DeadLetters, record: Record, reason: str, error: str, then: Callable[[], None]) -> None:
        """Move a record aside; `then` is called once Kafka has the dead letter."""
        self._start(self._bury(letters, record, reason, error, then), f"bury {record.topic}/{record.offset}")

    async def broken(self) -> None:
        """Returns only by raising: nothing can be published any more."""
        await asyncio.shield(self._broken)

    async def drain(self, timeout: timedelta) -> None:
        """Wait for what is on its way, for so long at most."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout.total_seconds())

    async def close(self) -> None:
        """Give up what is still on its way."""
        await cancel_all(self._tasks)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its offset stays unfinished: the record is delivered again after the next start.
            _log.error("could not %s", task.get_name(), exc_info=error)
            if isinstance(error, _FATAL) and not self._broken.done():
                self._broken.set_exception(error)

    async def _end(self, held: Held) -> None:
        identity = held.identity
        message = completed(
            identity,
            held.request,
            held.transcript(),
            self._worker,
            held.attempt,
            held.first_token_at,
            self._cards.get(held.model),
        )
        headers = event_headers(
            message, id=f"{identity.key}/{held.attempt}", source=self._worker, traceparent=identity.traceparent
        )
        await self._publish(message, headers)
        await self._patience.until_done(
            "marking a request done",
            lambda: self._gate.complete(identity.tenant, identity.request_id, identity.source, identity.digest),
        )
        held.taken.finish()
        self._forget(held)
        self._metrics.counter("requests").labels(held.model, message.status).inc()
        seconds = (message.timings.finished_at - identity.accepted_at).total_seconds()
        self._metrics.histogram("e2e_request_latency_seconds").labels(held.model).observe(max(seconds, 0.0))

    async def _publish(self, message: GenerationCompleted, headers: Headers) -> None:
        value = message.encode()
        if len(value) > self._max_bytes:
            value = bare(message).encode()
        try:
            await self._produce(message, value, headers)
        except MessageSizeTooLargeError:
            # The topic takes less than we think.
            await self._produce(message, bare(message).encode(), headers)

    async def _produce(self, message: GenerationCompleted, value: bytes, headers: Headers) -> None:
        await self._patience.until_done(
            "publishing a completion",
            lambda: self._producer.send_and_wait(
                self._topics.completions, value=value, key=message.request_id.encode(), headers=list(headers)
            ),
            MessageSizeTooLargeError,
            *_FATAL,
        )

    async def _bury(
        self, letters: DeadLetters, record: Record, reason: str, error: str, then: Callable[[], None]
    ) -> None:
        _log.info("%s/%d/%d is a dead letter: %s", record.topic, record.partition, record.offset, reason)
        await self._patience.until_done("moving a record aside", lambda: letters.bury(record, reason, error), *_FATAL)
        then()
