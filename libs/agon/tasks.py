"""Ending tasks, for sure."""

import asyncio
from collections.abc import Iterable
from typing import Any

_AGAIN_SECONDS = 5.0  # in which who was heard has cleaned up


async def cancel_all(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel these and return when all have ended, whatever they raise.

    Before Python 3.12 `asyncio.wait_for`, with which redis sends, swallows a cancel that comes just when it has sent:
    who goes on after it is asked again.
    """
    ending = list(tasks)
    left = set(ending)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_SECONDS)
    await asyncio.gather(*ending, return_exceptions=True)  # what they raised is known now
