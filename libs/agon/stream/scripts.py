"""Lua scripts run in Redis, many at a time over one connection, each answered in its turn."""

import asyncio
import hashlib
from collections import deque
from importlib.resources import files

from redis.asyncio import Redis
from redis.exceptions import ConnectionError, RedisError, ResponseError, TimeoutError

from agon.stream.wire import Reply, Wire

_PAUSES = (0.1, 0.2, 0.5)  # seconds between tries: a Redis that restarts is not noticed


class Script:
    """A file of this package."""

    def __init__(self, name: str) -> None:
        self.text = files("agon.stream").joinpath(name).read_text(encoding="utf-8")
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class Scripts:
    """Opens its connection with the first call, and again when it is lost. `close` it, or close the client."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._wire: Wire | None = None
        self._opening = asyncio.Lock()
        self._waiting: deque[tuple[asyncio.Future[Reply], float]] = deque()
        self._watch: asyncio.TimerHandle | None = None

    async def run(self, script: Script, *arguments: str | bytes | int) -> Reply:
        """The script's reply. It may have run more than once where the connection was lost.

        Raises redis' errors: `ConnectionError` and `TimeoutError` after some tries, `ResponseError` as the script does.
        """
        for pause in _PAUSES:
            try:
                return await self._once(script, arguments)
            except (ConnectionError, TimeoutError):
                await asyncio.sleep(pause)
        return await self._once(script, arguments)

    async def close(self) -> None:
        """Give the connection back; a call opens it again."""
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()

    async def _once(self, script: Script, arguments: tuple[str | bytes | int, ...]) -> Reply:
        wire = self._wire
        if wire is None or wire.over.done():
            wire = await self._open()
        reply = await self._ask(wire, "EVALSHA", script.sha, 0, *arguments)
        if isinstance(reply, ResponseError) and str(reply).startswith("NOSCRIPT"):
            reply = await self._ask(wire, "EVAL", script.text, 0, *arguments)
        if isinstance(reply, RedisError):
            raise reply
        return reply

    async def _ask(self, wire: Wire, *command: str | bytes | int) -> Reply:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Reply] = loop.create_future()
        wire.send(*command)
        self._waiting.append((answer, loop.time() + wire.patience))
        if self._watch is None:
            self._watch = loop.call_later(wire.patience, self._look)
        return await answer

    async def _open(self) -> Wire:
        async with self._opening:
            if self._wire is not None and not self._wire.over.done():
                return self._wire
            if self._wire is not None:
                await self._wire.close()
            wire = Wire(self._redis, self._hear)
            await wire.open()
            wire.over.add_done_callback(lambda _: self._fail(ConnectionError("the connection to Redis was lost")))
            self._wire = wire
            return wire

    def _hear(self, reply: Reply) -> None:
        answer, _ = self._waiting.popleft()
        if not answer.done():  # else nobody waits for it any more
            answer.set_result(reply)

    def _look(self) -> None:
        """One clock for all calls: a timer for each would cost as much as the call."""
        self._watch = None
        if not self._waiting or self._wire is None:
            return
        loop = asyncio.get_running_loop()
        due = self._waiting[0][1]
        if due > loop.time():
            self._watch = loop.call_at(due, self._look)
        else:
            self._fail(TimeoutError(f"Redis has not answered within {self._wire.patience:g} s"))
            self._wire.cut()  # what comes later must not be taken for the answer to something else

    def _fail(self, error: RedisError) -> None:
        waiting, self._waiting = self._waiting, deque()
        for answer, _ in waiting:
            if not answer.done():
                answer.set_exception(error)
