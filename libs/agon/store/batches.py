"""`agon.batches`: who asked for what, and how far it is. One process at a time drives a batch: it holds the row, and
every step of its work renews that in the step's own transaction, so that one that was paused and taken over writes
nothing more.

A batch of another tenant is no other than one that never was.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from agon.errors import Fenced
from agon.store.pool import Connection, Pool

Status = Literal["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]
Outcome = Literal["completed", "expired", "cancelled"]
_COLUMNS = (
    "tenant", "batch_id", "key_id", "endpoint", "input_file_id", "completion_window", "metadata",
    "output_expires_after", "status", "errors", "total", "completed", "failed", "usage", "output_file_id",
    "error_file_id", "created_at", "expires_at", "in_progress_at", "finalizing_at", "completed_at", "failed_at",
    "expired_at", "cancelling_at", "cancelled_at",
)  # fmt: skip
_ALL = ", ".join(_COLUMNS)
_JSON = ("metadata", "errors", "usage")
_AT_WORK = "status IN ('validating', 'in_progress', 'finalizing', 'cancelling')"


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A batch. `errors` are those of the input file, `usage` is there once it has ended."""

    tenant: str
    batch_id: str
    key_id: str | None
    endpoint: str
    input_file_id: str
    completion_window: str
    metadata: dict[str, str] | None
    output_expires_after: timedelta | None
    status: Status
    errors: list[dict[str, Any]] | None
    total: int
    completed: int
    failed: int
    usage: dict[str, int] | None
    output_file_id: str | None
    error_file_id: str | None
    created_at: datetime
    expires_at: datetime
    in_progress_at: datetime | None
    finalizing_at: datetime | None
    completed_at: datetime | None
    failed_at: datetime | None
    expired_at: datetime | None
    cancelling_at: datetime | None
    cancelled_at: datetime | None

    @property
    def id(self) -> str:
        return self.batch_id


async def create(
    pool: Pool,
    tenant: str,
    batch_id: str,
    *,
    key_id: str | None,
    endpoint: str,
    input_file_id: str,
    window: timedelta,
    completion_window: str,
    metadata: Mapping[str, str] | None,
    output_expires_after: timedelta | None,
) -> BatchRow:
    """A new one, that nobody drives yet; or the one that has this id already."""
    row = await pool.fetchrow(
        f"""
        INSERT INTO agon.batches (tenant, batch_id, key_id, endpoint, input_file_id, completion_window, metadata,
                                  output_expires_after, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now() + $9)
        ON CONFLICT DO NOTHING RETURNING {_ALL}
        """,
        tenant,
        batch_id,
        key_id,
        endpoint,
        input_file_id,
        completion_window,
        None if metadata is None else json.dumps(dict(metadata)),
        output_expires_after,
        window,
    )
    made = await read(pool, tenant, batch_id) if row is None else _batch(row)
    assert made is not None
    return made


async def read(pool: Pool, tenant: str, batch_id: str) -> BatchRow | None:
    """One batch."""
    row = await pool.fetchrow(f"SELECT {_ALL} FROM agon.batches WHERE tenant = $1 AND batch_id = $2", tenant, batch_id)
    return None if row is None else _batch(row)


async def listed(pool: Pool, tenant: str, *, after: str | None, most: int) -> list[BatchRow]:
    """At most so many, the newest first, those behind `after`. None where there is no `after`."""
    rows = await pool.fetch(
        f"""
        SELECT {_ALL} FROM agon.batches
        WHERE tenant = $1 AND ($2::text IS NULL OR (created_at, batch_id) < (
            SELECT created_at, batch_id FROM agon.batches WHERE tenant = $1 AND batch_id = $2))
        ORDER BY created_at DESC, batch_id DESC LIMIT $3
        """,
        tenant,
        after,
        most,
    )
    return [_batch(row) for row in rows]


async def cancel(pool: Pool, tenant: str, batch_id: str) -> BatchRow | None:
    """Ask its driver to stop; None for one that has ended, or is about to."""
    row = await pool.fetchrow(
        f"""
        UPDATE agon.batches SET status = 'cancelling', cancelling_at = coalesce(cancelling_at, now())
        WHERE tenant = $1 AND batch_id = $2 AND status IN ('validating', 'in_progress', 'cancelling') RETURNING {_ALL}
        """,
        tenant,
        batch_id,
    )
    return None if row is None else _batch(row)


