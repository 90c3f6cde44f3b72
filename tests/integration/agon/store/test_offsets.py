"""Offsets fence: whoever took a partition last is the only one who stores."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agon.bus.batches import Move
from agon.errors import Fenced
from agon.store.offsets import Offsets
from agon.store.pool import open_pool
from support.voting import eventually

pytestmark = pytest.mark.servers

P0, P1 = ("t", 0), ("t", 1)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Any]:
    async with open_pool(database_url, "test") as pool:
        yield pool


async def store(pool: Any, offsets: Offsets, *moves: Move) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("INSERT INTO agon.arenas (tenant, arena) VALUES ('default', $1)", f"a{moves[0].next}")
        await offsets.move(connection, moves)


async def stored(pool: Any) -> int:
    return int(await pool.fetchval("SELECT count(*) FROM agon.arenas WHERE arena <> 'main'"))


async def test_a_partition_begins_at_its_start_and_goes_on_where_it_was(pool: Any) -> None:
    one = Offsets(pool, "c")
    assert await one.take({P0: 5, P1: 0}) == {P0: 5, P1: 0}
    await store(pool, one, Move("t", 0, 5, 9))
    assert await Offsets(pool, "c").take({P0: 0, P1: 0}) == {P0: 9, P1: 0}
    assert await Offsets(pool, "other").take({P0: 0}) == {P0: 0}


async def test_a_former_holder_stores_nothing(pool: Any) -> None:
    former, now = Offsets(pool, "c"), Offsets(pool, "c")
    await former.take({P0: 0, P1: 0})
    await now.take({P1: 0})
    with pytest.raises(Fenced):
        await store(pool, former, Move("t", 0, 0, 1), Move("t", 1, 0, 1))
    assert await stored(pool) == 0
    assert await now.take({P0: 7, P1: 7}) == {P0: 0, P1: 0}


async def test_a_move_from_another_offset_stores_nothing(pool: Any) -> None:
    one = Offsets(pool, "c")
    await one.take({P0: 0})
    await store(pool, one, Move("t", 0, 0, 3))
    with pytest.raises(Fenced):
        await store(pool, one, Move("t", 0, 0, 4))
    assert await stored(pool) == 1


async def test_a_successor_waits_for_the_batch_at_hand(pool: Any) -> None:
    """The former holder has moved and not committed yet: the successor learns of the new offset, not of the old one."""
    former, successor = Offsets(pool, "c"), Offsets(pool, "c")
    await former.take({P0: 0})
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await former.move(connection, [Move("t", 0, 0, 4)])
        taking = asyncio.create_task(successor.take({P0: 0}))

        async def waiting() -> bool:
            return bool(await pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

        await eventually("the successor waits", waiting)
        await transaction.commit()
    assert await taking == {P0: 4}
    with pytest.raises(Fenced):
        await store(pool, former, Move("t", 0, 4, 5))
