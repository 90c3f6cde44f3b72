"""The table of keys: changes are news, use is not."""

from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from agon.api_keys import ApiKey, Limits, keyed_hash, mint
from agon.errors import NotFound
from agon.messages import now
from agon.store import api_keys

pytestmark = pytest.mark.servers


def key() -> ApiKey:
    key_id, text = mint()
    at = now()
    return ApiKey(
        key_id, "team", "laptop", keyed_hash("s", text), at, frozenset({"chat"}), None, Limits(1, 2, None, 4), 0, at
    )


async def test_a_key_is_read_as_it_was_written_and_every_change_is_news(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        made, seen = key(), [await api_keys.revision(connection)]

        async def news() -> int:
            seen.append(await api_keys.revision(connection))
            return seen[-1] - seen[-2]

        await api_keys.add(connection, made)
        assert await api_keys.read(connection) == [made]
        assert await news() == 1
        at = now()
        assert await api_keys.note_use(connection, {made.key_id: (at, 7), "unknown": (at, 1)}) == {made.key_id: 7}
        assert await api_keys.note_use(connection, {made.key_id: (at - timedelta(hours=1), 3)}) == {made.key_id: 7}
        assert await news() == 0
        used = replace(made, last_used_at=at, spent_tokens=7)
        assert await api_keys.read(connection) == [used]
        limited = await api_keys.set_limits(connection, made.key_id, Limits(concurrency=3))
        assert limited == replace(used, limits=Limits(concurrency=3))
        assert await news() == 1
        turned = await api_keys.rotate(connection, made.key_id, bytes(32), at)
        assert turned == replace(limited, hash=bytes(32), previous_hash=made.hash, previous_until=at)
        assert await news() == 1
        revoked = await api_keys.revoke(connection, made.key_id)
        assert revoked.revoked_at is not None
        assert await news() == 1
        assert (await api_keys.revoke(connection, made.key_id)).revoked_at == revoked.revoked_at
        for change in (api_keys.revoke(connection, "x"), api_keys.rotate(connection, made.key_id, bytes(32), at)):
            with pytest.raises(NotFound):
                await change
    finally:
        await connection.close()
