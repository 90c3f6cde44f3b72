"""The live boards: whichever slices have changed are fitted again, written in one transaction, then announced.

All state that matters is in Postgres: cells, marks, and which board Kafka has. So a process that starts, or takes over,
does what the tables say is behind, and nobody has to be told who died.
"""

import asyncio
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from agon.bus.headers import headers_for
from agon.bus.record_batches import RecordBatches
from agon.errors import InvalidRequest
from agon.messages import RatingPublished, now
from agon.ratings import METHOD, Ranking, rank_models
from agon.store import leaderboard
from agon.store.cells import Slice
from agon.store.leaderboard import Behind, Board, BoardRow, LiveBoard, Unannounced
from agon.store.pool import Pool, classify
from agon.store.votes import Arena
from agon.telemetry import Metrics
from agon_rating_compute.counting import Counted
from agon_rating_compute.settings import RatingComputeSettings
from agon_rating_compute.tallies import Tallies

_log = logging.getLogger(__name__)

# Starting points kept for warm fits; a slice that is not among them is fitted cold, which is slower and no worse.
_MOST_STARTS = 1000
_REST = 3  # between two announcements, in times of what one took
_TOGETHER = 4  # boards in a transaction: it waits for the disk as long as a fit takes


def to_board(where: Slice, mark: int, ranking: Ranking, method: str = METHOD) -> Board:
    """A ranking as people read it."""
    return Board.model_validate(  # all rows in one call: one by one they take three times as long
        {
            "arena": where.arena,
            "slice": where.slice,
            "method": method,
            "as_of": mark,
            "votes": ranking.votes,
            "rows": tuple(row._asdict() for row in ranking.rows),
            "unranked": tuple(asdict(model) for model in ranking.unranked),
            "published_at": now(),
        }
    )


