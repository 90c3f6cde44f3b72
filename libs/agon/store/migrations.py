"""Numbered SQL files, applied once each, in order, under an advisory lock."""

import hashlib
import logging
from dataclasses import dataclass
from importlib import resources
from typing import Any

import asyncpg

from agon.errors import SetupError
from agon.store.pool import Pool

log = logging.getLogger(__name__)

_LOCK = 0x61676F6E  # "agon": one migration at a time in a database

_HISTORY = """
CREATE TABLE IF NOT EXISTS public.agon_migrations (
    name       text        PRIMARY KEY,
    sha256     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""

_GRANTS = """
REVOKE ALL ON SCHEMA agon FROM analyst;
GRANT USAGE ON SCHEMA analytics TO analyst;
GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO analyst;
ALTER DEFAULT PRIVILEGES IN SCHEMA analytics GRANT SELECT ON TABLES TO analyst;
"""
# Notebooks forget connections and transactions: they must not take those that the services need. Everybody may make
# large objects, unless that is taken from everybody.
_BOUNDS = """
ALTER ROLE analyst CONNECTION LIMIT 20;
ALTER ROLE analyst SET default_transaction_read_only = on;
ALTER ROLE analyst SET idle_in_transaction_session_timeout = '10min';
"""
_NO_LARGE_OBJECTS = "REVOKE EXECUTE ON FUNCTION lo_creat(int), lo_create(oid), lo_from_bytea(oid, bytea) FROM PUBLIC"


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: `0001_base.sql`. Once released it never changes; `sha256` notices when it did."""

    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def available() -> list[Migration]:
    """Every migration in the order in which it is applied."""
    folder = resources.files("agon.store") / "migrations"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [Migration(f.name.removesuffix(".sql"), f.read_text(encoding="utf-8")) for f in files]


async def migrate(postgres_url: str, analyst_password: str | None = None, connect_timeout: float = 10.0) -> list[str]:
    """Bring a database up to date and return the names of what was applied now; nothing to do is an empty list.

    Two at once are fine: the second waits for the first. The role `analyst` gets `analyst_password`; without one it
    can log in only where the server asks for none. The URL's user must own the database, but needs no more: where it
    may not make roles, a warning says what a superuser has to do, and all else is done.

    Raises `SetupError` when the server can't be reached, and when a file was changed after it had been applied.
    """
    try:
        connection = await asyncpg.connect(postgres_url, timeout=connect_timeout)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise SetupError(f"Postgres does not answer ({error}): check AGON_POSTGRES_URL") from error
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)  # given back with the connection
        applied = await _apply(connection)
        await _analyst(connection, analyst_password)
    finally:
        await connection.close()
    return applied


async def require_migrated(pool: Pool) -> None:
    """Raises `SetupError` where a migration is missing: a service would fail later and less clearly."""
    try:
        known = {row["name"] for row in await pool.fetch("SELECT name FROM public.agon_migrations")}
    except asyncpg.UndefinedTableError:
        known = set()
    missing = [migration.name for migration in available() if migration.name not in known]
    if missing:
        raise SetupError(f"the database lacks {len(missing)} migrations, first {missing[0]}: run `agon db migrate`")


async def _apply(connection: Any) -> list[str]:
    await connection.execute("SET client_min_messages = warning")
    await connection.execute(_HISTORY)
    known = {row["name"]: row["sha256"] for row in await connection.fetch("SELECT * FROM public.agon_migrations")}
    applied = []
    for migration in available():
        if migration.name in known:
            if known[migration.name] != migration.sha256:
                raise SetupError(
                    f"migration {migration.name} was changed after it had been applied to this database: "
                    "restore the file and put the change into a new one"
                )
            continue
        async with connection.transaction():
            await connection.execute(migration.sql)
            await connection.execute(
                "INSERT INTO public.agon_migrations (name, sha256) VALUES ($1, $2)", migration.name, migration.sha256
            )
        applied.append(migration.name)
    return applied


async def _analyst(connection: Any, password: str | None) -> None:
    """The role `analyst` belongs to the whole server, so another database's migration may have made it already."""
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = 'analyst'"):
            try:
                await connection.execute("CREATE ROLE analyst LOGIN")
            except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
                pass  # made by another database's migration at this moment
        if await connection.fetchval("SELECT rolconnlimit = -1 FROM pg_roles WHERE rolname = 'analyst'"):
            await connection.execute(_BOUNDS)  # unless somebody has set other ones
        await connection.execute(_NO_LARGE_OBJECTS)
        if password is not None:
            # ALTER ROLE takes no parameters; quote_literal makes the value safe.
            literal = await connection.fetchval("SELECT quote_literal($1::text)", password)
            await connection.execute(f"ALTER ROLE analyst PASSWORD {literal}")
    except asyncpg.InsufficientPrivilegeError as error:
        if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = 'analyst'"):
            log.warning(
                "the role analyst could not be made (%s): let a superuser run `CREATE ROLE analyst LOGIN`, "
                "then migrate again",
                error,
            )
            return
        log.warning("the password of the role analyst could not be set (%s): let a superuser do it", error)
    await connection.execute(_GRANTS)
