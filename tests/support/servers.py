"""The servers that a test run uses: given by URL, in containers where Docker answers, else our own (`agon.local`)."""

import asyncio
import os
import shutil
import subprocess
import uuid
import warnings
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from aiokafka.admin import AIOKafkaAdminClient

from agon.local.kafka import KafkaServer
from agon.local.ports import LOOPBACK, is_free
from agon.local.postgres import PostgresServer
from agon.local.redis import RedisServer
from agon.local.server import Server

T = TypeVar("T")
IMAGES = {"kafka": "apache/kafka:4.1.0", "redis": "redis:7", "postgres": "postgres:18"}


class TestServers:
    """Starts each server when it is first asked for; `close` ends all of them.

    `AGON_TEST_{KAFKA,REDIS,POSTGRES}_URL` names a server that runs already. Otherwise `AGON_TEST_SERVERS` decides:
    `docker`, `local`, or `auto` (the default): containers if Docker answers and has the images, else local.
    """

    __test__ = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._closing = ExitStack()
        self._loop = asyncio.new_event_loop()
        self._urls: dict[str, str] = {}
        self._docker: bool | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something asynchronous from a fixture that is not."""
        return self._loop.run_until_complete(work)

    def forget_topics(self, prefix: str) -> None:
        """Delete the topics of a test, if it can have made any: with thousands of partitions, every list of topics and
        every new one costs more."""
        if "kafka" in self._urls:
            self.run(_delete_topics(self._urls["kafka"], prefix))

    def close(self) -> None:
        self._closing.close()
        self._loop.close()

    @property
    def kafka_url(self) -> str:
        return self._url("kafka", lambda folder, log: KafkaServer(folder, log, progress=print))

    @property
    def redis_url(self) -> str:
        return self._url("redis", lambda folder, log: RedisServer(folder, log, uuid.uuid4().hex))

    @property
    def postgres_url(self) -> str:
        return self._url("postgres", lambda folder, log: PostgresServer(folder, log, uuid.uuid4().hex, durable=False))

    def _url(self, name: str, make: Callable[[Path, Path], Server]) -> str:
        if name not in self._urls:
            given = os.environ.get(f"AGON_TEST_{name.upper()}_URL")
            if given:
                self._urls[name] = given
            elif self._docker_answers():
                self._urls[name] = _in_container(name, self._closing)
            else:
                server = make(self._folder / name, self._folder / f"{name}.log")
                self.run(server.start())
                self._closing.callback(lambda: self.run(server.stop()))
                self._urls[name] = server.url
        return self._urls[name]

    def _docker_answers(self) -> bool:
        if self._docker is None:
            choice = os.environ.get("AGON_TEST_SERVERS", "auto")
            if choice not in ("auto", "docker", "local"):
                raise ValueError(f"AGON_TEST_SERVERS={choice}: it is auto, docker or local")
            self._docker = choice == "docker" or (choice == "auto" and _docker_has_all())
        return self._docker


async def _delete_topics(kafka_url: str, prefix: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_url)
    await admin.start()
    try:
        if made := [topic for topic in await admin.list_topics() if topic.startswith(prefix)]:
            await admin.delete_topics(made)
    finally:
        await admin.close()


def _docker_has_all() -> bool:
    """Asked through the command line, which says at once whether an engine answers and has every image."""
    if shutil.which("docker") is None:
        return False
    command = ["docker", "image", "inspect", "--format", "{{.Id}}", *IMAGES.values()]
    try:
        return subprocess.run(command, capture_output=True, timeout=10).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _in_container(name: str, closing: ExitStack) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from testcontainers.core.config import testcontainers_config
        from testcontainers.core.container import DockerContainer
        from testcontainers.core.wait_strategies import LogMessageWaitStrategy

        port, inner = _port_for_docker(), {"kafka": 9092, "redis": 6379, "postgres": 5432}[name]
        # The reaper would be one more image; these end with the run.
        testcontainers_config.ryuk_disabled = True
        container = DockerContainer(IMAGES[name])
        container.ports[str(inner)] = ("127.0.0.1", port)  # type: ignore[assignment]
        password = uuid.uuid4().hex
        if name == "kafka":
            ready, url = "Kafka Server started", f"127.0.0.1:{port}"
            container = container.with_kwargs(user="0")  # it writes over defaults that may be read-only
            for key, value in _kafka_environment(port).items():
                container = container.with_env(key, value)
        elif name == "redis":
            ready, url = "Ready to accept connections", f"redis://:{password}@127.0.0.1:{port}/0"
            container = container.with_command(f'redis-server --requirepass {password} --save "" --appendonly no')
        else:
            # The image starts a server for its own set-up first: that one does not listen on TCP.
            ready, url = "listening on IPv4 address", f"postgresql://agon:{password}@127.0.0.1:{port}/postgres"
            container = container.with_env("POSTGRES_USER", "agon").with_env("POSTGRES_PASSWORD", password)
        closing.enter_context(container.waiting_for(LogMessageWaitStrategy(ready).with_startup_timeout(60)))
    return url


def _port_for_docker() -> int:
    """Not `free_port`: whether Docker would bind a port that this process holds depends on its version. The kernel
    gives these to nobody who doesn't ask for them, and each worker of pytest-xdist has a hundred of its own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = range(20_000 + 100 * (worker % 100), 20_100 + 100 * (worker % 100))
    return next(port for port in ports if is_free(LOOPBACK, port))


def _kafka_environment(port: int) -> dict[str, str]:
    return {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
        "KAFKA_MESSAGE_MAX_BYTES": "20971520",
        "KAFKA_REPLICA_FETCH_MAX_BYTES": "20971520",
    }
