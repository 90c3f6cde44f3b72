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
from faststream.kafka.subscriber.usecase import DefaultSubscriber

from agon.bus.clients import Record, largest_send, servers
from agon.settings import MIB, Settings

_log = logging.getLogger(__name__)
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

    # Around a handler FastStream parses, filters, enters contexts and middlewares, and swallows what is raised. A raw
    # record needs none of it, and it took 0.25 ms of each request's way.
    async def consume_one(record: Record) -> None:
        try:
            await handler(record)
        except Exception:
            _log.exception("%s/%d/%d was not taken", record.topic, record.partition, record.offset)

    subscriber(_never)
    subscriber.consume_one = consume_one  # type: ignore[method-assign, assignment]
    return subscriber


async def _never(message: Any) -> None:
    """FastStream wants a handler."""
    raise RuntimeError("records go past the handlers")
