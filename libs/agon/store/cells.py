"""`agon.pair_cells`: what ratings know of votes, per slice, counted incrementally and only once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agon.store.pool import Connection, Pool
from agon.store.votes import Arena

Cell = tuple[str, str, tuple[int, int, int, int]]
"""model on the left, model on the right, [left wins, right wins, ties, both bad]"""
Key = tuple[str, str, str]
"""slice, left, right"""
Changes = Mapping[Key, Sequence[int]]
"""what to add to the four counts; negative for retracted votes"""


@dataclass(frozen=True, slots=True, order=True)
class Slice:
    """One board's worth of votes."""

    tenant: str
    arena: str
    slice: str


async def lock_mark(connection: Connection, arena: Arena) -> int:
    """The seq up to which an arena's cells are complete, locked until the caller's transaction ends."""
    await connection.execute(
        "INSERT INTO agon.rating_marks (tenant, arena, counted) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING", *arena
    )
    mark: int = await connection.fetchval(
        "SELECT counted FROM agon.rating_marks WHERE tenant = $1 AND arena = $2 FOR UPDATE", *arena
    )
    return mark


_CHANGES = """
unnest($3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
    AS d (slice, model_a, model_b, left_wins, right_wins, ties, both_bad)
"""

# An upsert finds each cell by its key. An update that joins would scan all cells of all slices for a few of them.
_GAINS = f"""
INSERT INTO agon.pair_cells AS c (tenant, arena, slice, model_a, model_b, left_wins, right_wins, ties, both_bad)
SELECT $1, $2, d.* FROM {_CHANGES}
ON CONFLICT (tenant, arena, slice, model_a, model_b) DO UPDATE SET
    left_wins = c.left_wins + excluded.left_wins, right_wins = c.right_wins + excluded.right_wins,
    ties = c.ties + excluded.ties, both_bad = c.both_bad + excluded.both_bad
"""

# Apart, because a row with a negative count is refused even where it would only be added to another.
_LOSSES = f"""
UPDATE agon.pair_cells c SET
    left_wins = c.left_wins + d.left_wins, right_wins = c.right_wins + d.right_wins,
    ties = c.ties + d.ties, both_bad = c.both_bad + d.both_bad
FROM {_CHANGES}
WHERE c.tenant = $1 AND c.arena = $2 AND c.slice = d.slice AND c.model_a = d.model_a AND c.model_b = d.model_b
"""


def _columns(keys: Sequence[Key], counts: Callable[[Key], Sequence[int]]) -> list[Sequence[Any]]:
    """Seven arrays: the parts of the keys, and the four counts of each."""
    rows = [(*key, *counts(key)) for key in keys]
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[]] * 7


async def add(connection: Connection, arena: Arena, changes: Changes, mark: int) -> None:
    """Add to the cells and set the mark, inside the transaction that locked it."""
    keys = sorted(changes)
    await connection.execute(_GAINS, *arena, *_columns(keys, lambda key: [max(count, 0) for count in changes[key]]))
    losing = [key for key in keys if min(changes[key]) < 0]
    if losing:
        await connection.execute(_LOSSES, *arena, *_columns(losing, lambda key: [min(n, 0) for n in changes[key]]))
    await connection.execute(
        """
        INSERT INTO agon.rating_slices (tenant, arena, slice, changed) SELECT $1, $2, unnest($3::text[]), $4
        ON CONFLICT (tenant, arena, slice) DO UPDATE SET changed = excluded.changed
        """,
        *arena,
        sorted({key[0] for key in keys}),
        mark,
    )
    await connection.execute(
        "UPDATE agon.rating_marks SET counted = $3, changed_at = now() WHERE tenant = $1 AND arena = $2", *arena, mark
    )


async def read(pool: Pool, where: Slice) -> tuple[int, list[Cell]]:
    """The arena's mark and the slice's cells that have votes, of one moment."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        mark = await connection.fetchval(
            "SELECT counted FROM agon.rating_marks WHERE tenant = $1 AND arena = $2", where.tenant, where.arena
        )
        rows = await connection.fetch(
            """
            SELECT model_a, model_b, left_wins, right_wins, ties, both_bad FROM agon.pair_cells
            WHERE tenant = $1 AND arena = $2 AND slice = $3 AND left_wins + right_wins + ties + both_bad > 0
            """,
            where.tenant,
            where.arena,
            where.slice,
        )
    return mark or 0, [(row[0], row[1], (row[2], row[3], row[4], row[5])) for row in rows]
