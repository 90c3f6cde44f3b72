"""Commands that work on the database alone."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


def with_pool(command: str, work: Callable[[Any], Awaitable[T]]) -> T:
    """What `work` makes of a pool of a migrated database. Raises `SetupError`."""
    from agon.settings import Settings
    from agon.store.migrations import require_migrated
    from agon.store.pool import open_pool

    async def run() -> T:
        async with open_pool(Settings.load().postgres_url, command) as pool:
            await require_migrated(pool)
            return await work(pool)

    return asyncio.run(run())
