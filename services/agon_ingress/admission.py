"""How much the ingress takes on at once: a number of requests, and no more than Redis has room for."""

from datetime import timedelta

from redis.asyncio import Redis

from agon.errors import RateLimited, Unavailable


class Admission:
    """Counts accepted, unfinished requests. `measure` is called every second."""

    def __init__(self, most: int, memory_share: float) -> None:
        self._most = most
        self._memory_share = memory_share
        self._full = False
        self.open = 0

    async def measure(self, redis: Redis) -> None:
        """Look at Redis' memory. Raises redis' errors."""
        memory = await redis.info("memory")
        limit = int(memory.get("maxmemory", 0))
        self._full = limit > 0 and int(memory["used_memory"]) > limit * self._memory_share

    def enter(self) -> None:
        """Take a place; whoever took it calls `leave` once. Raises `RateLimited` or `Unavailable`."""
        if self._full:
            raise Unavailable("Redis is nearly full: nothing new is taken on.", retry_after=timedelta(seconds=2))
        if self.open >= self._most:
            raise RateLimited(f"{self.open} requests are under way, which is the most. Try again shortly.")
        self.open += 1

    def leave(self) -> None:
        self.open -= 1
