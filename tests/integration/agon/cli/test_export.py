"""`agon export`: what analysts read elsewhere."""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import asyncpg
import duckdb
import polars
import pytest

from support import forked
from support.board import fill

pytestmark = pytest.mark.servers


def export(database_url: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return forked.agon("export", *arguments, environment={"AGON_POSTGRES_URL": database_url}, timeout=120)


async def fetch(database_url: str, query: str) -> list[Any]:
    connection = await asyncpg.connect(database_url)
    try:
        found: list[Any] = await connection.fetch(query)
        return found
    finally:
        await connection.close()


async def test_an_export_reads_back_as_what_the_tables_hold(database_url: str, tmp_path: Path) -> None:
    await fill(database_url)
    folder = tmp_path / "out"
    done = export(database_url, str(folder), "--json")
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    assert manifest == json.loads((folder / "manifest.json").read_text())
    for table in manifest["tables"].values():
        assert sum(file["rows"] for file in table["files"]) == table["rows"]
        for file in table["files"]:
            assert hashlib.sha256((folder / file["path"]).read_bytes()).hexdigest() == file["sha256"]

    stored = await fetch(database_url, "SELECT seq, vote_id, verdict, slices FROM analytics.votes ORDER BY seq")
    votes = polars.read_parquet(folder / "votes" / "**" / "*.parquet").sort("seq")
    assert votes["seq"].to_list() == [row["seq"] for row in stored]
    assert votes["slices"].to_list() == [row["slices"] for row in stored]
    assert set(votes["arena"]) == {"main"}

    standing = await fetch(
        database_url,
        "SELECT outcome, count(*) AS n FROM agon.votes v WHERE verdict = 'counted' AND vote_id NOT IN "
        "(SELECT vote_id FROM agon.votes WHERE verdict = 'retracted') GROUP BY outcome",
    )
    words = {"a": "model_a", "b": "model_b", "tie": "tie", "both_bad": "tie (bothbad)"}
    files = f"{folder}/preferences/*/*/*.parquet"
    told = duckdb.sql(f"SELECT winner, count(*) FROM read_parquet('{files}') GROUP BY winner").fetchall()
    assert dict(told) == {words[row["outcome"]]: row["n"] for row in standing}
    columns = {row[0] for row in duckdb.sql(f"DESCRIBE SELECT * FROM read_parquet('{files}')").fetchall()}
    assert columns >= {
        "question_id", "model_a", "model_b", "winner", "conversation_a", "conversation_b", "turn", "anony", "language",
        "tstamp", "conv_metadata", "is_code", "is_refusal", "dedup_tag", "category_tag", "judge_hash",
    }  # fmt: skip
    spoken = duckdb.sql(
        f"SELECT conversation_a[1].content, conversation_a[-1].role, conv_metadata.sum_assistant_a_tokens, "
        f"conv_metadata.list_count_a.all FROM read_parquet('{files}') WHERE len(conversation_a) > 0"
    ).fetchall()
    assert spoken[0] == ("What is 1 plus 1?", "assistant", 5, 2)


async def test_text_stays_at_home_where_it_should(database_url: str, tmp_path: Path) -> None:
    await fill(database_url)
    assert export(database_url, str(tmp_path / "out"), "--without-text").returncode == 0
    preferences = polars.read_parquet(tmp_path / "out" / "preferences" / "**" / "*.parquet")
    assert preferences["conversation_a"].list.len().max() == 0
    assert preferences.height > 0


def test_a_folder_with_something_in_it_is_refused(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    done = export(database_url, str(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "not empty" in done.stderr
