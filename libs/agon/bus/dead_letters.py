"""Records that nobody can read, moved aside: the same key, value and headers on `<topic>.dlq`, plus why.

| header              | value                                                        |
|---------------------|--------------------------------------------------------------|
| `x-dlq-topic`       | where the record was                                         |
| `x-dlq-partition`   | ...                                                          |
| `x-dlq-offset`      | ...                                                          |
| `x-dlq-group`       | the consumer group that could not read it                    |
| `x-dlq-error-type`  | a short reason for machines: `invalid_json`, `wrong_type`, … |
| `x-dlq-error`       | the reason for people                                        |
| `x-dlq-time`        | when it was moved, RFC 3339                                  |
"""

import asyncio
from datetime import timedelta

from aiokafka import AIOKafkaProducer

from agon.bus.clients import Record
from agon.bus.headers import Headers
from agon.messages import now, rfc3339
from agon.telemetry import Metrics
from agon.topics import Topics

_LONGEST_REASON = 2048
PREFIX = "x-dlq-"


def dead_letter_headers(record: Record, *, group: str, reason: str, error: str) -> Headers:
    """The record's own headers, and behind them what happened to it. Those of an earlier burial are replaced."""
    own = tuple((name, value) for name, value in record.headers if not name.startswith(PREFIX))
    why = {
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "group": group,
        "error-type": reason,
        "error": error[:_LONGEST_REASON],
        "time": rfc3339(now()),
    }
    return own + tuple((f"{PREFIX}{name}", value.encode("utf-8", "replace")) for name, value in why.items())


class DeadLetters:
    """Moves records aside for one consumer group."""

    def __init__(
        self,
        producer: AIOKafkaProducer,
        group: str,
        metrics: Metrics,
        timeout: timedelta = timedelta(seconds=30),
    ) -> None:
        self._producer = producer
        self._group = group
        self._metrics = metrics
        self._timeout = timeout.total_seconds()

    async def bury(self, record: Record, reason: str, error: str) -> None:
        """Produce the dead letter and wait until Kafka has it; only then may the record's offset be finished.

        Raises aiokafka's `KafkaError` or `TimeoutError` when Kafka does not take it: the record is still there, retry.
        """
        async with asyncio.timeout(self._timeout):
            await self._producer.send_and_wait(
                Topics.dead_letters(record.topic),
                # Kafka's client takes no record that has neither.
                value=b"" if record.key is None and record.value is None else record.value,
                key=record.key,
                headers=list(dead_letter_headers(record, group=self._group, reason=reason, error=error)),
            )
        self._metrics.counter("dead_letters").labels(record.topic, reason).inc()
