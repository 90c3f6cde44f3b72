"""`agon export`: the votes as Parquet, for notebooks, DuckDB, and the field's own tools."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agon.cli.database import with_pool
from agon.cli.stack import of_stack
from agon.errors import SetupError

if TYPE_CHECKING:
    from datetime import date

MANIFEST = "manifest.json"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--arena", help="Only this arena.")
@click.option("--tenant", default="default", show_default=True)
@click.option("--without-text", is_flag=True, help="Leave out what was asked and answered.")
@of_stack
@click.option("--json", "as_json", is_flag=True, help="Print the manifest.")
def export(folder: Path, arena: str | None, tenant: str, without_text: bool, data: str, as_json: bool) -> None:
    """Write all votes into an empty FOLDER as Parquet, by arena and day.

    `votes/` has every judged vote, those that do not count with the reason. `preferences/` has the counted ones in the
    columns of lmarena-ai/arena-human-preference-100k. `manifest.json` lists each file with its rows and SHA-256.
    Works on the stack that runs here, or on the database at AGON_POSTGRES_URL with the right to read the schema `agon`.

    \b
    Example:
      agon export votes-2026-11
      duckdb -c "SELECT model_a, count(*) FROM 'votes-2026-11/votes/*/*/*.parquet' GROUP BY ALL"
    """
    if folder.exists() and any(folder.iterdir()):
        raise SetupError(f"{folder} is not empty: name a new folder")

    async def read(pool: Any) -> dict[str, Any]:
        return await _export(pool, folder, tenant, arena, without_text)

    manifest = with_pool("agon export", data, read)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    if as_json:
        click.echo(json.dumps(manifest))
        return
    for name, part in manifest["tables"].items():
        click.echo(f"{part['rows']:,} rows of {name} in {len(part['files'])} files")


async def _export(pool: Any, folder: Path, tenant: str, arena: str | None, without_text: bool) -> dict[str, Any]:
    from agon import __version__
    from agon.messages import now, rfc3339
    from agon.store.battles import require_arena
    from agon.store.exports import PREFERENCES, VOTES, read

    await require_arena(pool, tenant, arena)
    tables = {}
    for name, query, shape in (
        ("votes", VOTES, _vote),
        ("preferences", PREFERENCES, lambda row: _preference(row, without_text)),
    ):
        table = _Table(folder, name, shape)
        async for its_arena, day, rows in read(pool, query, tenant, arena):
            await asyncio.to_thread(table.write, its_arena, day, rows)
        tables[name] = {"rows": table.rows, "files": table.files}
    return {"agon": __version__, "tenant": tenant, "exported_at": rfc3339(now()), "tables": tables}


@dataclass
class _Table:
    """A table in the making: one file for each piece that was read, so that nothing has to be kept."""

    folder: Path
    name: str
    shape: Callable[[Mapping[str, Any]], dict[str, Any]]
    rows: int = 0
    files: list[dict[str, Any]] = field(default_factory=list)

    def write(self, arena: str, day: "date", rows: Sequence[Mapping[str, Any]]) -> None:
        import polars

        place = self.folder / self.name / f"arena={arena}" / f"date={day.isoformat()}"
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"part-{len(self.files):06d}.parquet"
        polars.DataFrame([self.shape(row) for row in rows], schema=_SCHEMAS[self.name]()).write_parquet(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.files.append({"path": str(path.relative_to(self.folder)), "rows": len(rows), "sha256": digest})
        self.rows += len(rows)


def _vote(row: Mapping[str, Any]) -> dict[str, Any]:
    return dict(row.items())


def _preference(row: Mapping[str, Any], without_text: bool) -> dict[str, Any]:
    """A vote in the field's columns. What we do not measure is null."""
    slices = row["slices"]
    turns = json.loads(row["turns"]) if row["turns"] and not without_text else []
    categories = [name.removeprefix("category-") for name in slices if name.startswith("category-")]
    return {
        "question_id": row["question_id"],
        "model_a": row["model_a"],
        "model_b": row["model_b"],
        "winner": row["winner"],
        "judge": row["judge"],
        "judge_hash": hashlib.sha256(row["judge"].encode()).hexdigest(),
        "conversation_a": _conversation(turns, 1),
        "conversation_b": _conversation(turns, 2),
        "turn": row["turn"],
        "anony": True,
        "language": row["language"],
        "tstamp": row["tstamp"],
        "conv_metadata": _style(turns),
        "is_code": "code" in categories,
        "is_refusal": None,
        "dedup_tag": {"high_freq": False, "sampled": True},
        "category_tag": categories,
    }


