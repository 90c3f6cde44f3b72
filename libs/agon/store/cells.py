"""`agon.pair_cells`: what ratings know of votes, per slice, counted incrementally and only once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agon.store.pool import Connection, Pool
from agon.store.votes import Arena

Cell = tuple[str, str, tuple[int, int, int, int]]
"""model on the left, model on the right, [left wins, right wins, ties, both bad]"""
Changes = Mapping[tuple[str, str, str], Sequence[int]]
"""(slice, left, right) -> what to add to the four counts; negative for retracted votes"""


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


async def add(connection: Connection, arena: Arena, changes: Changes, mark: int) -> None:
    """Add to the cells and set the mark, inside the transaction that locked it."""
    keys = sorted(changes)
    names = [[key[part] for key in keys] for part in range(3)]
    # In two statements, because a row with a negative count is refused even where it would only be added to another.
    await connection.execute(
        """
        INSERT INTO agon.pair_cells (tenant, arena, slice, model_a, model_b)
        SELECT $1, $2, * FROM unnest($3::text[], $4::text[], $5::text[]) ON CONFLICT DO NOTHING
        """,
        *arena,
        *names,
    )
    await connection.execute(
        """
        UPDATE agon.pair_cells c SET
            left_wins = c.left_wins + d.left_wins, right_wins = c.right_wins + d.right_wins,
            ties = c.ties + d.ties, both_bad = c.both_bad + d.both_bad
        FROM unnest($3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
            AS d (slice, model_a, model_b, left_wins, right_wins, ties, both_bad)
        WHERE c.tenant = $1 AND c.arena = $2
          AND c.slice = d.slice AND c.model_a = d.model_a AND c.model_b = d.model_b
        """,
        *arena,
        *names,
        *([changes[key][column] for key in keys] for column in range(4)),
    )
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
