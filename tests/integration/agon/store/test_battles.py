"""Battles and turns in Postgres."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from agon.messages import now
from agon.store import battles
from agon.store.battles import BattleRow, SideEnd, TurnRow
from agon.store.pool import open_pool

pytestmark = pytest.mark.servers

KEY = ("default", "b1", 1)
GOOD = SideEnd("an answer", "stop", None, 7, 0.1, 0.5)
BAD = SideEnd("half", None, "engine_failed", 3, 0.1, 0.2)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Any]:
    async with open_pool(database_url, "test") as pool:
        yield pool


def battle(**changes: Any) -> BattleRow:
    fields: dict[str, Any] = dict(  # noqa: C408  a keyword is shorter to read than a quoted key
        tenant="default", battle_id="b1", arena="main", named=False, session_hash="voter-1", voter_kind="anonymous",
        model_a="x", model_b="y", digest_a="dx", digest_b="dy", draw_probability=0.5,
        policy={"kind": "uniform", "pool": ["x", "y"]}, policy_hash="p", nonce="n", commitment="c", prompt_hash="h",
        sampling={"max_tokens": 64}, language="en", created_at=now(),
    )  # fmt: skip
    return BattleRow(**{**fields, **changes})


def turn(number: int = 1, battle_id: str = "b1") -> TurnRow:
    prompt = [{"role": "user", "content": "Hello\0 wörld"}]
    return TurnRow("default", battle_id, number, prompt, "ra", "rb", 2**53 - 1, 2, now(), ("maths",), 3)


async def test_a_battle_is_read_as_it_was_written(pool: Any) -> None:
    await battles.add_battle(pool, battle(), turn())
    assert await battles.add_turn(pool, turn(2))
    found = await battles.read_battle(pool, "default", "b1")
    assert found is not None
    read, turns = found
    assert read == battle(created_at=read.created_at)
    assert [each.turn for each in turns] == [1, 2]
    assert turns[0] == TurnRow(**{**_fields(turn()), "created_at": turns[0].created_at})
    assert await battles.read_battle(pool, "other", "b1") is None


async def test_a_turn_is_added_once_and_finished_once(pool: Any) -> None:
    await battles.add_battle(pool, battle(), turn())
    assert sorted(await asyncio.gather(*(battles.add_turn(pool, turn(2)) for _ in range(8)))) == [False] * 7 + [True]
    won = await asyncio.gather(*(battles.finish_turn(pool, *KEY, GOOD, GOOD) for _ in range(8)))
    assert sorted(won) == [False] * 7 + [True]


@pytest.mark.parametrize(
    ("a", "b", "status", "side"),
    [
        (GOOD, GOOD, "finished", None),
        (GOOD, BAD, "failed", "b"),
        (BAD, GOOD, "failed", "a"),
        (BAD, BAD, "failed", "both"),
    ],
)
async def test_a_turn_fails_with_any_of_its_sides(pool: Any, a: SideEnd, b: SideEnd, status: str, side: str) -> None:
    await battles.add_battle(pool, battle(), turn())
    assert await battles.finish_turn(pool, *KEY, a, b)
    row = await pool.fetchrow("SELECT status, failed_side, answer_a, tokens_b FROM agon.battle_turns")
    assert tuple(row) == (status, side, a.answer, b.tokens)


async def test_an_answer_with_a_nul_is_stored_without_it(pool: Any) -> None:
    await battles.add_battle(pool, battle(), turn())
    end = SideEnd("a\0b", "stop", None, None, None, None)
    assert await battles.finish_turn(pool, *KEY, end, end)
    assert await pool.fetchval("SELECT answer_a FROM agon.battle_turns") == "a\ufffdb"


async def test_the_first_pace_and_its_time_stand(pool: Any) -> None:
    await battles.add_battle(pool, battle(), turn())
    pace, since = await battles.mark_shown(pool, *KEY, 4.0)
    assert pace == 4.0
    assert 0 <= since < 60
    await pool.execute("UPDATE agon.battle_turns SET shown_at = shown_at - interval '10 s'")
    pace, since = await battles.mark_shown(pool, *KEY, 16.0)
    assert pace == 4.0
    assert 10 <= since < 70


async def test_the_first_vote_stands(pool: Any) -> None:
    await battles.add_battle(pool, battle(), turn())
    assert await battles.mark_voted(pool, "default", "b1", 1, "tie") == (1, "tie")
    assert await battles.mark_voted(pool, "default", "b1", 2, "a") == (1, "tie")


async def test_unfinished_turns_are_those_not_told_to_their_end(pool: Any) -> None:
    for name in ("running", "stored", "told"):
        await battles.add_battle(pool, battle(battle_id=name), turn(battle_id=name))
    for name in ("stored", "told"):
        await battles.finish_turn(pool, "default", name, 1, GOOD, GOOD)
    await battles.mark_done(pool, "default", "told", 1)
    found = await battles.unfinished_turns(pool, now() - timedelta(minutes=1), 10)
    assert sorted(found) == [("default", "running", 1), ("default", "stored", 1)]
    assert await battles.unfinished_turns(pool, now() + timedelta(minutes=1), 10) == []


async def test_the_arena_main_is_there_and_others_are_not(pool: Any) -> None:
    main = await battles.read_arena(pool, "default", "main")
    assert main is not None
    assert (main.publication_delay, main.policy) == (timedelta(0), {})
    assert await battles.read_arena(pool, "default", "other") is None
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await battles.add_battle(pool, battle(arena="other"), turn())


def _fields(row: TurnRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in TurnRow.__slots__}
