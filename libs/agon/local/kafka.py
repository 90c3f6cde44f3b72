"""Apache Kafka in KRaft mode, one node being broker and controller: the real one, from its jars or from KAFKA_HOME."""

import asyncio
import base64
import contextlib
import os
import shutil
import signal
import struct
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from agon.errors import SetupError
from agon.local.caches import user_cache
from agon.local.children import Child, last_lines, says
from agon.local.jars import class_path, lock_digest
from agon.local.java import Java, find_java
from agon.local.ports import LOOPBACK, free_port
from agon.local.server import Server, disk_full
from agon.settings import MIB

_LOGGING = Path(__file__).with_name("kafka-log4j2.properties")
# ApiVersions, version 0, correlation id 7, no client id: a broker answers it once it serves clients.
_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 7, -1)
_LARGEST_MESSAGE = 20 * MIB


class KafkaServer(Server):
    """One broker. Records and committed offsets survive a hard kill; it serves again about 2 s after one."""

    name: ClassVar[str] = "kafka"
    grace: ClassVar[float] = 20.0

    def __init__(
        self, folder: Path, log: Path, port: int | None = None, progress: Callable[[str], None] = lambda _: None
    ) -> None:
        super().__init__(folder, log, port)
        self._progress = progress
        self._java: Java | None = None
        self._jars: list[str] = []
        self._archive_in_making: Path | None = None

    @property
    def url(self) -> str:
        return self.address

    async def prepare(self) -> None:
        if self._java is None:
            self._java = await asyncio.to_thread(find_java)
            self._jars = await asyncio.to_thread(self._find_jars)
        self.folder.mkdir(parents=True, exist_ok=True)

    async def launch(self) -> Child:
        if not self._logs.exists():
            await self._format()
        await asyncio.to_thread(self._write_settings, self._logs)
        return await Child.start(
            [*self._command(), *self._archive(), "kafka.Kafka", str(self._settings)], self.log, env=_environment()
        )

    async def answers(self) -> bool:
        try:
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
                try:
                    writer.write(_API_VERSIONS)
                    _, correlation, error = struct.unpack(">iih", await reader.readexactly(10))
                    return bool(correlation == 7 and error == 0)
                finally:
                    writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return False

    async def stop(self) -> None:
        await super().stop()
        archive, self._archive_in_making = self._archive_in_making, None
        if archive is None or self.child is None:
            return
        if self.child.returncode == 128 + signal.SIGTERM:  # a clean stop; a killed one leaves half a file
            with contextlib.suppress(FileNotFoundError):
                archive.replace(_archive_place(self._java_version))
        archive.unlink(missing_ok=True)

    @property
    def _logs(self) -> Path:
        return self.folder / "logs"

    @property
    def _settings(self) -> Path:
        return self.folder / "server.properties"

    @property
    def _java_version(self) -> str:
        return self._java.version if self._java else ""

    def _find_jars(self) -> list[str]:
        home = os.environ.get("KAFKA_HOME")
        if not home:
            return [str(jar) for jar in class_path(self._progress)]
        libs = Path(home) / "libs"
        if not any(libs.glob("kafka_2.13-4.*.jar")):
            raise SetupError(f"KAFKA_HOME={home} has no Kafka 4 in {libs}: set it right, or unset it")
        return [str(libs / "*")]

    def _write_settings(self, logs: Path) -> None:
        # The controller's port is nobody's business; a static voter may move between starts.
        while (controller := free_port()) == self.port:
            pass  # the broker's is reserved, not bound yet
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{LOOPBACK}:{controller}",
            "listeners": f"PLAINTEXT://{LOOPBACK}:{self.port},CONTROLLER://{LOOPBACK}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{self.port}",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": logs,
            # A typing error in a topic's name must fail, not make a topic.
            "auto.create.topics.enable": "false",
            "num.partitions": 4,
            # Each request goes to the thread that has slept longest. With few of them it is one that has just worked: a
            # record is acknowledged in 0.67 ms instead of 0.83.
            "num.network.threads": 1,
            "num.io.threads": 2,
            "message.max.bytes": _LARGEST_MESSAGE,
            "replica.fetch.max.bytes": _LARGEST_MESSAGE,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 4,
            # A new group is one service's: nobody gains from waiting for more members.
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            # So long its own controller keeps a killed broker registered, and a new one must wait: 9 s by default. With
            # much less, a machine that is busy for a second fences a broker that is alive.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            # The default takes 128 MB of heap for a job that here is tiny.
            "log.cleaner.dedupe.buffer.size": 2 * MIB,
            "log.segment.bytes": 64 * MIB,
        }
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        self._settings.write_text(text, encoding="utf-8")

    async def _format(self) -> None:
        """Made beside its place and moved there in one step: a killed start leaves nothing half."""
        partial = self.folder / "logs.partial"
        await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
        await asyncio.to_thread(self._write_settings, partial)
        arguments = [
            "kafka.tools.StorageTool",
            "format",
            "-t",
            cluster_id(),
            "-c",
            str(self._settings),
            "--ignore-formatted",
        ]
        child = await Child.start([*self._command(), *arguments], self.log, env=_environment())
        try:
            code = await child.wait()
        except asyncio.CancelledError:
            await child.stop(grace=1)
            raise
        if code:
            if says(self.log, "No space left on device"):
                raise SetupError(disk_full(self.folder))
            raise SetupError(f"Kafka could not make its data folder: {last_lines(self.log)} (see {self.log})")
        partial.replace(self._logs)

    def _command(self) -> list[str]:
        if self._java is None:
            raise RuntimeError("Kafka has not been prepared")
        # Serial collector and first-tier compiler: one small broker starts twice as fast so, and needs 134 MB at rest.
        options = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xms32m", "-Xmx256m", "-Xshare:auto"]
        options += [f"-Dlog4j2.configurationFile={_LOGGING}", "-Djava.awt.headless=true"]
        return [str(self._java.program), *options, "-cp", os.pathsep.join(self._jars)]

    def _archive(self) -> list[str]:
        """Class data sharing: the first clean stop writes an archive of the loaded classes, and later starts map it."""
        if os.environ.get("KAFKA_HOME"):  # its jars may change under the same name
            return []
        archive = _archive_place(self._java_version)
        if archive.exists():
            return [f"-XX:SharedArchiveFile={archive}", "-Xlog:cds=off", "-Xlog:class+path=off"]
        self._archive_in_making = archive.with_name(f"{archive.name}.{uuid.uuid4().hex[:8]}.partial")
        return [f"-XX:ArchiveClassesAtExit={self._archive_in_making}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]


def _archive_place(java_version: str) -> Path:
    return user_cache() / f"kafka-java-{java_version}-{lock_digest()}.jsa"


def _environment() -> dict[str, str]:
    """Without variables that add options to every Java: they print a line, and change what was measured."""
    return {k: v for k, v in os.environ.items() if k not in ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH")}


def cluster_id() -> str:
    """16 random bytes as Kafka writes them, never with a dash in front: its tools would take that for an option."""
    while (name := base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()).startswith("-"):
        pass
    return name
