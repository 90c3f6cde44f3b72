"""Kafka clients as agon wants them, in one place: the settings that keep records from being lost are not defaults.

| what                 | why                                                                                          |
|----------------------|----------------------------------------------------------------------------------------------|
| `AckPolicy.MANUAL`   | FastStream's own policies commit positions, not what is finished                              |
| `earliest`           | records produced before the first consumer exists are served                                  |
| idempotent producer  | a retried send is not a second record, and acks are `all`                                     |
| linger 0             | a request waits for nothing; measured, 5 ms of linger make 100 waiting senders 3 times slower |
| session timeout 6 s  | a killed consumer's partitions move soon; brokers refuse less by default                      |
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from aiokafka import AIOKafkaProducer, ConsumerRebalanceListener
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaAckableMessage
from faststream.kafka.subscriber.usecase import DefaultSubscriber
from faststream.message import StreamMessage

from agon.errors import SetupError
from agon.settings import MIB, Settings


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


Handler = Callable[[Record], Awaitable[None]]

# A dead letter carries its record plus the reason, and a completion its text plus the rest.
_ENVELOPE = MIB
# aiokafka keeps a fetch open for so long when there is nothing; a leaving consumer waits for it.
_FETCH_MAX_WAIT_MS = 250
_STOP_TIMEOUT = 5.0


def servers(kafka_url: str) -> list[str]:
    """`host:port,host:port` as a list."""
    return [server.strip() for server in kafka_url.split(",") if server.strip()]


def make_broker(settings: Settings) -> KafkaBroker:
    """A FastStream broker. Handlers get the raw `Record` and finish it themselves; topics must exist already."""
    # It warns at each start that topics are not made by themselves, and tells each assignment at length.
    logger = logging.getLogger("agon.bus.faststream")
    logger.setLevel(logging.ERROR)
    return KafkaBroker(
        servers(settings.kafka_url),
        client_id=settings.name,
        ack_policy=AckPolicy.MANUAL,
        allow_auto_create_topics=False,
        enable_idempotence=True,
        linger_ms=0,
        max_request_size=_largest_send(settings),
        apply_types=False,
        parser=_parse,
        decoder=_decode,
        logger=logger,
        log_level=logging.DEBUG,
    )


def make_producer(settings: Settings) -> AIOKafkaProducer:
    """A producer of plain bytes with agon's guarantees; the caller starts and stops it."""
    return AIOKafkaProducer(
        bootstrap_servers=servers(settings.kafka_url),
        client_id=settings.name,
        enable_idempotence=True,
        linger_ms=0,
        max_request_size=_largest_send(settings),
    )


@asynccontextmanager
async def started_producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """A producer that is connected while the context lasts; leaving it flushes. Raises `SetupError` when no broker
    answers."""
    producer = make_producer(settings)
    try:
        await producer.start()
    except KafkaError as error:
        await producer.stop()
        raise SetupError(f"Kafka does not answer ({error!r}): check AGON_KAFKA_URL") from error
    try:
        yield producer
    finally:
        try:
            async with asyncio.timeout(_STOP_TIMEOUT):
                await producer.stop()
        except (KafkaError, TimeoutError) as error:
            logging.getLogger(__name__).warning("the producer was not flushed: %r", error)


def subscribe(
    broker: KafkaBroker,
    settings: Settings,
    topic: str,
    *,
    group: str,
    handler: Handler,
    listener: ConsumerRebalanceListener | None = None,
) -> DefaultSubscriber:
    """Subscribe `handler` to one topic; records arrive one by one, and nothing is committed by itself.

    The handler must return at once: while it is blocked its group thinks that the consumer has died. The subscriber's
    `consumer` (there once the broker has started) is what an in-flight tracker pauses and commits on.
    """
    subscriber = broker.subscriber(
        topic,
        group_id=group,
        auto_offset_reset="earliest",
        session_timeout_ms=int(settings.session_timeout.total_seconds() * 1000),
        heartbeat_interval_ms=int(settings.session_timeout.total_seconds() * 1000 / 4),
        fetch_max_wait_ms=_FETCH_MAX_WAIT_MS,
        listener=listener,
        ack_policy=AckPolicy.MANUAL,
        no_reply=True,
    )

    # FastStream makes a validator of a handler's annotations, and what it can't validate against stops the start.
    async def receive(record: Any) -> None:
        await handler(record)

    subscriber(receive)
    return subscriber


def _largest_send(settings: Settings) -> int:
    return max(settings.max_completion_bytes, settings.max_request_bytes) + _ENVELOPE


async def _parse(record: Any) -> StreamMessage[Any]:
    """Take a record as it is. FastStream's own parser decodes every header as UTF-8 and raises where one is not, and a
    record whose parsing raises would be passed over without a trace."""
    return KafkaAckableMessage(
        body=record.value or b"",
        headers={},
        raw_message=record,
        message_id=f"{record.topic}/{record.partition}/{record.offset}",
        consumer=_NoCommit(),
    )


async def _decode(message: StreamMessage[Any]) -> Any:
    return message.raw_message


class _NoCommit:
    """Stands where FastStream keeps a consumer: acknowledging a message would commit others that are unfinished."""

    async def commit(self) -> None:
        raise RuntimeError("never acknowledge a message: finish its delivery in the in-flight tracker")

    def seek(self, partition: Any, offset: int) -> None:
        raise RuntimeError("never reject a message: finish its delivery in the in-flight tracker")
