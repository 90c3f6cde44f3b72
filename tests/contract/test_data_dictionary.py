"""`analytics` is a promise: its views, their columns, a meaning for each, and the page that lists them."""

import re
from collections import defaultdict
from pathlib import Path

import asyncpg
import pytest

pytestmark = pytest.mark.servers

PAGE = Path(__file__).parents[2] / "docs" / "analytics.md"
VIEWS = {
    "leaderboard_current",
    "leaderboard_history",
    "win_matrix",
    "votes",
    "battles",
    "models",
    "requests",
    "data_dictionary",
}


async def columns(database_url: str) -> dict[str, list[tuple[str, str, str, str]]]:
    """view -> (column, type, meaning of the column, meaning of the view), in order."""
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch("SELECT * FROM analytics.data_dictionary")
        catalogue = await connection.fetch(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'analytics'"
        )
    finally:
        await connection.close()
    assert {(row["relation"], row["column_name"]) for row in rows} == {tuple(row) for row in catalogue}
    found = defaultdict(list)
    for row in rows:
        found[row["relation"]].append((row["column_name"], row["type"], row["meaning"], row["relation_meaning"]))
    return found


async def test_the_promised_views_are_there_and_every_column_says_what_it_means(database_url: str) -> None:
    found = await columns(database_url)
    assert set(found) >= VIEWS
    for view, listed in found.items():
        for column, _, meaning, view_meaning in listed:
            assert meaning, f"analytics.{view}.{column} has no comment"
            assert view_meaning, f"analytics.{view} has no comment"


async def test_the_page_lists_what_the_database_has(database_url: str) -> None:
    found = await columns(database_url)
    listed: dict[str, list[tuple[str, str, str]]] = {}
    for section in re.split(r"^### ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        name = section.split("\n", 1)[0].strip("`")
        rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", section, flags=re.MULTILINE)
        listed[name] = [(column, kind, meaning) for column, kind, meaning in rows]
    assert listed == {view: [(c, t, m) for c, t, m, _ in rows] for view, rows in found.items()}


async def test_tables_that_hold_a_tenants_data_name_it(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        without = await connection.fetch(
            """
            SELECT tablename FROM pg_tables t WHERE schemaname = 'agon' AND NOT EXISTS (
                SELECT FROM information_schema.columns c
                WHERE c.table_schema = 'agon' AND c.table_name = t.tablename AND c.column_name = 'tenant')
            """
        )
    finally:
        await connection.close()
    # One tells how far a consumer has come, the other only that some key has changed.
    assert sorted(row["tablename"] for row in without) == ["api_key_changes", "consumer_offsets"]
