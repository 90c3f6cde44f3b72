"""Judged votes leave the table in the order of their numbers."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from agon.messages import now
from agon.store.pool import open_pool
from agon.store.relays import Outgoing, relay
from agon.store.votes import JudgedRow, append
from support.board import leaf_of

pytestmark = pytest.mark.servers

MAIN = ("default", "main")


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Any]:
    async with open_pool(database_url, "test") as pool:
        yield pool


async def add(pool: Any, seq: int, judged_at: datetime) -> None:
    row = JudgedRow(
        *MAIN, seq, "counted", None, f"v{seq}", None, 1, "voter", "a", "x", "y", ("overall",), judged_at, judged_at,
        seq - 1,
    )  # fmt: skip
    async with pool.acquire() as connection, connection.transaction():
        await append(connection, [row], leaf_of)


async def test_a_clock_that_was_set_back_loses_no_vote(pool: Any) -> None:
    at = now()
    for seq, ahead in enumerate((-60, 60, -30), 1):
        await add(pool, seq, at + timedelta(seconds=ahead))
    gone: list[int] = []

    async def publish(votes: Sequence[Outgoing]) -> None:
        gone.extend(vote.seq for vote in votes)

    assert await relay(pool, MAIN, publish) == 1
    assert await relay(pool, MAIN, publish) == 0, "what comes behind a vote that is held back waits with it"
    await pool.execute("UPDATE agon.votes SET judged_at = now() WHERE seq = 2")
    assert await relay(pool, MAIN, publish) == 3
    assert gone == [1, 2, 3]
