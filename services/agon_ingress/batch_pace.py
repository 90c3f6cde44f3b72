"""A batch's lines are worked on between answers: in small pieces, and the less of the time while clients wait."""

import asyncio
import time
from collections.abc import Callable

_PIECE = 0.001  # seconds: less is not worth a turn
_REST = 3.0  # times as long as a piece took, while clients wait, ...
_LONGEST_REST = 0.02  # ... but no longer: most of a long piece was waiting, too


class Pace:
    """Of one batch. `busy` tells whether clients are being answered."""

    def __init__(self, busy: Callable[[], bool]) -> None:
        self._busy = busy
        self._began = time.perf_counter()

    async def rest(self) -> None:
        """Between two pieces of work: others get their turn, once there was a piece."""
        took = time.perf_counter() - self._began
        if took >= _PIECE:
            await asyncio.sleep(pause(took, busy=self._busy()))
            self._began = time.perf_counter()


def pause(took: float, *, busy: bool) -> float:
    """Seconds to rest after a piece that took so many: at 0 others get their turn too, those that have one already."""
    return min(took * _REST, _LONGEST_REST) if busy else 0.0
