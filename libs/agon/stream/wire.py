"""A connection to Redis that does nothing but carry: for the calls that every token makes.

redis-py opens it and signs in, since addresses, passwords and TLS are its business. What it puts around each command
(pool, retries, timers, meters) costs four times what the command does: 0.13 ms against 0.03, and 0.53 against 0.22
where the processor comes out of idleness, as it does for a request that comes alone.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import hiredis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError, InvalidResponse, RedisError, ResponseError

from agon.stream.connection import PATIENCE

log = logging.getLogger(__name__)

Reply = Any
"""What RESP2 has: bytes, integers, None, lists of them; an error is a `ResponseError`, not raised."""


class Wire(asyncio.Protocol):
    """Commands go out at once and in order, replies come to `hear` in the same order, in the event loop's own call.

    `open` it first. It is one connection for one life: once it is `over`, for whatever reason, it carries nothing.
    """

    def __init__(self, redis: Redis, hear: Callable[[Reply], None]) -> None:
        self._pool = redis.connection_pool
        self._hear = hear
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=ResponseError)
        self._connection: Any = None
        self._transport: asyncio.Transport | None = None
        self._before: asyncio.BaseProtocol | None = None
        self.patience = 0.0
        """Seconds that Redis is given to answer, as the client was made."""
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Connect. Raises redis' errors."""
        self._connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        self.patience = self._connection.socket_timeout or PATIENCE.total_seconds()
        transport = self._connection._writer.transport
        self._before = transport.get_protocol()
        transport.set_protocol(self)
        self._transport = transport

    def send(self, *command: str | bytes | int) -> None:
        """Raises `ConnectionError` once it is over."""
        if self._transport is None or self.over.done():
            raise ConnectionError("the connection to Redis is closed")
        self._transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]  # its type means one item

    def cut(self) -> None:
        """End it now; what is on its way is lost."""
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """End it and give back its place; idempotent. Never raises: who closes it has nothing more to ask."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self.cut()
            try:
                await connection.disconnect(nowait=True)
            except (RedisError, OSError):
                pass
            await self._pool.release(connection)

    # The event loop calls these.

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not False:
                self._hear(reply)
        except RedisError as error:  # no RESP, or nothing that `hear` knows what to do with
            log.warning("a connection to Redis is given up: %s", error)
            self.cut()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)
        if self._before is not None:
            self._before.connection_lost(error)
