"""Judged votes onto Kafka, in the order of their numbers. Postgres was first, so the table is the outbox."""

import asyncio
import logging
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from agon.bus.clients import started_producer
from agon.bus.headers import event_headers
from agon.errors import SetupError
from agon.messages import JudgedVote
from agon.store.listening import Bell, listening
from agon.store.pool import Pool, classify
from agon.store.votes import CHANNEL, relay, unrelayed
from agon.telemetry import Metrics
from agon_vote_ingest.settings import VoteIngestSettings

_log = logging.getLogger(__name__)

_MOST = 1000
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
                    started_producer(settings) as producer,
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
        async def publish(votes: Sequence[JudgedVote]) -> None:
            async with asyncio.timeout(self._settings.relay_timeout.total_seconds()):
                sent = [await self._send(producer, vote) for vote in votes]
                await asyncio.gather(*sent)

        while True:
            for arena in await unrelayed(self._pool):
                while await relay(self._pool, arena, publish, _MOST) == _MOST:
                    pass
            await bell.wait(self._settings.relay_every.total_seconds())

    async def _send(self, producer: AIOKafkaProducer, vote: JudgedVote) -> "asyncio.Future[object]":
        """Hand a vote to the producer, which keeps the order within the arena's partition."""
        self._metrics.gauge("relay_watermark").labels(vote.arena).set(vote.seq)
        future: asyncio.Future[object] = await producer.send(
            self._settings.topics.accepted_votes,
            vote.encode(),
            key=vote.arena.encode(),
            headers=list(event_headers(vote, id=f"{vote.tenant}/{vote.arena}/{vote.seq}", source=self._settings.name)),
        )
        return future
