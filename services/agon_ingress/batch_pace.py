"""A batch's lines are worked on between answers: in small pieces, and the less of the time while clients wait."""

import asyncio
import time
from collections.abc import Callable

_REST = 3.0  # times as long as a piece took, while clients wait


class Pace:
    """Of one batch. `busy` tells whether clients are being answered."""

    def __init__(self, busy: Callable[[], bool]) -> None:
        self._busy = busy
        self._began = time.perf_counter()

    async def rest(self) -> None:
        """Between two pieces of work: others get their turn."""
        await asyncio.sleep(pause(time.perf_counter() - self._began, busy=self._busy()))
        self._began = time.perf_counter()


def pause(took: float, *, busy: bool) -> float:
    """Seconds to rest after a piece that took so many: at 0 others get their turn too, those that have one already."""
    return took * _REST if busy else 0.0
