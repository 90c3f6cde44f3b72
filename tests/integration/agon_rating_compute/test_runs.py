"""Published runs: what they keep, what they read again, and what one that fails does to the others."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import numpy as np
import pytest

from agon.errors import SetupError
from agon.ledger import Frontier, root
from agon.ratings import STYLE, style_of
from agon.store import ballots
from agon.store import runs as store
from agon.store.ballots import Styles
from agon.store.battles import require_arena
from agon.store.cells import Slice
from agon_rating_compute import runs
from agon_rating_compute.runs import publish_all, publish_regularly
from support.board import fill
from support.voting import eventually

pytestmark = pytest.mark.servers

MAIN = ("default", "main")
OVERALL = Slice(*MAIN, "overall")


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Any]:
    """With 240 votes, the last five taken back, and runs as of the votes 120 and 245."""
    await fill(database_url)
    async with asyncpg.create_pool(database_url, min_size=1, max_size=3) as opened:
        yield opened


async def test_no_run_of_an_arena_that_is_not_there_is_no_success(pool: Any) -> None:
    await require_arena(pool, None, None)
    await require_arena(pool, *MAIN)
    with pytest.raises(SetupError, match="no arena `mian`: "):
        await require_arena(pool, None, "mian")
    with pytest.raises(SetupError, match="no arena `main` of the tenant `other`"):
        await require_arena(pool, "other", "main")


async def test_a_run_goes_on_from_the_tree_that_the_last_one_has_left(
    pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "AT_ONCE", 7)
    read: list[tuple[int, int]] = []

    async def spy(pool: Any, arena: Any, first: int, end: int) -> list[bytes]:
        read.append((first, end))
        return await leaf_hashes(pool, arena, first, end)

    leaf_hashes = store.leaf_hashes
    monkeypatch.setattr(store, "leaf_hashes", spy)
    leaves = [row["hash"] for row in await pool.fetch("SELECT hash FROM agon.ledger_leaves ORDER BY leaf")]

    assert (await runs._tree(pool, MAIN, 245)).head == root(leaves[:245])
    assert read == []  # what the last run has left is all of it
    await pool.execute("DELETE FROM agon.ledger_frontiers")
    assert (await runs._tree(pool, MAIN, 100)).head == root(leaves[:100])
    assert read == [(n, min(n + 7, 100)) for n in range(0, 100, 7)]
    read.clear()
    assert (await runs._tree(pool, MAIN, 110)).head == root(leaves[:110])
    assert read == [(100, 107), (107, 110)]
    assert (await runs._tree(pool, MAIN, 60)) == Frontier().extended(leaves[:60])  # an older one keeps nothing
    assert await pool.fetchval("SELECT size FROM agon.ledger_frontiers") == 110


async def test_answers_are_looked_at_once(pool: Any) -> None:
    first = await ballots.read(pool, OVERALL, 245, Styles(1, len(STYLE), style_of))
    assert (len(first.outcome), int(first.answered.sum())) == (235, 235)
    answers = await pool.fetch(
        "SELECT t.answer_a, t.answer_b FROM agon.votes v JOIN agon.battle_turns t USING (tenant, battle_id, turn) "
        "WHERE v.verdict = 'counted' AND v.seq <= 235 ORDER BY v.seq"
    )
    assert np.array_equal(first.style_a, style_of(row["answer_a"] for row in answers))
    assert np.array_equal(first.style_b, style_of(row["answer_b"] for row in answers))

    def refuse(texts: Any) -> Any:
        assert not list(texts), "a text is looked at again"
        return style_of([])

    again = await ballots.read(pool, OVERALL, 245, Styles(1, len(STYLE), refuse))
    for name in ("answered", "style_a", "style_b"):
        assert np.array_equal(getattr(again, name), getattr(first, name))
    other = await ballots.read(pool, OVERALL, 245, Styles(2, 1, lambda texts: np.array([[7.0] for _ in texts])))
    assert (other.style_a == 7).all()
    assert other.style_a.shape == (235, 1)


async def test_a_run_that_breaks_is_logged_and_stops_no_other(
    pool: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await pool.execute("TRUNCATE agon.rating_runs CASCADE")
    rank = runs.rank

    def breaks(method: str, *args: Any) -> Any:
        if method == "reweighted":
            raise ZeroDivisionError("nobody thought of it")
        return rank(method, *args)

    monkeypatch.setattr(runs, "rank", breaks)
    broken = await publish_all(pool)
    methods = {board.method for board in broken}
    assert "reweighted" not in methods
    assert {"bradley_terry", "voter_clustered", "style_controlled"} == methods
    assert "nobody thought of it" in caplog.text

    monkeypatch.setattr(runs, "rank", rank)
    publishing = asyncio.create_task(publish_regularly(pool, 0.01))

    async def made() -> bool:
        return bool(await pool.fetchval("SELECT count(*) FROM agon.rating_runs WHERE method = 'reweighted'"))

    await eventually("it is made the next time", made)
    publishing.cancel()


async def test_publishing_goes_on_after_what_nobody_thought_of(
    pool: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []
    again = asyncio.Event()

    async def breaks(pool: Any, *args: Any) -> Any:
        calls.append(1)
        if len(calls) > 2:
            again.set()
        raise KeyError("nobody thought of it either")

    monkeypatch.setattr(runs, "publish_all", breaks)
    publishing = asyncio.create_task(publish_regularly(pool, 0.01))
    async with asyncio.timeout(60):
        await again.wait()
    assert not publishing.done()
    publishing.cancel()
    assert "nobody thought of it either" in caplog.text
