"""Migrations on a real Postgres."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from agon.errors import SetupError
from agon.store import migrations
from agon.store.migrations import Migration, available, migrate
from support.voting import add_battles

pytestmark = pytest.mark.servers


def as_user(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.hostname}:{parts.port}"))


@pytest.fixture
async def owner_url(empty_database_url: str) -> AsyncIterator[str]:
    """A database that belongs to a user who is no superuser and may make no roles."""
    name = f"owner_{uuid.uuid4().hex[:8]}"
    database = urlsplit(empty_database_url).path[1:]
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'pw'")
    await connection.execute(f'ALTER DATABASE "{database}" OWNER TO {name}')
    yield as_user(empty_database_url, name, "pw")
    await connection.execute(f'ALTER DATABASE "{database}" OWNER TO CURRENT_USER')
    await connection.execute(f"DROP OWNED BY {name} CASCADE")
    await connection.execute(f"DROP ROLE {name}")
    await connection.close()


async def test_each_is_applied_once_also_by_many_at_the_same_time(empty_database_url: str) -> None:
    names = [migration.name for migration in available()]
    assert names == sorted(names)
    assert names[:2] == ["0001_base", "0002_battles"]
    done = await asyncio.gather(*(migrate(empty_database_url) for _ in range(4)))
    assert sorted(done, key=len) == [[], [], [], names]
    assert await migrate(empty_database_url) == []


async def test_a_changed_file_is_refused_by_name(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await migrate(empty_database_url)
    first, *rest = available()
    monkeypatch.setattr(migrations, "available", lambda: [Migration(first.name, first.sql + "-- more"), *rest])
    with pytest.raises(SetupError, match="0001_base was changed"):
        await migrate(empty_database_url)


async def test_a_migration_that_fails_leaves_nothing_of_itself(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = available()
    broken = Migration("9999_broken", "CREATE TABLE agon.half (); SELECT 1 / 0;")
    monkeypatch.setattr(migrations, "available", lambda: [*files, broken])
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(empty_database_url)
    connection = await asyncpg.connect(empty_database_url)
    assert await connection.fetchval("SELECT to_regclass('agon.half')") is None
    assert await connection.fetchval("SELECT count(*) FROM public.agon_migrations") == len(files)
    await connection.close()


async def test_the_views_do_not_tell_who_plays_in_an_open_battle(database_url: str) -> None:
    await add_battles(database_url, [("open", "x", "y"), ("voted", "x", "y")])
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("UPDATE agon.battles SET revealed_at = now() WHERE battle_id = 'voted'")
        await connection.execute("SET ROLE analyst")
        told = "SELECT model_a, model_b, draw_probability FROM analytics.battles WHERE battle_id = $1"
        assert tuple(await connection.fetchrow(told, "open")) == (None, None, None)
        assert tuple(await connection.fetchrow(told, "voted")) == ("x", "y", 0.5)
    finally:
        await connection.close()


async def test_the_analyst_reads_the_views_and_nothing_else(empty_database_url: str) -> None:
    await migrate(empty_database_url, "o'pen \\ sesame")
    connection = await asyncpg.connect(empty_database_url, user="analyst", password="o'pen \\ sesame")
    try:
        views = await connection.fetch("SELECT DISTINCT relation FROM analytics.data_dictionary")
        for view in views:
            await connection.fetch(f"SELECT * FROM analytics.{view['relation']}")
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'agon'")
        assert len(tables) > 10
        for table in tables:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT * FROM agon.{table['tablename']}")
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute("CREATE TEMPORARY TABLE mine ()")
        await connection.execute("SET default_transaction_read_only = off")
        for attempt in (
            "CREATE TABLE mine ()",
            "DELETE FROM analytics.models",
            "SELECT * FROM public.agon_migrations",
            "SELECT lo_create(0)",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(attempt)
        limit = await connection.fetchval("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'analyst'")
        assert 0 < limit < 50  # the rest of Postgres' 100 is for the services
    finally:
        await connection.close()


async def test_an_owner_who_may_make_no_roles_is_told_what_to_do(
    owner_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the role is there already (another test's) its password can't be set; otherwise it can't be made."""
    assert await migrate(owner_url, "pw") == [migration.name for migration in available()]
    assert "let a superuser" in caplog.text
    assert await migrate(owner_url) == []


async def test_a_server_that_is_not_there_is_one_line() -> None:
    with pytest.raises(SetupError, match="AGON_POSTGRES_URL"):
        await migrate("postgresql://agon@127.0.0.1:1/agon")
