"""Reading and replacing boards, and runs that are kept."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from agon.errors import InvalidRequest, NotFound
from agon.messages import now
from agon.store import leaderboard as store
from agon.store.leaderboard import Board, BoardRow, LiveBoard, UnrankedRow, leaderboard
from agon.store.pool import open_pool

pytestmark = pytest.mark.servers


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Any]:
    async with open_pool(database_url, "test") as pool:
        yield pool


def row(rank: int, model: str) -> BoardRow:
    rating = 1100.0 - 50 * rank
    return BoardRow(
        rank=rank,
        rank_best=1,
        rank_worst=2,
        model=model,
        rating=rating,
        lower=rating - 9.5,
        upper=rating + 9.5,
        votes=7,
    )


def board(as_of: int, *models: str) -> Board:
    return Board(
        arena="main",
        as_of=as_of,
        votes=as_of,
        rows=tuple(row(rank, model) for rank, model in enumerate(models, 1)),
        unranked=(UnrankedRow(model="late", votes=1, reason="winless"),),
        published_at=now(),
    )


async def test_before_the_first_vote_a_board_is_empty(pool: Any) -> None:
    assert await leaderboard(pool) == Board(arena="main")


async def test_a_board_is_read_as_it_was_written(pool: Any) -> None:
    written = board(5, "x", "y")
    assert await store.publish(pool, [LiveBoard("default", written, 0.0)])
    assert await leaderboard(pool) == written
    shape = (await leaderboard(pool)).model_dump(mode="json")
    assert {"arena", "slice", "method", "as_of", "votes", "rows"} <= set(shape)
    assert list(shape["rows"][0]) == ["rank", "rank_best", "rank_worst", "model", "rating", "lower", "upper", "votes"]


async def test_a_board_without_rows_is_told_with_its_votes(pool: Any) -> None:
    await store.publish(pool, [LiveBoard("default", board(1), None)])
    found = await leaderboard(pool)
    assert (found.rows, found.votes, found.unranked[0].model) == ((), 1, "late")


async def test_an_older_board_never_replaces_a_newer_one(pool: Any) -> None:
    assert await store.publish(pool, [LiveBoard("default", board(5, "x", "y"), 0.0)])
    assert not await store.publish(pool, [LiveBoard("default", board(4, "y", "x"), 0.0)])
    assert not await store.publish(pool, [LiveBoard("default", board(5, "y", "x"), 0.0)])
    assert await store.publish(pool, [LiveBoard("default", board(6, "z"), 0.0)])
    assert [each.model for each in (await leaderboard(pool)).rows] == ["z"]


async def test_tenants_do_not_see_each_other(pool: Any) -> None:
    await store.publish(pool, [LiveBoard("default", board(5, "x", "y"), 0.0)])
    with pytest.raises(NotFound, match="no arena"):
        await leaderboard(pool, "somebody-else")


async def test_what_there_is_not_is_named(pool: Any) -> None:
    with pytest.raises(NotFound, match="slice 'language-xx'"):
        await leaderboard(pool, slice="language-xx")
    with pytest.raises(InvalidRequest, match="bradley_terry"):
        await leaderboard(pool, method="coin")


async def test_a_board_is_to_be_announced_until_it_was(pool: Any) -> None:
    await store.publish(pool, [LiveBoard("default", board(5, "x"), 0.0)])
    assert [one.where.arena for one in await store.unannounced(pool)] == ["main"]
    await store.announced(pool, "default", board(5, "x"))
    assert await store.unannounced(pool) == []
    await store.publish(pool, [LiveBoard("default", board(6, "x"), 0.0)])
    await store.announced(pool, "default", board(5, "x"))
    assert [one.models for one in await store.unannounced(pool)] == [{"x"}]