async def unfinished(pool: Pool, tenant: str) -> int:
    """How many batches of a tenant have not ended."""
    count: int = await pool.fetchval(f"SELECT count(*) FROM agon.batches WHERE tenant = $1 AND {_AT_WORK}", tenant)
    return count


async def claim(pool: Pool, driver: uuid.UUID, lease: timedelta, most: int) -> list[BatchRow]:
    """Become the driver of at most so many batches that have none, or whose driver has not been heard of."""
    rows = await pool.fetch(
        f"""
        UPDATE agon.batches SET driver = $1, driven_until = now() + $2
        WHERE (tenant, batch_id) IN (
            SELECT tenant, batch_id FROM agon.batches
            WHERE {_AT_WORK} AND (driven_until IS NULL OR driven_until < now())
            ORDER BY created_at LIMIT $3 FOR UPDATE SKIP LOCKED)
        RETURNING {_ALL}
        """,
        driver,
        lease,
        most,
    )
    return [_batch(row) for row in rows]


class Hold:
    """A batch in the hands of its driver."""

    def __init__(self, pool: Pool, driver: uuid.UUID, lease: timedelta, tenant: str, batch_id: str) -> None:
        self.pool = pool
        self.tenant = tenant
        self.batch_id = batch_id
        self._driver = driver
        self._lease = lease

    async def renew(self, connection: Connection | None = None) -> BatchRow:
        """How the batch stands now, still ours. Within a transaction: before all its other writes, which nobody who
        takes the batch over can then come between. Raises `Fenced` when somebody else has it."""
        return await self._set(connection, "batch_id = batch_id")

    async def begin(self, connection: Connection, total: int) -> BatchRow:
        """The input file is in order, and all its lines are rows."""
        return await self._set(
            connection,
            "total = $5, in_progress_at = now(),"
            " status = CASE status WHEN 'validating' THEN 'in_progress' ELSE status END",
            total,
        )

    async def fail(self, connection: Connection, errors: Sequence[Mapping[str, Any]]) -> BatchRow:
        """The input file is wrong."""
        return await self._end(
            connection, "status = 'failed', failed_at = now(), errors = $5", json.dumps(list(errors))
        )

    async def count(self, completed: int, failed: int) -> BatchRow:
        """How many lines have ended."""
        return await self._set(None, "completed = $5, failed = $6", completed, failed)

    async def finalize(self) -> BatchRow:
        """Every line has ended; what is left is to write the files."""
        return await self._set(None, "status = 'finalizing', finalizing_at = coalesce(finalizing_at, now())")

    async def end(
        self,
        connection: Connection,
        outcome: Outcome,
        *,
        completed: int,
        failed: int,
        usage: Mapping[str, int],
        output_file_id: str | None,
        error_file_id: str | None,
    ) -> BatchRow:
        """All that will come of it is in its files; its lines are forgotten."""
        return await self._end(
            connection,
            f"status = '{outcome}', {outcome}_at = now(), finalizing_at = coalesce(finalizing_at, now()),"
            " completed = $5, failed = $6, usage = $7, output_file_id = $8, error_file_id = $9",
            completed,
            failed,
            json.dumps(dict(usage)),
            output_file_id,
            error_file_id,
        )

    async def release(self) -> None:
        """Let others have it at once."""
        await self.pool.execute(
            "UPDATE agon.batches SET driven_until = NULL WHERE tenant = $1 AND batch_id = $2 AND driver = $3",
            self.tenant,
            self.batch_id,
            self._driver,
        )

    async def _end(self, connection: Connection, changes: str, *values: object) -> BatchRow:
        row = await self._set(connection, changes, *values)
        await connection.execute(
            "DELETE FROM agon.batch_lines WHERE tenant = $1 AND batch_id = $2", self.tenant, self.batch_id
        )
        return row

    async def _set(self, connection: Connection | None, changes: str, *values: object) -> BatchRow:
        row = await (connection or self.pool).fetchrow(
            f"""
            UPDATE agon.batches SET {changes}, driven_until = now() + $4
            WHERE tenant = $1 AND batch_id = $2 AND driver = $3 AND {_AT_WORK} RETURNING {_ALL}
            """,
            self.tenant,
            self.batch_id,
            self._driver,
            self._lease,
            *values,
        )
        if row is None:
            raise Fenced(f"the batch {self.batch_id} was taken over by another process")
        return _batch(row)


def _batch(row: Mapping[str, Any]) -> BatchRow:
    given = {name: row[name] for name in _COLUMNS}
    return BatchRow(**{**given, **{name: json.loads(given[name] or "null") for name in _JSON}})