class Boards:
    """Keeps the live boards up to date. `counted` tells it what this process has counted."""

    def __init__(
        self, settings: RatingComputeSettings, pool: Pool, producer: AIOKafkaProducer, redis: Redis, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._producer = producer
        self._redis = redis
        self._metrics = metrics
        self._awake = asyncio.Event()
        self._tallies = Tallies()
        self._waiting: dict[Arena, float] = {}  # since when counted votes are on no board
        self._seen: dict[Slice, int] = {}  # boards of other processes' arenas, as of the last look
        self._starts: dict[Slice, Mapping[str, float]] = {}
        self._refused: dict[Slice, int] = {}

    def counted(self, done: Sequence[Counted]) -> None:
        """Cells have changed, in a transaction that is committed."""
        for each in done:
            self._tallies.add(each.arena, each.before, each.after, each.changes)
            self._waiting.setdefault(each.arena, time.monotonic())
        self.wake()

    def wake(self) -> None:
        self._awake.set()

    async def run(self) -> None:
        """Until cancelled. An outage of Postgres is waited out."""
        while True:
            began = time.monotonic()
            self._awake.clear()
            try:
                await self._catch_up(began)
            except Exception as error:
                _log.warning("the live boards are late, trying again: %r", error, exc_info=classify(error) == "bug")
            rest = self._settings.refit_every.total_seconds() - (time.monotonic() - began)
            await asyncio.sleep(max(rest, 0.0))
            try:
                async with asyncio.timeout(self._settings.look_every.total_seconds()):
                    await self._awake.wait()
            except TimeoutError:
                pass

    async def announce_regularly(self) -> None:
        """Until cancelled: Kafka gets the boards as they stand, less often than they change."""
        while True:
            try:
                for due in await leaderboard.unannounced(self._pool):
                    began = time.monotonic()
                    try:
                        await self._announce(due)
                    except Exception as error:
                        if isinstance(error, KafkaError) or classify(error) == "transient":
                            raise
                        _log.exception("the board of %s is announced later", due.where)
                    # Whoever waits for a board to be fitted comes first.
                    await asyncio.sleep(_REST * (time.monotonic() - began))
            except Exception as error:
                _log.warning("the live boards are announced later: %r", error)
            await asyncio.sleep(self._settings.announce_every.total_seconds())

    async def _catch_up(self, began: float) -> None:
        """Refit what is behind, and write some at a time: nobody's board waits until the last one is fitted."""
        waiting, self._waiting = self._waiting, {}
        for arena, since in waiting.items():
            self._metrics.gauge("rating_staleness_seconds").labels(arena[1]).set(began - since)
        try:
            found = await leaderboard.behind(self._pool)
            due = [each for each in found if self._is_ours(each, waiting)]
            self._seen = {each.where: each.as_of for each in found}
            await self._refit_all(due)
        except BaseException:
            self._waiting = {**self._waiting, **waiting}
            raise
        for arena, since in waiting.items():
            self._metrics.histogram("board_refit_seconds").labels(arena[1]).observe(time.monotonic() - since)
            self._metrics.gauge("rating_staleness_seconds").labels(arena[1]).set(0)

    async def _refit_all(self, due: Sequence[Behind]) -> None:
        """While Postgres writes some, the next are fitted."""
        writing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        writing.set_result(None)
        try:
            for start in range(0, len(due), _TOGETHER):
                some = due[start : start + _TOGETHER]
                fitted = [board for each in some if (board := await self._refit(each)) is not None]
                await writing
                writing = asyncio.create_task(self._write(fitted))
        finally:
            await writing

    async def _write(self, fitted: Sequence[LiveBoard]) -> None:
        await self._tell(await leaderboard.publish(self._pool, fitted))

    def _is_ours(self, each: Behind, waiting: Mapping[Arena, float]) -> bool:
        """A board of an arena that this process counts; or one that nobody has touched since the last look."""
        return (each.where.tenant, each.where.arena) in waiting or self._seen.get(each.where) == each.as_of

    async def _refit(self, each: Behind) -> LiveBoard | None:
        where = each.where
        mark, found = await self._tallies.read(self._pool, where, each.changed)
        if self._refused.get(where) == mark:
            return None
        try:
            ranking = await asyncio.to_thread(rank_models, found, self._starts.pop(where, None))
        except Exception as error:  # of a pure function: the same again, so it waits for further votes
            self._refused[where] = mark
            which = f"{where.tenant}/{where.arena}/{where.slice}"
            bug = not isinstance(error, InvalidRequest)
            _log.error("the board of %s stays as it was: %r", which, error, exc_info=bug)
            return None
        self._refused.pop(where, None)
        self._starts[where] = ranking.log_odds
        if len(self._starts) > _MOST_STARTS:
            del self._starts[next(iter(self._starts))]
        gradient = None if ranking.fit is None else ranking.fit.gradient
        return LiveBoard(where.tenant, to_board(where, mark, ranking), gradient)

    async def _tell(self, written: Sequence[LiveBoard]) -> None:
        """Whoever shows boards reads the new ones. Nobody waits for it: they also look by themselves."""
        if not written:
            return
        try:
            async with asyncio.timeout(self._settings.redis_timeout.total_seconds()):
                pipe = self._redis.pipeline(transaction=False)
                for tenant, board, _ in written:
                    message = {"tenant": tenant, "arena": board.arena, "slice": board.slice, "as_of": board.as_of}
                    pipe.publish(self._settings.keys.board, json.dumps(message))
                await pipe.execute()
        except (RedisError, OSError, TimeoutError) as error:
            _log.warning("nobody was told that boards have changed: %r", error)

    async def _announce(self, due: Unannounced) -> None:
        """The board as it stands onto the compacted topic, a tombstone for whoever is off it."""
        where = due.where
        board = await leaderboard.leaderboard(self._pool, where.tenant, where.arena, where.slice, due.method)
        ranked = {row.model for row in board.rows}
        if not ranked <= due.models:
            await leaderboard.announcing(self._pool, where.tenant, board, ranked | due.models)
        headers = headers_for(RatingPublished, source=self._settings.name)
        async with asyncio.timeout(self._settings.kafka_timeout.total_seconds()):
            batches = RecordBatches(self._producer, self._settings.topics.ratings)
            for row in board.rows:
                key = _record_key(where, row.model)
                value = rating_published(where.tenant, board, row).encode()
                await batches.add(key.encode(), value, headers(f"{key}/{board.as_of}"))
            for gone in sorted(due.models.union(each.model for each in board.unranked) - ranked):
                await batches.add(_record_key(where, gone).encode(), None)
            await batches.flush()
        await leaderboard.announced(self._pool, where.tenant, board)


def _record_key(where: Slice, model: str) -> str:
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
