"""Kafka, Redis and Postgres of a stack: the one in the environment, else one of our own; ready to be used."""

import asyncio
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from agon.errors import SetupError
from agon.local.data import DataFolder, Secrets
from agon.local.kafka import KafkaServer
from agon.local.postgres import PostgresServer
from agon.local.redis import RedisServer
from agon.local.server import Server

DATABASE = "agon"


@dataclass(frozen=True, slots=True)
class Backend:
    """`server` is None for one that runs elsewhere. `url` is known once its server has a port."""

    name: str
    given: str | None
    server: Server | None

    @property
    def url(self) -> str:
        if self.given is not None:
            return self.given
        if isinstance(self.server, PostgresServer):
            return self.server.database_url(DATABASE)
        if self.server is None:
            raise RuntimeError(f"{self.name} is neither given nor started here")
        return self.server.url

    @property
    def near_url(self) -> str:
        """For programs on this machine, where there is a shorter way."""
        return self.server.near_url if isinstance(self.server, RedisServer) else self.url


def choose(data: DataFolder, secrets: Secrets, progress: Callable[[str], None]) -> dict[str, Backend]:
    """For each what `AGON_*_URL` names, else a server of our own with its data in `data`. Starts nothing."""

    def made(name: str) -> Server:
        folder, log = data.folder(name), data.log(name)
        match name:
            case "postgres":
                return PostgresServer(folder, log, secrets.postgres)
            case "redis":
                return RedisServer(folder, log, secrets.redis)
            case _:
                return KafkaServer(folder, log, progress=progress)

    chosen = {}
    for name in ("postgres", "redis", "kafka"):
        given = os.environ.get(f"AGON_{name.upper()}_URL") or None
        chosen[name] = Backend(name, given, None if given else made(name))
    return chosen


async def set_up(backend: Backend, secrets: Secrets) -> None:
    """Bring database or topics up to date; safe to repeat. Raises `SetupError` that names what does not answer."""
    match backend.name:
        case "postgres":
            await _database(backend, secrets)
        case "kafka":
            await _topics(backend)
        case _:
            await _ping(backend)


def analyst_url(postgres: Backend, secrets: Secrets) -> str | None:
    """The URL for people who only read; None for a Postgres that is not ours, whose roles are not our business."""
    if isinstance(postgres.server, PostgresServer):
        return postgres.server.database_url(DATABASE, "analyst", secrets.analyst)
    return None


def psql(postgres: Backend) -> str:
    """The client on PATH, else the one that came with our own server."""
    if shutil.which("psql") is None and isinstance(postgres.server, PostgresServer):
        return str(postgres.server.binaries / "psql")
    return "psql"


async def count_keys(postgres: Backend) -> int:
    """How many API keys there are, revoked ones included; the database is migrated."""
    import asyncpg

    connection = await asyncpg.connect(postgres.url, timeout=5.0)
    try:
        count: int = await connection.fetchval("SELECT count(*) FROM agon.api_keys")
    finally:
        await connection.close()
    return count


async def _database(postgres: Backend, secrets: Secrets) -> None:
    from agon.store.migrations import migrate

    if isinstance(postgres.server, PostgresServer):
        await postgres.server.create_database(DATABASE)
        await migrate(postgres.url, secrets.analyst)
    else:
        await migrate(postgres.url)


async def _topics(kafka: Backend) -> None:
    from agon.bus import topic_admin

    await topic_admin.apply(kafka.url, os.environ.get("AGON_TOPIC_PREFIX", ""))


async def _ping(redis: Backend) -> None:
    if redis.server is not None:
        return
    import redis.asyncio as client
    from redis.exceptions import RedisError

    try:
        async with asyncio.timeout(5), client.from_url(redis.url) as connection:
            await connection.ping()
    except (RedisError, OSError, ValueError) as error:
        raise SetupError(f"Redis does not answer ({error}): check AGON_REDIS_URL") from error
