"""How much the ingress takes on at once: a number of requests, and no more than Redis has room for."""

from datetime import timedelta

from agon.errors import RateLimited, Unavailable


class Admission:
    """Counts accepted, unfinished requests. Somebody keeps `memory` up to date."""

    def __init__(self, most: int, memory_share: float) -> None:
        self._most = most
        self._memory_share = memory_share
        self.open = 0
        self.memory = 0.0
        """Share of Redis' `maxmemory` in use; 0 where it has no limit."""

    def enter(self) -> None:
        """Take a place; whoever took it calls `leave` once. Raises `RateLimited` or `Unavailable`."""
        if self.memory > self._memory_share:
            raise Unavailable("Redis is nearly full: nothing new is taken on.", retry_after=timedelta(seconds=2))
        if self.open >= self._most:
            raise RateLimited(f"{self.open} requests are under way, which is the most. Try again shortly.")
        self.open += 1

    def leave(self) -> None:
        self.open -= 1
