"""`agon.responses`: responses that are kept, as they were asked. How they ended: `agon.store.requests.ended`.

A response of another tenant is no other than one that never was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agon.store.pool import Pool

_COLUMNS = (
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


async def keep(pool: Pool, row: ResponseRow) -> None:
    """Write it down; before its request goes out. Again is fine: a batch goes on where it may have been already."""
    places = ", ".join(f"${n}" for n in range(1, len(_COLUMNS) + 1))
    await pool.execute(
        f"INSERT INTO agon.responses ({', '.join(_COLUMNS)}) VALUES ({places}) ON CONFLICT DO NOTHING",
        *(getattr(row, name) for name in _COLUMNS),
    )


async def read(pool: Pool, tenant: str, response_id: str) -> ResponseRow | None:
    """One, whether or not it has ended; none that was deleted."""
    row = await pool.fetchrow(
        f"""
        SELECT {", ".join(_COLUMNS)} FROM agon.responses
        WHERE tenant = $1 AND response_id = $2 AND forgotten_at IS NULL
        """,
        tenant,
        response_id,
    )
    return None if row is None else _row(row)


async def chain(pool: Pool, tenant: str, response_id: str, most: int) -> Sequence[ResponseRow]:
    """A response and those that it goes on from, the oldest first. At most so many; where one is missing, the oldest
    that is left still says so by its `previous_id`."""
    columns = ", ".join(f"r.{name}" for name in _COLUMNS)
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
    return [_row(row) for row in rows]


async def delete(pool: Pool, tenant: str, response_id: str) -> None:
    """Forget what was asked and what was said; usage and cost stay. Only of one that has ended: what a running one
    says would come behind this."""
    async with pool.acquire() as connection, connection.transaction():
        for table, name in (("responses", "response_id"), ("completion_texts", "request_id")):
            await connection.execute(f"DELETE FROM agon.{table} WHERE tenant = $1 AND {name} = $2", tenant, response_id)


def _row(row: Mapping[str, Any]) -> ResponseRow:
    return ResponseRow(**{name: row[name] for name in _COLUMNS})
