"""Boards for clients: read on demand, and pushed when `rating_compute` says on Redis that one has changed."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from redis.exceptions import RedisError

from agon.arena.events import event
from agon.store.leaderboard import Board, leaderboard
from agon.tasks import cancel_all
from agon_ingress.house import House
from agon_ingress.http.errors import from_exception

log = logging.getLogger(__name__)

Which = tuple[str, str, str, str]
"""tenant, arena, slice, method"""

COALESCE_SECONDS = 0.1
"""Changes that follow each other faster than this are told as one."""
RECONNECT_SECONDS = 1.0
MOST_KEPT = 64
"""Boards kept in memory, of those that somebody watches."""


@dataclass(slots=True)
class _Watched:
    """A board as the watchers share it: one read of Postgres serves all of them."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    version: int = -1
    board: Board | None = None


class Boards:
    """Reads boards, and follows the channel of changes. `version` counts what was heard there."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._version = 0
        self._news = asyncio.Event()
        self._watched: dict[Which, _Watched] = {}
        self._closed = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._listen(), name="arena-boards")
        try:
            yield
        finally:
            await cancel_all([task])

    def close(self) -> None:
        """End all streams of boards: they never end by themselves, and would hold up a stop for as long as it may
        take."""
        self._closed = True
        self._tell()

    async def read(self, tenant: str, arena: str, slice: str, method: str) -> Board:
        """The board as Postgres has it. Raises `NotFound` for an unknown arena, `Unavailable` without Postgres."""
        self._house.health.require("postgres")
        return await leaderboard(self._house.pool, tenant, arena, slice, method)

    async def events(self, tenant: str, arena: str, slice: str, method: str) -> AsyncGenerator[bytes]:
        """`board` events: the board now, and again after each change; a comment after every silence.

        A silence makes it look too, because Redis forgets messages that nobody hears. An error ends the stream with
        an `error` event: the client comes back by itself.
        """
        told: Board | None = None
        silence = self._house.settings.heartbeat_every.total_seconds()
        try:
            while not self._closed:
                news, version = self._news, self._version
                board = await self._shared((tenant, arena, slice, method), version)
                if board != told:
                    told = board
                    yield event("board", board.model_dump(mode="json"), str(board.as_of))
                else:
                    yield b": nothing new\n\n"
                try:
                    async with asyncio.timeout(silence):
                        await news.wait()
                    if not self._closed:
                        await asyncio.sleep(COALESCE_SECONDS)
                except TimeoutError:
                    self._version += 1
        except Exception as error:
            yield event("error", {"error": from_exception(error).body()})

    async def _shared(self, which: Which, version: int) -> Board:
        """A board that is no older than this version."""
        if which not in self._watched and len(self._watched) >= MOST_KEPT:
            del self._watched[next(iter(self._watched))]
        watched = self._watched.setdefault(which, _Watched())
        async with watched.lock:
            if watched.board is None or watched.version < version:
                watched.version = self._version
                watched.board = None
                watched.board = await self.read(*which)
            return watched.board

    async def _listen(self) -> None:
        while True:
            try:
                async with self._house.redis.pubsub() as channel:
                    await channel.subscribe(self._house.settings.keys.board)
                    self._tell()  # whatever happened while nobody listened
                    while True:
                        message = await channel.get_message(ignore_subscribe_messages=True, timeout=5.0)
                        if message is not None and _is_ours(message["data"]):
                            self._tell()
            except (RedisError, OSError) as error:
                log.debug("waiting for Redis to hear of changed boards: %s", error)
            await asyncio.sleep(RECONNECT_SECONDS)

    def _tell(self) -> None:
        self._version += 1
        self._news.set()
        self._news = asyncio.Event()


def _is_ours(data: bytes) -> bool:
    """Whether a message tells of a board at all; which one is not asked, because a read is cheap and shared."""
    try:
        return isinstance(json.loads(data), dict)
    except ValueError:
        return False
