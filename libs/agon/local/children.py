"""Child processes that never outlive us: started, watched, stopped with all that they started themselves."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import Self

_PLACES = ("at ", "... ")
_LAUNCH = Path(__file__).with_name("launch.py")


@dataclass(frozen=True, slots=True)
class Account:
    """An operating system user that a program runs as."""

    name: str
    uid: int
    gid: int


class Child:
    """One running program, in a process group of its own, with its output appended to a file.

    The kernel ends it when this process dies (on Linux; elsewhere the next `agon up` does, by the state file). That is
    bound to the *thread* that starts it: start children only from a thread that stays, such as the main one.
    """

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self.log = log

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        account: Account | None = None,
        stdin: bytes | None = None,
        death_signal: Signals = SIGKILL,
    ) -> Self:
        """Run `command`; `stdin` is written to it at once. As root, `account` is who it runs as.

        `cwd` is entered before root is given up, so it may lie where `account` could not go. `env` replaces the
        environment. Raises `OSError` when the log can't be written or the machine has no room for a process.
        """
        uid, gid = (account.uid, account.gid) if account else (-1, -1)
        launch = [sys.executable, "-I", "-S", str(_LAUNCH), str(os.getpid()), str(int(death_signal))]
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *launch,
                str(uid),
                str(gid),
                "--",
                *command,
                stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=None if env is None else dict(env),
                cwd=cwd,
                process_group=0,
            )
        child = cls(process, log)
        if stdin is not None and process.stdin is not None:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                process.stdin.write(stdin)
                await process.stdin.drain()
            process.stdin.close()
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative is the signal that ended it."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for its end and return the exit code; what it started itself is ended then."""
        code = await self._process.wait()
        self._kill_group()
        return code

    def send(self, number: Signals) -> None:
        """Send a signal to the program alone; nothing happens when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def stop(self, number: Signals = SIGTERM, grace: float = 10.0) -> int:
        """Ask it to end, wait `grace` seconds, then kill its whole group. Returns the exit code."""
        self.send(number)
        try:
            async with asyncio.timeout(grace):
                return await self.wait()
        except TimeoutError:
            self._kill_group()
            return await self.wait()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, SIGKILL)


def last_lines(log: Path, count: int = 1) -> str:
    """The last lines of a log that say something, as one line; empty when there are none.

    The places in the code that an exception of Java's went through say nothing.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines()]
    except OSError:
        return ""
    return " | ".join([line for line in lines if line and not line.startswith(_PLACES)][-count:])


def says(log: Path, text: str, since: int = 0) -> bool:
    """Whether the log has `text` after its first `since` bytes, in any case of letters."""
    try:
        with log.open("rb") as file:
            file.seek(since)
            return text.lower().encode() in file.read(4 * 1024 * 1024).lower()
    except OSError:
        return False
