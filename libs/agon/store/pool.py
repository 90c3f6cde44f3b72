"""Connections to Postgres, and what an error of it means to a consumer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Literal, TypeAlias

import asyncpg

from agon.errors import InvalidRequest, SetupError

Pool: TypeAlias = Any
"""An `asyncpg.Pool`; asyncpg has no types."""
Connection: TypeAlias = Any
"""A connection, or the pool's proxy of one; inside `async with connection.transaction()` where a function says so."""

_CLOSE_TIMEOUT = 5.0


async def leave_as_it_is(connection: Connection) -> None:
    """For `create_pool(reset=...)`: what is changed here of a session is changed for one transaction. asyncpg would ask
    the server to forget it all, a round trip more for each query that a client waits for."""


@asynccontextmanager
async def open_pool(
    postgres_url: str,
    name: str,
    *,
    size: int = 4,
    command_timeout: timedelta = timedelta(seconds=10),
    connect_timeout: timedelta = timedelta(seconds=5),
) -> AsyncIterator[Pool]:
    """A pool of at most `size` connections while the context lasts. `name` is what Postgres lists the process as.

    A transaction that does nothing for 10 s is ended by the server, so that a process that was stopped in the middle of
    one holds no locks. Raises `SetupError` when the server can't be reached.
    """
    try:
        pool = await asyncpg.create_pool(
            postgres_url,
            min_size=1,
            max_size=size,
            timeout=connect_timeout.total_seconds(),
            command_timeout=command_timeout.total_seconds(),
            reset=leave_as_it_is,
            server_settings={
                "application_name": name,
                "idle_in_transaction_session_timeout": "10s",
                "jit": "off",
            },
        )
    except (OSError, TimeoutError, asyncpg.PostgresError, ValueError) as error:
        raise SetupError(f"Postgres does not answer ({error}): check AGON_POSTGRES_URL") from error
    try:
        yield pool
    finally:
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await pool.close()
        except TimeoutError:
            pool.terminate()


async def ping(pool: Pool) -> str | None:
    """None where Postgres answers within two seconds, else what is wrong."""
    try:
        async with asyncio.timeout(2.0):
            await pool.fetchval("SELECT 1")
    except Exception as error:
        if classify(error) == "bug":
            raise
        return f"Postgres does not answer: {error!r}"
    return None


def classify(error: Exception) -> Literal["transient", "poison", "bug"]:
    """What to do about an error while storing a batch: try again, look for the record that caused it, or stop.

    `poison` is a value that Postgres can't hold, such as a NUL in a text.
    """
    if isinstance(
        error,
        InvalidRequest
        | OverflowError  # COPY's way of refusing a number that its column can't hold
        | asyncpg.DataError
        | asyncpg.IntegrityConstraintViolationError
        | asyncpg.ProgramLimitExceededError,
    ):
        return "poison"
    if isinstance(
        error,
        OSError
        | TimeoutError
        | asyncpg.InterfaceError
        | asyncpg.PostgresConnectionError
        | asyncpg.TransactionRollbackError
        | asyncpg.InsufficientResourcesError
        | asyncpg.OperatorInterventionError
        | asyncpg.ObjectInUseError
        | asyncpg.InternalClientError
        | asyncpg.IdleInTransactionSessionTimeoutError,
    ):
        return "transient"
    return "bug"
