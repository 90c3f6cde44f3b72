"""`agon.conversations` and their entries, each an item or a response, which has its end in `agon.store.requests`.

A conversation of another tenant is no other than one that never was.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from agon.errors import InvalidRequest
from agon.store.pool import Connection, Pool
from agon.store.responses import COLUMNS, ResponseRow, row_of


@dataclass(frozen=True, slots=True)
class ConversationRow:
    tenant: str
    conversation_id: str
    metadata: dict[str, str]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Entry:
    """`item` is JSON text; else there is a response, without those items whose ids are in `removed`."""

    entry: int
    item: str | None
    response: ResponseRow | None
    removed: frozenset[str]


async def create(pool: Pool, row: ConversationRow, items: Mapping[str, str]) -> None:
    """A new one with these items: JSON text by id, in order."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "INSERT INTO agon.conversations (tenant, conversation_id, metadata, created_at) VALUES ($1, $2, $3, $4)",
            row.tenant,
            row.conversation_id,
            json.dumps(row.metadata),
            row.created_at,
        )
        await _append(connection, row.tenant, row.conversation_id, items)


async def read(pool: Pool, tenant: str, conversation_id: str) -> ConversationRow | None:
    row = await pool.fetchrow(
        "SELECT metadata, created_at FROM agon.conversations WHERE tenant = $1 AND conversation_id = $2",
        tenant,
        conversation_id,
    )
    if row is None:
        return None
    return ConversationRow(tenant, conversation_id, json.loads(row["metadata"]), row["created_at"])


async def update(pool: Pool, tenant: str, conversation_id: str, metadata: Mapping[str, str]) -> None:
    await pool.execute(
        """
        UPDATE agon.conversations SET metadata = $3, changed_at = now() WHERE tenant = $1 AND conversation_id = $2
        """,
        tenant,
        conversation_id,
        json.dumps(dict(metadata)),
    )


async def delete(pool: Pool, tenant: str, conversation_id: str) -> None:
    """Forget it, and those of its responses that were deleted before; the others stay."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "DELETE FROM agon.conversations WHERE tenant = $1 AND conversation_id = $2", tenant, conversation_id
        )
        await connection.execute(
            """
            WITH forgotten AS (
                DELETE FROM agon.responses WHERE tenant = $1 AND conversation_id = $2 AND forgotten_at IS NOT NULL
                RETURNING tenant, response_id
            )
            DELETE FROM agon.completion_texts t USING forgotten f
            WHERE t.tenant = f.tenant AND t.request_id = f.response_id
            """,
            tenant,
            conversation_id,
        )


async def append(pool: Pool, tenant: str, conversation_id: str, items: Mapping[str, str], most: int) -> None:
    """More items: JSON text by id, in order. Raises `InvalidRequest` where it would have more than `most` entries."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "UPDATE agon.conversations SET changed_at = now() WHERE tenant = $1 AND conversation_id = $2",
            tenant,
            conversation_id,
        )
        there = await connection.fetchval(
            "SELECT count(*) FROM agon.conversation_entries WHERE tenant = $1 AND conversation_id = $2",
            tenant,
            conversation_id,
        )
        if there + len(items) > most:
            raise InvalidRequest(
                f"items: a conversation has at most {most:,}", param="items", code="array_above_max_length"
            )
        await _append(connection, tenant, conversation_id, items)


async def entries(pool: Pool, tenant: str, conversation_id: str, until: str | None, most: int) -> Sequence[Entry]:
    """The newest `most` of its entries, in order; only those before the response `until`, where one is given."""
    rows = await pool.fetch(
        f"""
        SELECT * FROM (
            SELECT e.entry, e.item, e.removed, {", ".join(f"r.{name}" for name in COLUMNS)}
            FROM agon.conversation_entries e
            LEFT JOIN agon.responses r ON r.tenant = e.tenant AND r.response_id = e.response_id
            WHERE e.tenant = $1 AND e.conversation_id = $2 AND ($3::text IS NULL OR e.entry < (
                SELECT entry FROM agon.conversation_entries
                WHERE tenant = $1 AND conversation_id = $2 AND response_id = $3))
            ORDER BY e.entry DESC LIMIT $4
        ) newest ORDER BY entry
        """,
        tenant,
        conversation_id,
        until,
        most,
    )
    return [
        Entry(
            row["entry"],
            row["item"],
            None if row["response_id"] is None else row_of(row),
            frozenset(row["removed"]),
        )
        for row in rows
    ]


async def remove(pool: Pool, tenant: str, conversation_id: str, entry: int, item_id: str) -> None:
    """Take an item out: an entry of its own, or one of a response's."""
    async with pool.acquire() as connection, connection.transaction():
        place = (tenant, conversation_id, entry)
        where = "tenant = $1 AND conversation_id = $2 AND entry = $3"
        await connection.execute(f"DELETE FROM agon.conversation_entries WHERE {where} AND item IS NOT NULL", *place)
        await connection.execute(
            f"""
            UPDATE agon.conversation_entries SET removed = array_append(removed, $4)
            WHERE {where} AND NOT $4 = ANY(removed)
            """,
            *place,
            item_id,
        )


async def _append(connection: Connection, tenant: str, conversation_id: str, items: Mapping[str, str]) -> None:
    await connection.executemany(
        "INSERT INTO agon.conversation_entries (tenant, conversation_id, item_id, item) VALUES ($1, $2, $3, $4)",
        [(tenant, conversation_id, item_id, item) for item_id, item in items.items()],
    )
