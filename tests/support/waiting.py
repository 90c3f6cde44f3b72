"""Waiting for a condition, with a deadline."""

import asyncio
import time
from collections.abc import Callable

PATIENCE = 120.0
"""Seconds: long enough for a machine that stands still for some of them, and whose speed changes fivefold. Only what
fails takes so long."""


async def eventually(condition: Callable[[], bool], within: float = PATIENCE) -> None:
    """Look until `condition` holds. Raises `TimeoutError` where it still does not after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        late = time.monotonic() > deadline
        if condition():
            return
        if late:
            raise TimeoutError(f"not so within {within:g} s")
        await asyncio.sleep(0.01)
