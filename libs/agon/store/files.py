"""`agon.files` and `agon.file_parts`: what clients upload and batches write. A file whose time has passed is gone at
once, its bytes with the next sweep of `agon.store.retention`.

A file of another tenant is no other than one that never was.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from agon.store.pool import Connection, Pool

PART = 256 * 1024
"""Bytes of a part; the last one of a file may be shorter."""
_COLUMNS = ("tenant", "file_id", "filename", "purpose", "bytes", "created_at", "expires_at")
_ALIVE = "(expires_at IS NULL OR expires_at > now())"


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file without its bytes."""

    tenant: str
    file_id: str
    filename: str
    purpose: str
    bytes: int
    created_at: datetime
    expires_at: datetime | None

    @property
    def id(self) -> str:
        return self.file_id


class Source(Protocol):
    """Where bytes come from: at most so many with each call, none at the end."""

    async def read(self, size: int) -> bytes: ...


async def write(
    connection: Connection,
    tenant: str,
    file_id: str,
    source: Source,
    *,
    filename: str,
    purpose: str,
    expires_after: timedelta | None,
) -> FileRow:
    """Take in a file, inside the caller's transaction, with one part in memory at a time."""
    await connection.execute(
        """
        INSERT INTO agon.files (tenant, file_id, filename, purpose, bytes, expires_at)
        VALUES ($1, $2, $3, $4, 0, now() + $5)
        """,
        tenant,
        file_id,
        filename,
        purpose,
        expires_after,
    )
    size = part = 0
    while data := await source.read(PART):
        await connection.execute("INSERT INTO agon.file_parts VALUES ($1, $2, $3, $4)", tenant, file_id, part, data)
        size += len(data)
        part += 1
    row = await connection.fetchrow(
        f"UPDATE agon.files SET bytes = $3 WHERE tenant = $1 AND file_id = $2 RETURNING {', '.join(_COLUMNS)}",
        tenant,
        file_id,
        size,
    )
    return _file(row)


async def read(pool: Pool, tenant: str, file_id: str) -> FileRow | None:
    """One file."""
    row = await pool.fetchrow(
        f"SELECT {', '.join(_COLUMNS)} FROM agon.files WHERE tenant = $1 AND file_id = $2 AND {_ALIVE}",
        tenant,
        file_id,
    )
    return None if row is None else _file(row)


async def content(pool: Pool, tenant: str, file_id: str) -> AsyncIterator[bytes]:
    """The bytes of a file, part by part. Ends early when it is deleted meanwhile."""
    part = 0
    while True:
        data = await pool.fetchval(
            "SELECT data FROM agon.file_parts WHERE tenant = $1 AND file_id = $2 AND part = $3", tenant, file_id, part
        )
        if data is None:
            return
        yield data
        part += 1


async def listed(
    pool: Pool, tenant: str, *, purpose: str | None, after: str | None, most: int, descending: bool
) -> list[FileRow]:
    """At most so many, by time, those behind `after`. None where there is no `after`."""
    sign, order = ("<", "DESC") if descending else (">", "ASC")
    rows = await pool.fetch(
        f"""
        SELECT {", ".join(_COLUMNS)} FROM agon.files
        WHERE tenant = $1 AND {_ALIVE} AND ($2::text IS NULL OR purpose = $2)
          AND ($3::text IS NULL OR (created_at, file_id) {sign} (
              SELECT created_at, file_id FROM agon.files WHERE tenant = $1 AND file_id = $3))
        ORDER BY created_at {order}, file_id {order} LIMIT $4
        """,
        tenant,
        purpose,
        after,
        most,
    )
    return [_file(row) for row in rows]


async def delete(pool: Pool, tenant: str, file_id: str) -> bool:
    """Forget a file and its bytes; whether there was one."""
    deleted = await pool.fetchval(
        f"DELETE FROM agon.files WHERE tenant = $1 AND file_id = $2 AND {_ALIVE} RETURNING true", tenant, file_id
    )
    return deleted is True


async def one_by_one(connection: Connection, tenant: str) -> None:
    """Wait until no other transaction is between this call and its end for that tenant."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"agon files {tenant}")


async def held(database: Pool | Connection, tenant: str) -> int:
    """Bytes of all files of a tenant."""
    size: int = await database.fetchval(
        f"SELECT coalesce(sum(bytes), 0)::bigint FROM agon.files WHERE tenant = $1 AND {_ALIVE}", tenant
    )
    return size


def _file(row: Mapping[str, Any]) -> FileRow:
    return FileRow(**{name: row[name] for name in _COLUMNS})