def _conversation(turns: Sequence[Any], side: int) -> list[dict[str, str]]:
    told: list[dict[str, str]] = []
    for turn in turns:
        told += [{"role": each["role"], "content": _text(each["content"])} for each in turn[0]]
        told.append({"role": "assistant", "content": turn[side] or ""})
    return told


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content)


_STYLE = ("header_count", "list_count", "bold_count", "code_count")
"""Under these names the field has objects whose values it adds up: ours have one."""


def _style(turns: Sequence[Any]) -> dict[str, Any] | None:
    """What style control reads of either side, all its turns together, under FastChat's names."""
    from agon.ratings import style_of

    if not turns:
        return None
    found: dict[str, Any] = {}
    for side, name in ((1, "a"), (2, "b")):
        counts = style_of(turn[side] or "" for turn in turns).sum(axis=0)
        tokens = [turn[side + 2] for turn in turns]
        found[f"sum_assistant_{name}_tokens"] = None if None in tokens else sum(tokens)
        found |= {f"{what}_{name}": {"all": int(count)} for what, count in zip(_STYLE, counts[1:], strict=True)}
    return found


def _votes_schema() -> dict[str, Any]:
    import polars as pl

    time = pl.Datetime("us", "UTC")
    text = ("tenant", "arena", "verdict", "reason", "vote_id", "battle_id", "voter", "voter_kind", "outcome",
            "model_a", "model_b", "winner", "language", "policy_hash")  # fmt: skip
    kinds: dict[str, Any] = dict.fromkeys(text, pl.String)
    kinds |= {"seq": pl.Int64, "turn": pl.Int32, "leaf": pl.Int64, "slices": pl.List(pl.String)}
    kinds |= {"draw_probability": pl.Float64, "voted_at": time, "judged_at": time, "seconds_to_vote": pl.Float64}
    order = ("tenant", "arena", "seq", "verdict", "reason", "vote_id", "battle_id", "turn", "voter", "voter_kind",
             "outcome", "model_a", "model_b", "winner", "slices", "language", "draw_probability", "policy_hash",
             "voted_at", "judged_at", "seconds_to_vote", "leaf")  # fmt: skip
    return {name: kinds[name] for name in order}


def _preferences_schema() -> dict[str, Any]:
    import polars as pl

    conversation = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
    style: dict[str, Any] = {f"sum_assistant_{side}_tokens": pl.Int64() for side in "ab"}
    style |= {f"{what}_{side}": pl.Struct({"all": pl.Int64}) for side in "ab" for what in _STYLE}
    return {
        "question_id": pl.String, "model_a": pl.String, "model_b": pl.String, "winner": pl.String, "judge": pl.String,
        "judge_hash": pl.String, "conversation_a": conversation, "conversation_b": conversation, "turn": pl.Int64,
        "anony": pl.Boolean, "language": pl.String, "tstamp": pl.Float64, "conv_metadata": pl.Struct(style),
        "is_code": pl.Boolean, "is_refusal": pl.Boolean,
        "dedup_tag": pl.Struct({"high_freq": pl.Boolean, "sampled": pl.Boolean}), "category_tag": pl.List(pl.String),
    }  # fmt: skip


_SCHEMAS: dict[str, Callable[[], dict[str, Any]]] = {"votes": _votes_schema, "preferences": _preferences_schema}
