"""`agon.responses`: responses that are kept, as they were asked. How they ended: `agon.store.requests.ended`.

A response of another tenant is no other than one that never was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from agon.store.pool import Pool

COLUMNS = (
    "tenant", "response_id", "model", "begun", "items", "previous_id", "conversation_id", "background", "created_at",
    "deadline", "cancelled_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ResponseRow:
    """`begun` is the response as it was when it began, `items` its own input; both are JSON text."""

    tenant: str
    response_id: str
    model: str
    begun: str
    items: str
    previous_id: str | None
    conversation_id: str | None
    background: bool
    created_at: datetime
    deadline: datetime
    cancelled_at: datetime | None = None


async def keep(pool: Pool, row: ResponseRow) -> bool:
    """Write it down, with its place in its conversation; before its answer goes out. Again is fine: a batch goes on
    where it may have been already. False where that conversation is gone."""
    places = ", ".join(f"${n}" for n in range(1, len(COLUMNS) + 1))
    try:
        # One statement, since a client waits for it.
        await pool.execute(
            f"""
            WITH new AS (
                INSERT INTO agon.responses ({", ".join(COLUMNS)}) VALUES ({places}) ON CONFLICT DO NOTHING
                RETURNING tenant, conversation_id, response_id),
            entry AS (
                INSERT INTO agon.conversation_entries (tenant, conversation_id, response_id)
                SELECT tenant, conversation_id, response_id FROM new WHERE conversation_id IS NOT NULL)
            UPDATE agon.conversations c SET changed_at = now() FROM new
            WHERE c.tenant = new.tenant AND c.conversation_id = new.conversation_id
            """,
            *(getattr(row, name) for name in COLUMNS),
        )
    except asyncpg.ForeignKeyViolationError:
        return False
    return True


async def read(pool: Pool, tenant: str, response_id: str) -> ResponseRow | None:
    """One, whether or not it has ended; none that was deleted."""
    row = await pool.fetchrow(
        f"""
        SELECT {", ".join(COLUMNS)} FROM agon.responses
        WHERE tenant = $1 AND response_id = $2 AND forgotten_at IS NULL
        """,
        tenant,
        response_id,
    )
    return None if row is None else row_of(row)


async def some(pool: Pool, tenant: str, response_ids: Sequence[str]) -> Sequence[ResponseRow]:
    """Those of these that are kept, in no order."""
    rows = await pool.fetch(
        f"""
        SELECT {", ".join(COLUMNS)} FROM agon.responses
        WHERE tenant = $1 AND response_id = ANY($2) AND forgotten_at IS NULL
        """,
        tenant,
        response_ids,
    )
    return [row_of(row) for row in rows]


async def chain(pool: Pool, tenant: str, response_id: str, most: int) -> Sequence[ResponseRow]:
    """A response and those that it goes on from, the oldest first. At most so many; where one is missing, the oldest
    that is left still says so by its `previous_id`."""
    columns = ", ".join(f"r.{name}" for name in COLUMNS)
    rows = await pool.fetch(
        f"""
        WITH RECURSIVE chain AS (
            SELECT 0 AS back, {columns} FROM agon.responses r
            WHERE tenant = $1 AND response_id = $2 AND forgotten_at IS NULL
            UNION ALL
            SELECT c.back + 1, {columns} FROM chain c JOIN agon.responses r
                ON r.tenant = c.tenant AND r.response_id = c.previous_id AND r.forgotten_at IS NULL
            WHERE c.back + 1 < $3
        )
        SELECT * FROM chain ORDER BY back DESC
        """,
        tenant,
        response_id,
        most,
    )
    return [row_of(row) for row in rows]


async def cancel(pool: Pool, tenant: str, response_id: str) -> None:
    """It is cancelled from here on, whatever its worker still says; unless its end has been recorded before."""
    await pool.execute(
        """
        UPDATE agon.responses SET cancelled_at = now()
        WHERE tenant = $1 AND response_id = $2 AND cancelled_at IS NULL
          AND NOT EXISTS (SELECT FROM agon.requests WHERE tenant = $1 AND request_id = $2)
        """,
        tenant,
        response_id,
    )


async def delete(pool: Pool, tenant: str, response_id: str) -> None:
    """Forget what was asked and what was said; usage and cost stay. Only of one that has ended: what a running one
    says would come behind this. What belongs to a conversation stays there."""
    async with pool.acquire() as connection, connection.transaction():
        kept = await connection.fetchval(
            """
            UPDATE agon.responses r SET forgotten_at = now()
            FROM agon.conversations c
            WHERE r.tenant = $1 AND r.response_id = $2
              AND c.tenant = r.tenant AND c.conversation_id = r.conversation_id RETURNING 1
            """,
            tenant,
            response_id,
        )
        if kept:
            return
        for table, name in (("responses", "response_id"), ("completion_texts", "request_id")):
            await connection.execute(f"DELETE FROM agon.{table} WHERE tenant = $1 AND {name} = $2", tenant, response_id)


def row_of(row: Mapping[str, Any]) -> ResponseRow:
    return ResponseRow(**{name: row[name] for name in COLUMNS})
