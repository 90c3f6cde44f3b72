"""Every saved query of docs/analytics answers on a filled database, as the role that may read nothing else."""

import asyncio
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import pytest

from agon.store import covariances
from agon.store.cells import Slice
from agon.store.leaderboard import METHODS, leaderboard
from support import databases, forked
from support.board import fill
from support.servers import TestServers

pytestmark = pytest.mark.servers

FOLDER = Path(__file__).parents[2] / "docs" / "analytics"
QUERIES = sorted(FOLDER.glob("*.sql"))


@pytest.fixture(scope="module")
def filled(servers: TestServers, postgres_url: str, migrated_template: str) -> Iterator[str]:
    url = servers.run(databases.create(postgres_url, migrated_template))
    servers.run(fill(url))
    yield url
    servers.run(databases.drop(postgres_url, url.rsplit("/", 1)[1]))


async def ask(url: str, query: str) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET ROLE analyst")
        found: list[Any] = await connection.fetch(query)
        return found
    finally:
        await connection.close()


@pytest.mark.parametrize(("name", "query"), [(path.stem, path.read_text()) for path in QUERIES])
async def test_a_saved_query_answers(filled: str, name: str, query: str) -> None:
    assert await ask(filled, query), f"{name} finds nothing"


def test_the_contents_list_every_query_with_its_question() -> None:
    listed = re.findall(r"^\| \[.*?\]\((.*?)\) \| (.*?) \|$", (FOLDER / "README.md").read_text(), flags=re.MULTILINE)
    assert dict(listed) == {path.name: path.read_text().split("\n", 1)[0].removeprefix("-- ") for path in QUERIES}


async def test_every_method_has_a_published_board(filled: str) -> None:
    pool = await asyncpg.create_pool(filled, min_size=1, max_size=1)
    try:
        for method in METHODS:
            board = await leaderboard(pool, method=method)
            assert len(board.rows) == 4, method
            assert board.as_of == 245
        sure = await covariances.read(pool, Slice("default", "main", "overall"), "bradley_terry")
        live = await leaderboard(pool)
    finally:
        await pool.close()
    assert sure is not None
    top = sure.models.index(live.rows[0].model)
    width = 2 * 1.959963984540054 * 400 / np.log(10) * np.sqrt(sure.covariance[top, top])
    assert width == pytest.approx(live.rows[0].upper - live.rows[0].lower, rel=1e-6)


async def test_the_numbers_of_the_views_fit_each_other(filled: str) -> None:
    matrix = await ask(filled, "SELECT * FROM analytics.win_matrix WHERE slice = 'overall'")
    by_pair = {(row["model"], row["opponent"]): row for row in matrix}
    for (model, opponent), row in by_pair.items():
        assert row["wins"] == by_pair[opponent, model]["losses"]
        assert row["fitted"] + by_pair[opponent, model]["fitted"] == pytest.approx(1)
    votes = (await ask(filled, "SELECT votes FROM analytics.vote_rates WHERE slice = 'overall'"))[0]["votes"]
    assert votes == sum(row["votes"] for row in matrix) / 2
    concentration = (await ask(filled, "SELECT * FROM analytics.voter_concentration"))[0]
    assert concentration["votes"] == votes
    assert 0 < concentration["gini"] < 0.6
    mix = await ask(filled, "SELECT dimension, sum(share) AS all FROM analytics.voter_mix GROUP BY dimension")
    assert {row["dimension"]: row["all"] for row in mix} == pytest.approx(
        {"language": 1.0, "category": 1.0, "voter_kind": 1.0}
    )
    daily = await ask(filled, "SELECT verdict, sum(votes) AS n FROM analytics.votes_daily GROUP BY verdict")
    told = {row["verdict"]: row["n"] for row in daily}
    assert told["counted"] - told["retracted"] == votes


async def test_a_price_makes_money_of_a_win_s_tokens(filled: str) -> None:
    def price(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return forked.agon("models", "price", *arguments, environment={"AGON_POSTGRES_URL": filled})

    told = await asyncio.to_thread(price, "nano-6m", "0.5")
    assert told.stdout == "nano-6m costs 0.5 per million tokens\n", told.stderr
    for wrong in (("nano-6m", "-1"), ("nano-6m", "nan"), ("nobody", "1")):
        refused = await asyncio.to_thread(price, *wrong)
        assert (refused.returncode, refused.stdout) == (2, "")
    costs = {row["model"]: row for row in await ask(filled, "SELECT * FROM analytics.model_costs")}
    priced = costs.pop("nano-6m")
    assert priced["cost_per_win"] == pytest.approx(priced["tokens_per_win"] * 0.5e-6)
    assert {row["cost_per_win"] for row in costs.values()} == {None}
    assert (await asyncio.to_thread(price, "nano-6m", "none")).stdout == "nano-6m has no price\n"
    assert {row["cost_per_win"] for row in await ask(filled, "SELECT * FROM analytics.model_costs")} == {None}
