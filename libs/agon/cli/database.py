"""Commands that work on the database alone."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


def with_pool(command: str, data: str, work: Callable[[Any], Awaitable[T]]) -> T:
    """What `work` makes of a pool of a migrated database: the one at AGON_POSTGRES_URL, else that of the stack on the
    folder `data`. Raises `SetupError`."""
    from agon.cli.stack import find_backend_url
    from agon.store.migrations import require_migrated
    from agon.store.pool import open_pool

    async def run() -> T:
        async with open_pool(find_backend_url("postgres", data), command) as pool:
            await require_migrated(pool)
            return await work(pool)

    return asyncio.run(run())
