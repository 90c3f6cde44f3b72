"""Published runs: `agon.rating_runs` and `agon.rating_run_rows`, kept for ever and recorded in the ledger."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agon.errors import InvalidRequest
from agon.store import covariances
from agon.store.cells import Slice
from agon.store.covariances import Sureness
from agon.store.leaderboard import Board, BoardRow, row_values, unranked_json
from agon.store.pool import Pool
from agon.store.votes import Arena, lock_arenas


@dataclass(frozen=True, slots=True)
class Run:
    """A board fitted cold, how it was computed, and its entry in the ledger: bytes as text, and their leaf hash."""

    tenant: str
    board: Board
    gradient: float | None
    iterations: int | None
    parameters: Mapping[str, Any]
    code_version: str
    entry: str
    leaf_hash: bytes
    votes_to_next: Mapping[str, int | None]
    """by model: what tells it from the next one below"""
    sureness: Sureness | None


async def unpublished(pool: Pool, method: str, tenant: str | None = None, arena: str | None = None) -> list[Slice]:
    """Slices with votes that no published run knows."""
    rows = await pool.fetch(
        """
        SELECT s.tenant, s.arena, s.slice FROM agon.rating_slices s
        WHERE ($2::text IS NULL OR s.tenant = $2) AND ($3::text IS NULL OR s.arena = $3) AND NOT EXISTS (
            SELECT FROM agon.rating_runs r WHERE r.tenant = s.tenant AND r.arena = s.arena AND r.slice = s.slice
                AND r.method = $1 AND r.as_of >= s.changed)
        ORDER BY s.tenant, s.arena, s.slice
        """,
        method,
        tenant,
        arena,
    )
    return [Slice(*row) for row in rows]


async def tree_size(pool: Pool, arena: Arena, seq: int) -> int:
    """The leaves of an arena's ledger up to the vote with this seq: the inputs of a run."""
    size: int = await pool.fetchval(
        "SELECT coalesce((SELECT leaf + 1 FROM agon.votes WHERE tenant = $1 AND arena = $2 AND seq = $3), 0)",
        *arena,
        seq,
    )
    return size


async def read_frontier(pool: Pool, arena: Arena, size: int) -> tuple[int, list[bytes]]:
    """The largest tree of at most `size` leaves whose peaks were kept, and these; an empty one if there is none."""
    row = await pool.fetchrow(
        "SELECT size, peaks FROM agon.ledger_frontiers WHERE tenant = $1 AND arena = $2 AND size <= $3", *arena, size
    )
    return (0, []) if row is None else (row["size"], row["peaks"])


async def write_frontier(pool: Pool, arena: Arena, size: int, peaks: Sequence[bytes]) -> None:
    """Keep the peaks of an arena's tree, unless those of a larger one are kept."""
    await pool.execute(
        """
        INSERT INTO agon.ledger_frontiers AS f (tenant, arena, size, peaks) VALUES ($1, $2, $3, $4)
        ON CONFLICT (tenant, arena) DO UPDATE SET size = excluded.size, peaks = excluded.peaks
        WHERE f.size < excluded.size
        """,
        *arena,
        size,
        peaks,
    )


async def leaf_hashes(pool: Pool, arena: Arena, first: int, end: int) -> list[bytes]:
    """The hashes of the leaves `first` to `end` - 1. Raises `InvalidRequest` where one is missing."""
    rows = await pool.fetch(
        "SELECT hash FROM agon.ledger_leaves WHERE tenant = $1 AND arena = $2 AND leaf >= $3 AND leaf < $4 "
        "ORDER BY leaf",
        *arena,
        first,
        end,
    )
    if len(rows) != end - first:
        raise InvalidRequest(f"the ledger of {'/'.join(arena)} has {len(rows)} of the leaves {first} to {end - 1}")
    return [row["hash"] for row in rows]


async def publish(pool: Pool, run: Run) -> bool:
    """Store a run, its rows and its ledger entry in one transaction. False where the same run is there already."""
    board = run.board
    where = (run.tenant, board.arena, board.slice, board.method, board.as_of)
    async with pool.acquire() as connection, connection.transaction():
        arenas = await lock_arenas(connection, [(run.tenant, board.arena)])
        if await connection.fetchval(
            "SELECT 1 FROM agon.rating_runs "
            "WHERE tenant = $1 AND arena = $2 AND slice = $3 AND method = $4 AND as_of = $5",
            *where,
        ):
            return False
        leaf = arenas[run.tenant, board.arena].leaves
        await connection.execute(
            "INSERT INTO agon.ledger_leaves (tenant, arena, leaf, kind, entry, hash) "
            "VALUES ($1, $2, $3, 'leaderboard', $4, $5)",
            *where[:2],
            leaf,
            run.entry,
            run.leaf_hash,
        )
        await connection.execute(
            """
            INSERT INTO agon.rating_runs (tenant, arena, slice, method, as_of, votes, unranked, gradient, iterations,
                                          parameters, code_version, leaf, published_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8, $9, $10::text::jsonb, $11, $12, $13)
            """,
            *where,
            board.votes,
            unranked_json(board.unranked),
            run.gradient,
            run.iterations,
            json.dumps(run.parameters),
            run.code_version,
            leaf,
            board.published_at,
        )
        await connection.copy_records_to_table(
            "rating_run_rows",
            schema_name="agon",
            columns=("tenant", "arena", "slice", "method", "as_of", *BoardRow.model_fields, "votes_to_next"),
            records=[(*where, *row_values(row), run.votes_to_next.get(row.model)) for row in board.rows],
        )
        if run.sureness is not None:
            await covariances.write(connection, Slice(run.tenant, board.arena, board.slice), board.method, run.sureness)
    return True
