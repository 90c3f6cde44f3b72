"""`agon.stored_chats`: chat completions that are kept, as they were asked. They exist once they have finished.

A completion of another tenant is no other than one that never was.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agon.store.pool import Pool

_COLUMNS = ("tenant", "completion_id", "model", "fingerprint", "messages", "metadata", "created_at")


@dataclass(frozen=True, slots=True)
class StoredChat:
    """What was asked; `messages` as JSON has them. How it ended: `agon.store.requests.ended`."""

    tenant: str
    completion_id: str
    model: str
    fingerprint: str
    messages: list[dict[str, Any]]
    metadata: dict[str, str]
    created_at: datetime


async def keep(pool: Pool, chat: StoredChat) -> None:
    """Write it down; before its answer goes out. Again is fine: a batch goes on where it may have been already."""
    await pool.execute(
        f"INSERT INTO agon.stored_chats ({', '.join(_COLUMNS)}) VALUES ($1, $2, $3, $4, $5, $6, $7)"
        " ON CONFLICT DO NOTHING",
        chat.tenant,
        chat.completion_id,
        chat.model,
        chat.fingerprint,
        json.dumps(chat.messages),
        json.dumps(chat.metadata),
        chat.created_at,
    )


async def read(pool: Pool, tenant: str, completion_id: str) -> StoredChat | None:
    """One, whether or not it has finished."""
    row = await pool.fetchrow(
        f"SELECT {', '.join(_COLUMNS)} FROM agon.stored_chats WHERE tenant = $1 AND completion_id = $2",
        tenant,
        completion_id,
    )
    return None if row is None else _chat(row)


async def finished(
    pool: Pool,
    tenant: str,
    *,
    model: str | None,
    metadata: Mapping[str, str],
    after: str | None,
    most: int,
    descending: bool,
) -> Sequence[StoredChat]:
    """At most so many that have finished, in the order in which they were asked, those behind `after`; of a model and
    with these metadata, where given. None where there is no `after`."""
    sign, order = ("<", "DESC") if descending else (">", "ASC")
    rows = await pool.fetch(
        f"""
        SELECT {", ".join(f"c.{name}" for name in _COLUMNS)}
        FROM agon.stored_chats c JOIN agon.requests r ON r.tenant = c.tenant AND r.request_id = c.completion_id
        WHERE c.tenant = $1 AND r.status = 'finished' AND ($2::text IS NULL OR c.model = $2) AND c.metadata @> $3
          AND ($4::text IS NULL OR (c.created_at, c.completion_id) {sign} (
              SELECT created_at, completion_id FROM agon.stored_chats WHERE tenant = $1 AND completion_id = $4))
        ORDER BY c.created_at {order}, c.completion_id {order} LIMIT $5
        """,
        tenant,
        model,
        json.dumps(dict(metadata)),
        after,
        most,
    )
    return [_chat(row) for row in rows]


async def update(pool: Pool, tenant: str, completion_id: str, metadata: Mapping[str, str]) -> None:
    """Give it other metadata."""
    await pool.execute(
        "UPDATE agon.stored_chats SET metadata = $3 WHERE tenant = $1 AND completion_id = $2",
        tenant,
        completion_id,
        json.dumps(dict(metadata)),
    )


async def delete(pool: Pool, tenant: str, completion_id: str) -> None:
    """Forget what was asked and what was said; usage and cost stay. Only of one that has ended: what a running one
    says would come behind this."""
    async with pool.acquire() as connection, connection.transaction():
        for table, name in (("stored_chats", "completion_id"), ("completion_texts", "request_id")):
            await connection.execute(
                f"DELETE FROM agon.{table} WHERE tenant = $1 AND {name} = $2", tenant, completion_id
            )


def _chat(row: Mapping[str, Any]) -> StoredChat:
    fields = {name: row[name] for name in _COLUMNS}
    return StoredChat(**{**fields, "messages": json.loads(row["messages"]), "metadata": json.loads(row["metadata"])})
