"""Producers and records: what every Kafka client shares, also those that do without FastStream."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError

from agon.errors import SetupError
from agon.settings import MIB, Settings

# A dead letter carries its record plus the reason, and a completion its text plus the rest.
_ENVELOPE = MIB
_STOP_TIMEOUT = 5.0
_SHIELDED = "_do_commit_offsets"


class Record(Protocol):
    """A Kafka record as it lies there. `timestamp` is in milliseconds since the epoch."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


def servers(kafka_url: str) -> list[str]:
    """`host:port,host:port` as a list."""
    return [server.strip() for server in kafka_url.split(",") if server.strip()]


def not_served(kafka_url: str, error: Exception) -> SetupError:
    """What an operator is told of a Kafka that did not do what was asked of it at the start."""
    if isinstance(error, KafkaError) and not isinstance(error, KafkaConnectionError):
        return SetupError(f"Kafka at {kafka_url} refuses: {error}")
    return SetupError(f"Kafka does not answer at {kafka_url}: check AGON_KAFKA_URL")


def make_producer(settings: Settings, batch_bytes: int = 16 * 1024) -> AIOKafkaProducer:
    """A producer of plain bytes with agon's guarantees; the caller starts and stops it. `batch_bytes` bounds what goes
    to a partition at once."""
    return AIOKafkaProducer(
        bootstrap_servers=servers(settings.kafka_url),
        client_id=settings.name,
        enable_idempotence=True,
        linger_ms=0,
        max_batch_size=batch_bytes,
        max_request_size=largest_send(settings),
    )


@asynccontextmanager
async def started_producer(settings: Settings, batch_bytes: int = 16 * 1024) -> AsyncIterator[AIOKafkaProducer]:
    """A producer that is connected while the context lasts; leaving it flushes. Raises `SetupError` when no broker
    answers."""
    producer = make_producer(settings, batch_bytes)
    try:
        await producer.start()
    except KafkaError as error:
        await producer.stop()
        raise not_served(settings.kafka_url, error) from error
    try:
        yield producer
    finally:
        try:
            async with asyncio.timeout(_STOP_TIMEOUT):
                await producer.stop()
        except (KafkaError, TimeoutError) as error:
            logging.getLogger(__name__).warning("the producer was not flushed: %r", error)


async def commit(consumer: AIOKafkaConsumer, marks: Mapping[TopicPartition, Any], patience: float) -> None:
    """Commit these offsets within `patience` seconds. Raises `TimeoutError` and aiokafka's errors.

    aiokafka shields the request that it has sent. One that fails after we have left would be told as an error of ours,
    with a traceback, by each service whenever Kafka stalls.
    """
    try:
        async with asyncio.timeout(patience):
            await consumer.commit(marks)
    except TimeoutError:
        for task in asyncio.all_tasks():
            if getattr(task.get_coro(), "__name__", "") == _SHIELDED:
                task.add_done_callback(_hear)
        raise


def _hear(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()


def largest_send(settings: Settings) -> int:
    """Bytes: the largest record that a client may send."""
    return max(settings.max_completion_bytes, settings.max_request_bytes) + _ENVELOPE
