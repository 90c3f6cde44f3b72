"""What clients had kept is forgotten after a while, so that none of its tables grows for ever. Counts stay:
`agon.requests` has tokens and times of every request, and no text.

A response stays as long as one that goes on from it, or as the conversation that it is in. A text stays as long as the
chat or the response that it answers; that of a request which came by Kafka has an age of its own.
"""

from collections import Counter
from datetime import timedelta

from agon.store.pool import Pool

_AT_ONCE = 100
"""Rows of a transaction, so that none holds its locks for long: some are large, or take others with them."""
_PATIENCE = 300.0
"""Seconds that they may take."""

# By table its key, and which of its rows `o` are older than $1. Those that others depend on come behind them.
_OLD = {
    "files": ("tenant, file_id", "expires_at <= now() - $1::interval"),
    "batches": (
        "tenant, batch_id",
        "coalesce(completed_at, failed_at, expired_at, cancelled_at) < now() - $1::interval",
    ),
    "conversations": ("tenant, conversation_id", "changed_at < now() - $1::interval"),
    "stored_chats": ("tenant, completion_id", "created_at < now() - $1::interval"),
    "responses": (
        "tenant, response_id",
        """
        created_at < now() - $1::interval
        AND NOT EXISTS (SELECT FROM agon.responses n WHERE n.tenant = o.tenant AND n.previous_id = o.response_id)
        AND NOT EXISTS (
            SELECT FROM agon.conversations c WHERE c.tenant = o.tenant AND c.conversation_id = o.conversation_id)
        """,
    ),
    "completion_texts": (
        "tenant, request_id, choice",
        """
        recorded_at < now() - $1::interval
        AND NOT EXISTS (SELECT FROM agon.stored_chats c WHERE c.tenant = o.tenant AND c.completion_id = o.request_id)
        AND NOT EXISTS (SELECT FROM agon.responses r WHERE r.tenant = o.tenant AND r.response_id = o.request_id)
        """,
    ),
}


async def sweep(pool: Pool, kept: timedelta, conversations: timedelta) -> Counter[str]:
    """Forget what is older than `kept`, conversations that have not changed for so long, and files whose time has
    passed. How many rows of each table went; none while another process does the same."""
    ages = {"files": timedelta(0), "conversations": conversations}
    gone: Counter[str] = Counter()
    for table in _OLD:
        while count := await _forget(pool, table, ages.get(table, kept)):
            gone[table] += count
    return gone


async def _forget(pool: Pool, table: str, age: timedelta) -> int:
    """Some rows; how many."""
    key, old = _OLD[table]
    async with pool.acquire() as connection, connection.transaction():
        if not await connection.fetchval("SELECT pg_try_advisory_xact_lock(hashtextextended('agon retention', 0))"):
            return 0
        rows = f"SELECT {key} FROM agon.{table} o WHERE {old} LIMIT {_AT_ONCE}"
        told: str = await connection.execute(
            f"DELETE FROM agon.{table} WHERE ({key}) IN ({rows})", age, timeout=_PATIENCE
        )
    return int(told.removeprefix("DELETE "))
