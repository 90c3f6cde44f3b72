"""The arena's part of the ingress, built once per process: reached by routes as `request.app.state.arena`."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client import Gauge

from agon.arena.pacing import Rules
from agon.errors import RateLimited
from agon_ingress.arena.battles import Battles
from agon_ingress.arena.board import Boards
from agon_ingress.arena.pairing import Pairings
from agon_ingress.arena.turns import Turns
from agon_ingress.arena.votes import Votes
from agon_ingress.house import House

MOST_STREAMS = 2048
"""Streams open to voters at once: each costs a socket and a task."""


class Streams:
    """Counts the streams that are open, up to the most that may be; `gauge` tells how many."""

    def __init__(self, most: int, gauge: Gauge) -> None:
        self.open = 0
        self._most = most
        self._gauge = gauge

    def check(self) -> None:
        """Raises `RateLimited` where one more would be too many."""
        if self.open >= self._most:
            raise RateLimited(f"{self.open} streams are open, which is the most. Try again shortly.")

    async def count(self, events: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
        """These events, counted as open while somebody reads them."""
        self.open += 1
        try:
            with self._gauge.track_inprogress():
                async for event in events:
                    yield event
        finally:
            self.open -= 1
            await events.aclose()


@dataclass(slots=True)
class Arena:
    """Battles, votes and boards of this process."""

    house: House
    turns: Turns
    battles: Battles
    votes: Votes
    boards: Boards
    streams: Streams


@asynccontextmanager
async def open_arena(house: House) -> AsyncIterator[Arena]:
    """Build the arena; leaving it cuts the turns that still run here, for another ingress to go on with."""
    turns = Turns(house, Rules(start_timeout=house.settings.battle_start_timeout.total_seconds()))
    boards = Boards(house)
    streams = Streams(MOST_STREAMS, house.metrics.gauge("sse_open_streams"))
    async with turns.running(), boards.running():
        yield Arena(house, turns, Battles(house, turns, Pairings(house.pool)), Votes(house), boards, streams)
