"""Postgres' notifications as something to wait for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg


class Bell:
    """Rings when the channel was notified since the last `wait`; so nothing that happens between two waits is lost."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self._lost = False

    def ring(self, *_: object) -> None:
        self._rung.set()

    def lose(self, *_: object) -> None:
        self._lost = True
        self._rung.set()

    async def wait(self, at_most: float) -> None:
        """Return when it rings, or after so many seconds. Raises `ConnectionError` when it can't ring any more."""
        try:
            async with asyncio.timeout(at_most):
                await self._rung.wait()
        except TimeoutError:
            pass
        self._rung.clear()
        if self._lost:
            raise ConnectionError("the connection that listens to Postgres is gone")


@asynccontextmanager
async def listening(postgres_url: str, channel: str, name: str) -> AsyncIterator[Bell]:
    """A bell on a connection of its own. Raises as `asyncpg.connect` does."""
    bell = Bell()
    connection = await asyncpg.connect(
        postgres_url, timeout=5.0, command_timeout=5.0, server_settings={"application_name": name}
    )
    connection.add_termination_listener(bell.lose)
    try:
        await connection.add_listener(channel, bell.ring)
        yield bell
    finally:
        connection.remove_termination_listener(bell.lose)
        await connection.close(timeout=2.0)
