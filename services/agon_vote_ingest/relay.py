"""Judged votes onto Kafka, in the order of their numbers. Postgres was first, so the table is the outbox."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

from agon.bus.clients import started_producer
from agon.bus.headers import headers_for
from agon.errors import SetupError
from agon.store.listening import Bell, listening
from agon.store.pool import Pool, classify
from agon.store.relays import Outgoing, relay, unrelayed
from agon.store.votes import CHANNEL
from agon.telemetry import Metrics
from agon_vote_ingest.settings import VoteIngestSettings

_log = logging.getLogger(__name__)

_MOST = 5000
_BATCH_BYTES = 256 * 1024
_BACK_OFF = (0.1, 5.0)  # seconds: the first pause, and the longest


class Relay:
    """Runs in every vote ingest; for each arena one of them at a time does the work."""

    def __init__(self, settings: VoteIngestSettings, pool: Pool, metrics: Metrics) -> None:
        self._settings = settings
        self._pool = pool
        self._metrics = metrics

    async def run(self) -> None:
        """Relay until cancelled; outages of Kafka and Postgres are waited out with a fresh producer."""
        pause = _BACK_OFF[0]
        while True:
            try:
                settings = self._settings
                async with (
                    started_producer(settings, batch_bytes=_BATCH_BYTES) as producer,
                    listening(settings.postgres_url, CHANNEL, f"{settings.name} relay") as bell,
                ):
                    pause = _BACK_OFF[0]
                    await self._relay(producer, bell)
            except Exception as error:
                known = isinstance(error, KafkaError | SetupError) or classify(error) == "transient"
                if not known:
                    raise
                _log.warning("relaying stopped, trying again in %.1f s: %r", pause, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _BACK_OFF[1])

    async def _relay(self, producer: AIOKafkaProducer, bell: Bell) -> None:
        partitions = sorted(await producer.partitions_for(self._settings.topics.accepted_votes))
        while True:
            for tenant, arena in await unrelayed(self._pool):
                outlet = _Outlet(self._settings, producer, tenant, arena, partition_of(arena, partitions))
                while last := await relay(self._pool, (tenant, arena), outlet.publish, _MOST):
                    self._metrics.gauge("relay_watermark").labels(arena).set(last)
            await bell.wait(self._settings.relay_every.total_seconds())


def partition_of(arena: str, partitions: list[int]) -> int:
    """Where a producer with the key `arena` would put its votes: the order within it is the arena's."""
    found: int = DefaultPartitioner()(arena.encode(), partitions, partitions)
    return found


@dataclass(frozen=True, slots=True)
class _Outlet:
    """One arena's votes on their way to their partition, many to a record batch."""

    settings: VoteIngestSettings
    producer: AIOKafkaProducer
    tenant: str
    arena: str
    partition: int

    async def publish(self, votes: Sequence[Outgoing]) -> None:
        """Acknowledged by Kafka when it returns, in this order."""
        key = self.arena.encode()
        headers = {kind: headers_for(kind, source=self.settings.name) for kind in {vote.type for vote in votes}}
        async with asyncio.timeout(self.settings.relay_timeout.total_seconds()):
            sent = []
            batch = self.producer.create_batch()
            for vote in votes:
                its_headers = list(headers[vote.type](f"{self.tenant}/{self.arena}/{vote.seq}"))
                while batch.append(timestamp=None, key=key, value=vote.value, headers=its_headers) is None:
                    sent.append(await self.send(batch))
                    batch = self.producer.create_batch()
            sent.append(await self.send(batch))
            await asyncio.gather(*sent)

    async def send(self, batch: BatchBuilder) -> "asyncio.Future[object]":
        """Hand a batch to the producer once the one before it is under way."""
        batch.close()
        topic = self.settings.topics.accepted_votes
        future: asyncio.Future[object] = await self.producer.send_batch(batch, topic, partition=self.partition)
        return future
