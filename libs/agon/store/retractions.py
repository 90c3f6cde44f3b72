"""Counted votes taken back: a row of their own in `agon.votes`, appended as every other, so that nothing is deleted.

The row repeats pair, outcome and slices of the vote, so that whoever counts takes away exactly what was added. A vote
is taken back at most once (a unique index says so), and never counts again.
"""

from collections.abc import Callable

from agon.store.pool import Pool
from agon.store.votes import Arena, JudgedRow, Leaf, append, lock_arenas

MOST = 5000
"""Votes taken back in one transaction."""


async def counted_arenas(pool: Pool, tenant: str, arena: str | None, column: str, value: str) -> list[Arena]:
    """The arenas in which such votes were ever counted."""
    rows = await pool.fetch(
        f"""
        SELECT DISTINCT tenant, arena FROM agon.votes
        WHERE tenant = $1 AND {_checked(column)} = $2 AND verdict = 'counted' AND ($3::text IS NULL OR arena = $3)
        ORDER BY tenant, arena
        """,
        tenant,
        value,
        arena,
    )
    return [(row["tenant"], row["arena"]) for row in rows]


async def take_back(
    pool: Pool, arena: Arena, column: str, value: str, reason: str, leaf_of: Callable[[JudgedRow], Leaf]
) -> list[JudgedRow]:
    """Take back the next of an arena's counted votes with this `vote_id` or `voter`, at most `MOST`, in one
    transaction; an empty list when all of them are. `leaf_of` makes the ledger's line of a row."""
    async with pool.acquire() as connection, connection.transaction():
        state = (await lock_arenas(connection, [arena]))[arena]
        found = await connection.fetch(
            f"""
            SELECT v.* FROM agon.votes v
            WHERE v.tenant = $1 AND v.arena = $2 AND v.{_checked(column)} = $3 AND v.verdict = 'counted'
              AND NOT EXISTS (SELECT FROM agon.votes r
                              WHERE r.tenant = v.tenant AND r.vote_id = v.vote_id AND r.verdict = 'retracted')
            ORDER BY v.seq LIMIT $4
            """,
            *arena,
            value,
            MOST,
        )
        at = await connection.fetchval("SELECT clock_timestamp()")
        rows = [
            JudgedRow(**{
                **{name: vote[name] for name in JudgedRow._fields},
                "seq": state.seq + 1 + n, "leaf": state.leaves + n, "verdict": "retracted", "reason": reason,
                "judged_at": at, "slices": tuple(vote["slices"]),
            })
            for n, vote in enumerate(found)
        ]  # fmt: skip
        await append(connection, rows, leaf_of)
    return rows


def _checked(column: str) -> str:
    if column not in ("vote_id", "voter"):
        raise ValueError(f"votes are not taken back by {column}")
    return column
