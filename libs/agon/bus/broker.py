"""Kafka clients as agon wants them, in one place: the settings that keep records from being lost are not defaults.

| what                 | why                                                                                          |
|----------------------|----------------------------------------------------------------------------------------------|
| `AckPolicy.MANUAL`   | FastStream's own policies commit positions, not what is finished                              |
| `earliest`           | records produced before the first consumer exists are served                                  |
| idempotent producer  | a retried send is not a second record, and acks are `all`                                     |
| linger 0             | a request waits for nothing; measured, 5 ms of linger make 100 waiting senders 3 times slower |
| session timeout 6 s  | a killed consumer's partitions move soon; brokers refuse less by default                      |
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import ConsumerRebalanceListener
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaAckableMessage
from faststream.kafka.subscriber.usecase import DefaultSubscriber
from faststream.message import StreamMessage

from agon.bus.clients import Record, largest_send, servers
from agon.settings import MIB, Settings

Handler = Callable[[Record], Awaitable[None]]

# aiokafka keeps a fetch open for so long when there is nothing; a leaving consumer waits for it.
_FETCH_MAX_WAIT_MS = 500


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
        max_request_size=largest_send(settings),
        apply_types=False,
        parser=_parse,
        decoder=_decode,
        logger=logger,
        log_level=logging.DEBUG,
    )


def subscribe(
    broker: KafkaBroker,
    settings: Settings,
    topic: str,
    *,
    group: str,
    handler: Handler,
    listener: ConsumerRebalanceListener | None = None,
    fetch_bytes: int = MIB,
) -> DefaultSubscriber:
    """Subscribe `handler` to one topic; records arrive one by one, and nothing is committed by itself.

    The handler must return at once: while it is blocked its group thinks that the consumer has died. The subscriber's
    `consumer` (there once the broker has started) is what an in-flight tracker pauses and commits on. `fetch_bytes` of
    a partition are fetched at once, one record at the least.
    """
    subscriber = broker.subscriber(
        topic,
        group_id=group,
        auto_offset_reset="earliest",
        session_timeout_ms=int(settings.session_timeout.total_seconds() * 1000),
        heartbeat_interval_ms=int(settings.session_timeout.total_seconds() * 1000 / 4),
        fetch_max_wait_ms=_FETCH_MAX_WAIT_MS,
        max_partition_fetch_bytes=fetch_bytes,
        listener=listener,
        ack_policy=AckPolicy.MANUAL,
        no_reply=True,
    )

    # FastStream makes a validator of a handler's annotations, and what it can't validate against stops the start.
    async def receive(record: Any) -> None:
        await handler(record)

    subscriber(receive)
    return subscriber


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
