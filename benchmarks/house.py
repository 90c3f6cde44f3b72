"""What the benchmarks of the board share: Kafka, Redis and a migrated Postgres of their own, and services to start."""

import contextlib
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from agon.bus import topic_admin
from agon.local.kafka import KafkaServer
from agon.local.postgres import PostgresServer
from agon.local.redis import RedisServer
from agon.local.server import Server
from agon.store.migrations import migrate
from agon.topics import Topics

SECRET = "the secret of a benchmark"


@dataclass(frozen=True)
class House:
    """Servers that answer, an empty database with every migration, and every topic."""

    kafka_url: str
    redis_url: str
    postgres_url: str
    server_pids: dict[str, int]

    @property
    def topics(self) -> Topics:
        return Topics()

    @contextlib.contextmanager
    def service(self, name: str, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
        """`python -m agon_<name>` until the context ends; what it logs is shown where it fails."""
        environment = {
            **os.environ,
            "AGON_KAFKA_URL": self.kafka_url,
            "AGON_REDIS_URL": self.redis_url,
            "AGON_POSTGRES_URL": self.postgres_url,
            "AGON_SESSION_SECRET": SECRET,
            "AGON_NAME": name,
            "AGON_LOG_LEVEL": "WARNING",
            **settings,
        }
        process = subprocess.Popen([sys.executable, "-m", f"agon_{name}"], env=environment)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


@contextlib.asynccontextmanager
async def house() -> AsyncIterator[House]:
    """Start the servers, durable as in `agon up`, in an empty folder; stop them at the end."""
    with tempfile.TemporaryDirectory(prefix="agon-bench-") as folder:
        root = Path(folder)
        kafka = KafkaServer(root / "kafka", root / "kafka.log")
        redis = RedisServer(root / "redis", root / "redis.log", uuid.uuid4().hex)
        postgres = PostgresServer(root / "postgres", root / "postgres.log", uuid.uuid4().hex)
        servers: dict[str, Server] = {"kafka": kafka, "redis": redis, "postgres": postgres}
        async with contextlib.AsyncExitStack() as stack:
            for server in servers.values():
                await server.start()
                stack.push_async_callback(server.stop)
            await migrate(postgres.url)
            await topic_admin.apply(kafka.url)
            pids = {name: server.child.pid for name, server in servers.items() if server.child is not None}
            yield House(kafka.url, redis.url, postgres.url, pids)


def processor_seconds(pid: int) -> float:
    """User and system seconds of a process and its children so far."""
    process = psutil.Process(pid)
    spent = 0.0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            spent += times.user + times.system
    return spent
