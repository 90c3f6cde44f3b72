"""What clients had kept goes when its time has passed, and nothing that is still needed goes with it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from agon.messages import now
from agon.store import conversations, requests, responses, stored_chats
from agon.store.conversations import ConversationRow
from agon.store.pool import open_pool
from agon.store.responses import ResponseRow
from agon.store.retention import sweep
from agon.store.stored_chats import StoredChat
from support.completions import completed

pytestmark = pytest.mark.servers

MONTH, YEAR = timedelta(days=30), timedelta(days=365)
AGED = {
    "stored_chats": "created_at",
    "responses": "created_at",
    "completion_texts": "recorded_at",
    "conversations": "changed_at",
}


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Any]:
    async with open_pool(database_url, "test") as pool:
        yield pool


async def ask(pool: Any, name: str, previous: str | None = None, conversation: str | None = None) -> None:
    """A kept response that has ended."""
    await responses.keep(
        pool, ResponseRow("t", name, "m", "{}", "[]", previous, conversation, False, now(), now() + MONTH)
    )
    await end(pool, name)


async def end(pool: Any, name: str) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await requests.record(connection, [completed(name, "t")])


async def grow_old(pool: Any, by: timedelta = MONTH) -> None:
    """Everything that is there."""
    for table, column in AGED.items():
        await pool.execute(f"UPDATE agon.{table} SET {column} = {column} - $1::interval", by)


async def there(pool: Any, table: str, name: str) -> set[str]:
    return {row[0] for row in await pool.fetch(f"SELECT {name} FROM agon.{table}")}


async def test_a_stored_chat_goes_with_its_text_and_its_counts_stay(pool: Any) -> None:
    async def store(name: str) -> None:
        await stored_chats.keep(pool, StoredChat("t", name, "m", "fp", [], {}, now()))
        await end(pool, name)

    await store("old")
    await end(pool, "by-kafka")  # kept by a request that came by no ingress
    await grow_old(pool)
    await store("new")
    assert dict(await sweep(pool, MONTH, YEAR)) == {"stored_chats": 1, "completion_texts": 2}
    assert await there(pool, "stored_chats", "completion_id") == {"new"}
    assert await there(pool, "completion_texts", "request_id") == {"new"}
    assert await there(pool, "requests", "request_id") == {"old", "by-kafka", "new"}
    assert not await sweep(pool, MONTH, YEAR)


async def test_a_response_stays_as_long_as_one_that_goes_on_from_it(pool: Any) -> None:
    await ask(pool, "1")
    await ask(pool, "2", previous="1")
    await ask(pool, "alone")
    await grow_old(pool)
    await ask(pool, "3", previous="2")
    assert dict(await sweep(pool, MONTH, YEAR)) == {"responses": 1, "completion_texts": 1}
    assert await there(pool, "completion_texts", "request_id") == {"1", "2", "3"}
    await grow_old(pool)
    assert dict(await sweep(pool, MONTH, YEAR)) == {"responses": 3, "completion_texts": 3}


async def test_a_conversation_s_responses_go_with_it_and_whatever_is_added_keeps_it(pool: Any) -> None:
    for name in ("left", "answered", "written", "renamed"):
        await conversations.create(pool, ConversationRow("t", name, {}, now()), {"item": "{}"})
        await ask(pool, f"of-{name}", conversation=name)
    await grow_old(pool, YEAR)
    await ask(pool, "new", conversation="answered")
    await conversations.append(pool, "t", "written", {"item-2": "{}"}, most=9)
    await conversations.update(pool, "t", "renamed", {"a": "b"})
    assert dict(await sweep(pool, MONTH, YEAR)) == {"conversations": 1, "responses": 1, "completion_texts": 1}
    kept = {"of-answered", "of-written", "of-renamed", "new"}
    assert await there(pool, "conversations", "conversation_id") == {"answered", "written", "renamed"}
    assert await there(pool, "responses", "response_id") == kept
    assert await there(pool, "completion_texts", "request_id") == kept
    assert await there(pool, "conversation_entries", "conversation_id") == {"answered", "written", "renamed"}


async def test_a_batch_goes_so_long_after_its_end_and_a_file_when_it_says_so(pool: Any) -> None:
    await pool.executemany(
        """
        INSERT INTO agon.batches (tenant, batch_id, endpoint, input_file_id, completion_window, status, created_at,
                                  expires_at, failed_at)
        VALUES ('t', $1, '/v1/responses', 'f', '24h', $2, now() - $3::interval, now(), now() - $4::interval)
        """,
        [
            ("runs", "in_progress", 2 * MONTH, None),
            ("old", "failed", 2 * MONTH, MONTH),
            ("new", "failed", 2 * MONTH, MONTH / 2),
        ],
    )
    await pool.executemany(
        "INSERT INTO agon.files VALUES ('t', $1, 'a', 'batch', 1, now() - $2::interval, now() + $3::interval)",
        [("past", YEAR, timedelta(0)), ("still", YEAR, timedelta(hours=1)), ("for-ever", YEAR, None)],
    )
    await pool.execute("INSERT INTO agon.file_parts VALUES ('t', 'past', 0, 'x'), ('t', 'still', 0, 'x')")
    assert dict(await sweep(pool, MONTH, YEAR)) == {"files": 1, "batches": 1}
    assert await there(pool, "batches", "batch_id") == {"runs", "new"}
    assert await there(pool, "files", "file_id") == {"still", "for-ever"}
    assert await there(pool, "file_parts", "file_id") == {"still"}


async def test_more_than_fit_a_transaction_go_too_and_one_process_at_a_time_sweeps(pool: Any) -> None:
    for number in range(250):
        await stored_chats.keep(pool, StoredChat("t", f"{number}", "m", "fp", [], {}, now() - MONTH))
    async with pool.acquire() as another, another.transaction():
        await another.execute("SELECT pg_advisory_xact_lock(hashtextextended('agon retention', 0))")
        assert not await sweep(pool, MONTH, YEAR)
    assert dict(await sweep(pool, MONTH, YEAR)) == {"stored_chats": 250}
