"""Waiting for a condition, with a deadline."""

import asyncio
import time
from collections.abc import Callable


async def eventually(condition: Callable[[], bool], within: float = 10.0) -> None:
    """Look until `condition` holds. Raises `TimeoutError` after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        if condition():
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so within {within:g} s")
        await asyncio.sleep(0.01)
