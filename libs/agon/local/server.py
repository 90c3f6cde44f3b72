"""What our own Postgres, Redis and Kafka have in common: prepared once, started on a port, asked until they answer."""

import asyncio
import os
import signal
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from agon.errors import SetupError
from agon.local.children import Child, last_lines, says
from agon.local.ports import LOOPBACK, free_port, is_free

_PORT_TAKEN = "address already in use"
_DISK_FULL = "no space left on device"
_TRIES = 5
_LEAST_ROOM = 1024 * 1024


class Server(ABC):
    """A server in a child process, listening on loopback, with its data in a folder of its own.

    `reserve` or the first `start` picks a free port unless one was given; once it has answered there it keeps it,
    because others know it by then.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    grace: ClassVar[float] = 15.0
    """Seconds that a clean stop may take."""
    within: ClassVar[float] = 60.0
    """Seconds until it must answer: recovering after a hard kill takes a while."""

    def __init__(self, folder: Path, log: Path, port: int | None = None) -> None:
        self.folder = folder
        self.log = log
        self.child: Child | None = None
        self._port = port
        self._fixed = port is not None

    @property
    def port(self) -> int:
        """Its port on loopback, once it has one."""
        if self._port is None:
            raise RuntimeError(f"{self.name} has not been started")
        return self._port

    @property
    @abstractmethod
    def url(self) -> str:
        """How clients reach it, with its password where it has one."""

    def reserve(self) -> None:
        """Pick a port before the start, so that `url` is known. Whoever is told must ask again after the start: another
        program may have taken the port meanwhile."""
        if self._port is None:
            self._port = free_port()

    async def prepare(self) -> None:  # noqa: B027  most need nothing
        """Make its folder ready; called before each start and cheap when there is nothing to do."""

    @abstractmethod
    async def launch(self) -> Child:
        """Start the program on `self.port`."""

    @abstractmethod
    async def answers(self) -> bool:
        """Whether it serves a client now; must come back within a second or two."""

    async def start(self) -> Child:
        """Prepare, start, and wait until it answers. Raises `SetupError` with what to do when it does not."""
        try:
            await self.prepare()
            for attempt in range(_TRIES):
                if attempt and not self._fixed:
                    self._port = None
                self.reserve()
                since = self.log.stat().st_size if self.log.exists() else 0
                self.child = await self.launch()
                if await self._answers_in_time(self.child):
                    self._fixed = True
                    return self.child
                why = self._why(since)  # before it is stopped, and says that
                await self.stop()
                if not says(self.log, _PORT_TAKEN, since):
                    raise SetupError(why)
                if self._fixed and not is_free(LOOPBACK, self.port):  # else it was another of its ports
                    raise SetupError(f"port {self.port} for {self.name} is taken: stop what listens there")
        except OSError as error:
            raise SetupError(f"{self.name} could not be started: {error}") from error
        raise SetupError(f"{self.name} lost the race for a free port {_TRIES} times: try again")

    async def stop(self) -> None:
        """Stop it cleanly, or by force after `grace` seconds. Fine when it does not run."""
        if self.child is not None:
            await self.child.stop(self.stop_signal, self.grace)

    async def _answers_in_time(self, child: Child) -> bool:
        deadline = time.monotonic() + self.within
        while child.returncode is None and time.monotonic() < deadline:
            if await self.answers():
                return True
            await asyncio.sleep(0.03)
        return False

    def _why(self, since: int) -> str:
        if says(self.log, _DISK_FULL, since) or _no_room(self.folder):
            return disk_full(self.folder)
        running = self.child is not None and self.child.returncode is None
        what = f"did not answer within {self.within:.0f} s" if running else "stopped at once"
        return f"{self.name} {what}: {last_lines(self.log) or 'it said nothing'} (all of it: {self.log})"

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"


def _no_room(folder: Path) -> bool:
    """Whether nothing more can be written there: then the log could not say so either."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize < _LEAST_ROOM


def disk_full(folder: Path) -> str:
    """The line for a full disk."""
    return f"no space left on the disk of {folder}: free some, or give another folder with --data"
