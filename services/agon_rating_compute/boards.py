"""The live boards: whichever slice has changed is fitted again, written in one transaction, then announced.

All state is in Postgres: cells, marks, and which board Kafka has. So a process that starts, or takes over, does what
the tables say is behind, and nobody has to be told who died.
"""

import asyncio
import json
import logging
import time
from collections.abc import Mapping

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from agon.bus.headers import event_headers
from agon.errors import InvalidRequest
from agon.messages import RatingPublished, now
from agon.ratings import METHOD, PairCells, Ranking, rank_models
from agon.store import cells, leaderboard
from agon.store.cells import Slice
from agon.store.leaderboard import Board, BoardRow, UnrankedRow
from agon.store.pool import Pool, classify
from agon.telemetry import Metrics
from agon_rating_compute.settings import RatingComputeSettings

_log = logging.getLogger(__name__)

# Starting points kept for warm fits; a slice that is not among them is fitted cold, which is slower and no worse.
_MOST_STARTS = 1000


def to_board(where: Slice, mark: int, ranking: Ranking) -> Board:
    """A ranking as people read it."""
    return Board(
        arena=where.arena,
        slice=where.slice,
        method=METHOD,
        as_of=mark,
        votes=ranking.votes,
        rows=tuple(BoardRow(**{name: getattr(row, name) for name in BoardRow.model_fields}) for row in ranking.rows),
        unranked=tuple(UnrankedRow(model=u.model, votes=u.votes, reason=u.reason) for u in ranking.unranked),
        published_at=now(),
    )


class Boards:
    """Keeps the live boards up to date. `wake` it when votes were counted."""

    def __init__(
        self, settings: RatingComputeSettings, pool: Pool, producer: AIOKafkaProducer, redis: Redis, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._producer = producer
        self._redis = redis
        self._metrics = metrics
        self._awake = asyncio.Event()
        self._starts: dict[Slice, Mapping[str, float]] = {}
        self._refused: dict[Slice, int] = {}

    def wake(self) -> None:
        self._awake.set()

    async def run(self) -> None:
        """Until cancelled. An outage of Postgres or Kafka is waited out."""
        while True:
            began = time.monotonic()
            self._awake.clear()
            try:
                for where in await leaderboard.behind(self._pool):
                    await self._refit(where, began)
                for where, method, _ in await leaderboard.unannounced(self._pool):
                    await self._announce(where, method)
            except Exception as error:
                if not isinstance(error, KafkaError) and classify(error) == "bug":
                    raise
                _log.warning("the live boards are late, trying again: %r", error)
            rest = self._settings.refit_every.total_seconds() - (time.monotonic() - began)
            await asyncio.sleep(max(rest, 0.0))
            try:
                async with asyncio.timeout(self._settings.look_every.total_seconds()):
                    await self._awake.wait()
            except TimeoutError:
                pass

    async def _refit(self, where: Slice, began: float) -> None:
        mark, found = await cells.read(self._pool, where)
        if self._refused.get(where) == mark:
            return
        try:
            ranking = await asyncio.to_thread(rank_models, PairCells.of(found), self._starts.get(where))
        except InvalidRequest as error:
            self._refused[where] = mark
            _log.error("the board of %s/%s/%s stays as it was: %s", where.tenant, where.arena, where.slice, error)
            return
        self._refused.pop(where, None)
        self._starts.pop(where, None)
        self._starts[where] = ranking.log_odds
        if len(self._starts) > _MOST_STARTS:
            del self._starts[next(iter(self._starts))]
        gradient = None if ranking.fit is None else ranking.fit.gradient
        if await leaderboard.publish(self._pool, where.tenant, to_board(where, mark, ranking), gradient):
            self._metrics.histogram("board_refit_seconds").labels(where.arena).observe(time.monotonic() - began)
            await self._tell(where, mark)

    async def _tell(self, where: Slice, mark: int) -> None:
        """Whoever shows boards reads the new one. Nobody waits for it: they also look by themselves."""
        message = {"tenant": where.tenant, "arena": where.arena, "slice": where.slice, "as_of": mark}
        try:
            async with asyncio.timeout(self._settings.redis_timeout.total_seconds()):
                await self._redis.publish(self._settings.keys.board, json.dumps(message))
        except (RedisError, OSError, TimeoutError) as error:
            _log.warning("nobody was told that a board has changed: %r", error)

    async def _announce(self, where: Slice, method: str) -> None:
        """The board as it stands onto the compacted topic, a tombstone for whoever is off it."""
        board = await leaderboard.leaderboard(self._pool, where.tenant, where.arena, where.slice, method)
        topic = self._settings.topics.ratings
        async with asyncio.timeout(self._settings.kafka_timeout.total_seconds()):
            sent = []
            for row in board.rows:
                message = rating_published(where.tenant, board, row)
                headers = event_headers(
                    message, id=f"{_key(where, row.model)}/{board.as_of}", source=self._settings.name
                )
                key = _key(where, row.model).encode()
                sent.append(await self._producer.send(topic, message.encode(), key=key, headers=list(headers)))
            sent += [
                await self._producer.send(topic, None, key=_key(where, gone.model).encode()) for gone in board.unranked
            ]
            await asyncio.gather(*sent)
        await leaderboard.announced(self._pool, where.tenant, board)


def _key(where: Slice, model: str) -> str:
    """With the tenant, because compaction would let the tenants' arenas of one name overwrite each other."""
    return f"{where.tenant}/{where.arena}/{where.slice}/{model}"


def rating_published(tenant: str, board: Board, row: BoardRow) -> RatingPublished:
    return RatingPublished(
        tenant=tenant,
        arena=board.arena,
        slice=board.slice,
        method=board.method,
        as_of=board.as_of,
        published_at=board.published_at or now(),
        **row.model_dump(),
    )
