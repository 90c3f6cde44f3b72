"""`agon.api_keys`: who may ask, and how much of it is spent. `agon.api_key_changes`: whether there is news."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from agon.api_keys import ApiKey, Limits
from agon.errors import NotFound
from agon.store.pool import Connection

_LIMITS = ("requests_per_minute", "tokens_per_minute", "concurrency", "budget_tokens")
_COLUMNS = (
    "key_id", "tenant", "name", "hash", "previous_hash", "previous_until", "endpoints", "models", "spent_tokens",
    "created_at", "expires_at", "revoked_at", "last_used_at", *_LIMITS,
)  # fmt: skip


async def add(connection: Connection, key: ApiKey) -> None:
    """A new key. From here on the API is closed to all who have none."""
    fields = {name: getattr(key, name) for name in _COLUMNS if name not in _LIMITS} | asdict(key.limits)
    values = ", ".join(f"${n}" for n in range(1, len(_COLUMNS) + 1))
    await connection.execute(
        f"INSERT INTO agon.api_keys ({', '.join(_COLUMNS)}) VALUES ({values})",
        *(sorted(value) if isinstance(value := fields[name], frozenset) else value for name in _COLUMNS),
    )


async def read(connection: Connection) -> list[ApiKey]:
    """All keys, also those that are revoked, by the time of their making."""
    rows = await connection.fetch(f"SELECT {', '.join(_COLUMNS)} FROM agon.api_keys ORDER BY created_at, key_id")
    return [_key(row) for row in rows]


async def revision(connection: Connection) -> int:
    """Rises whenever a key was added or changed, but for what it has spent and when it was used."""
    found: int = await connection.fetchval("SELECT revision FROM agon.api_key_changes")
    return found


async def revoke(connection: Connection, key_id: str) -> ApiKey:
    """End a key for good; one that is revoked already keeps its time. Raises `NotFound`."""
    row = await connection.fetchrow(
        f"UPDATE agon.api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE key_id = $1"
        f" RETURNING {', '.join(_COLUMNS)}",
        key_id,
    )
    return _found(row, key_id)


async def rotate(connection: Connection, key_id: str, hash: bytes, until: datetime) -> ApiKey:
    """Give a key another secret; the one before stays good until then. Raises `NotFound`, also for a revoked key."""
    row = await connection.fetchrow(
        f"UPDATE agon.api_keys SET previous_hash = hash, previous_until = $3, hash = $2"
        f" WHERE key_id = $1 AND revoked_at IS NULL RETURNING {', '.join(_COLUMNS)}",
        key_id,
        hash,
        until,
    )
    return _found(row, key_id)


async def set_limits(connection: Connection, key_id: str, limits: Limits) -> ApiKey:
    """Replace a key's limits. Raises `NotFound`."""
    row = await connection.fetchrow(
        f"UPDATE agon.api_keys SET {', '.join(f'{name} = ${n}' for n, name in enumerate(_LIMITS, 2))}"
        f" WHERE key_id = $1 RETURNING {', '.join(_COLUMNS)}",
        key_id,
        *(getattr(limits, name) for name in _LIMITS),
    )
    return _found(row, key_id)


async def note_use(connection: Connection, used: Mapping[str, tuple[datetime, int]]) -> dict[str, int]:
    """Note when keys were last used and what each has spent in all; neither ever goes back. Returns what each has
    spent as the table has it now."""
    rows = await connection.fetch(
        """
        UPDATE agon.api_keys k
        SET last_used_at = greatest(k.last_used_at, u.at), spent_tokens = greatest(k.spent_tokens, u.spent)
        FROM (SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::bigint[]) AS u (key_id, at, spent)
              ORDER BY key_id) u
        WHERE k.key_id = u.key_id RETURNING k.key_id, k.spent_tokens
        """,
        list(used),
        [at for at, _ in used.values()],
        [spent for _, spent in used.values()],
    )
    return {row["key_id"]: row["spent_tokens"] for row in rows}


async def spent(connection: Connection, key_id: str) -> int:
    """Tokens that a key has spent in all, as far as it was noted."""
    found: int | None = await connection.fetchval("SELECT spent_tokens FROM agon.api_keys WHERE key_id = $1", key_id)
    return found or 0


def _found(row: Mapping[str, Any] | None, key_id: str) -> ApiKey:
    if row is None:
        raise NotFound(f"there is no key {key_id} that could be changed: `agon keys list` shows them")
    return _key(row)


def _key(row: Mapping[str, Any]) -> ApiKey:
    fields = {name: row[name] for name in _COLUMNS if name not in _LIMITS}
    for name in ("endpoints", "models"):
        fields[name] = None if fields[name] is None else frozenset(fields[name])
    return ApiKey(**fields, limits=Limits(**{name: row[name] for name in _LIMITS}))
