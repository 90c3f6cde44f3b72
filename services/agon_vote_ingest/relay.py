"""Judged votes onto Kafka, in the order of their numbers. Postgres was first, so the table is the outbox."""

import asyncio
import logging
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from agon.bus.clients import started_producer
from agon.bus.headers import headers_for
from agon.bus.record_batches import RecordBatches
from agon.errors import SetupError
from agon.store.listening import Bell, listening
from agon.store.pool import Pool, classify
from agon.store.relays import Outgoing, relay, unrelayed
from agon.store.votes import CHANNEL, Arena
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
        while True:
            moved = False
            for arena in await unrelayed(self._pool):

                async def publish(votes: Sequence[Outgoing], arena: Arena = arena) -> None:
                    async with asyncio.timeout(self._settings.relay_timeout.total_seconds()):
                        await self._publish(producer, arena, votes)

                # One batch, then the next arena's: one that never runs dry would hold up all others.
                if last := await relay(self._pool, arena, publish, _MOST):
                    self._metrics.gauge("relay_watermark").labels(arena[1]).set(last)
                    moved = True
            if not moved:
                await bell.wait(self._settings.relay_every.total_seconds())

    async def _publish(self, producer: AIOKafkaProducer, arena: Arena, votes: Sequence[Outgoing]) -> None:
        """Acknowledged by Kafka when it returns. The key is the arena, so that its votes keep their order."""
        tenant, name = arena
        key = name.encode()
        headers = {kind: headers_for(kind, source=self._settings.name) for kind in {vote.type for vote in votes}}
        batches = RecordBatches(producer, self._settings.topics.accepted_votes)
        for vote in votes:
            await batches.add(key, vote.value, headers[vote.type](f"{tenant}/{name}/{vote.seq}"))
        await batches.flush()
