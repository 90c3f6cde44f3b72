"""The relay of a vote ingest, in this process."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from agon.messages import now
from agon.store.relays import Outgoing
from agon.store.votes import Arena, JudgedRow, append
from agon.telemetry import Metrics
from agon_vote_ingest.relay import Relay
from agon_vote_ingest.settings import VoteIngestSettings
from support.board import leaf_of
from support.voting import Place, eventually

pytestmark = pytest.mark.servers


async def test_an_arena_that_never_runs_dry_holds_up_no_other(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = await asyncpg.create_pool(place.database_url, min_size=1, max_size=3)
    await pool.execute("INSERT INTO agon.arenas (tenant, arena) VALUES ('default', 'quiet')")
    seqs = {"main": 0, "quiet": 0}

    async def add(arena: str) -> None:
        seq = seqs[arena] = seqs[arena] + 1
        row = JudgedRow(
            "default", arena, seq, "counted", None, f"{arena}{seq}", None, 1, "voter", "a", "x", "y", ("overall",),
            now(), now(), seq - 1,
        )  # fmt: skip
        async with pool.acquire() as connection, connection.transaction():
            await append(connection, [row], leaf_of)

    relayed: list[str] = []

    async def publish(self: Any, producer: Any, arena: Arena, votes: Sequence[Outgoing]) -> None:
        relayed.append(arena[1])
        if arena[1] == "main":
            await add("main")  # as soon as some are out there are more

    async def quiet_is_out() -> bool:
        return "quiet" in relayed

    monkeypatch.setattr(Relay, "_publish", publish)
    for name, value in place.environment("relay").items():
        monkeypatch.setenv(name, value)
    await add("main")
    await add("quiet")
    task = asyncio.create_task(Relay(VoteIngestSettings.load(), pool, Metrics()).run())
    try:
        await eventually("the other arena's vote is out", quiet_is_out)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        pool.terminate()
