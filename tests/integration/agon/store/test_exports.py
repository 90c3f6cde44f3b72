"""Votes as they are read for an export."""

import asyncpg
import pytest

from agon.store import exports
from support.board import fill

pytestmark = pytest.mark.servers


@pytest.mark.parametrize(("limit", "value"), [("MOST_CHARACTERS", 1), ("AT_ONCE", 1), ("_FETCHED", 3)])
async def test_pieces_are_as_small_as_they_must_be_and_lose_nothing(
    database_url: str, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    await fill(database_url)
    pool = await asyncpg.create_pool(database_url, min_size=1, max_size=1)
    try:

        async def read() -> list[list[str]]:
            found = exports.read(pool, exports.PREFERENCES, "default", None)
            return [[row["question_id"] for row in rows] async for _, _, rows in found]

        whole = [vote for piece in await read() for vote in piece]
        monkeypatch.setattr(exports, limit, value)
        pieces = await read()
    finally:
        await pool.close()
    assert len(whole) > 100
    assert [vote for piece in pieces for vote in piece] == whole
    if limit == "AT_ONCE":
        assert max(map(len, pieces)) == 1
    if limit == "MOST_CHARACTERS":
        assert len(pieces) > 10
