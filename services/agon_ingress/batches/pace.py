"""A batch's lines are worked on between answers: in small pieces, and the less of the time while clients wait."""

import asyncio
import time
from collections.abc import Callable

_COMPANY_SECONDS = 1.0  # after the last client the next one is expected
_PIECE = 0.001  # seconds: less is not worth a turn
_REST = 3.0  # times as long as a piece took, while clients wait, ...
_LONGEST_REST = 0.02  # ... but no longer: most of a long piece was waiting, too


class Pace:
    """Of one batch. `busy` tells whether clients are being answered."""

    def __init__(self, busy: Callable[[], bool]) -> None:
        self._busy = busy
        self._began = time.perf_counter()
        self._company_until = 0.0

    async def rest(self) -> None:
        """Between two pieces of work: others get their turn, once there was a piece."""
        now = time.perf_counter()
        if self._busy():
            self._company_until = now + _COMPANY_SECONDS
        if (took := now - self._began) >= _PIECE:
            await asyncio.sleep(pause(took, busy=now < self._company_until))
            self._began = time.perf_counter()


def pause(took: float, *, busy: bool) -> float:
    """Seconds to rest after a piece that took so many: at 0 others get their turn too, those that have one already."""
    return min(took * _REST, _LONGEST_REST) if busy else 0.0
