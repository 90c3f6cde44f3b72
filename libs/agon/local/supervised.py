"""One child that must run: started, awaited, and started again with back-off when it ends."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from agon.errors import SetupError
from agon.local.children import Child, last_lines
from agon.local.state import ServiceState, birth

_FIRST_DELAY = 0.2
_LONGEST_DELAY = 15.0
_STEADY = 30.0
"""Who ran for so many seconds starts with the first delay again."""
_FIRST_TRIES = 5
"""A program that has never been ready and ended so often will not be ready."""

Start = Callable[[], Awaitable[Child]]
Ready = Callable[[], Awaitable[bool]]
Tell = Callable[[str, str], None]
"""Takes the name of a part and what happened to it."""


def delay_before(restart: int) -> float:
    """Seconds before the restart with this number, from 1: 0.2, 0.4, ... 15."""
    return float(min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** (restart - 1)))


class Supervised:
    """`start` makes the child; `ready` says when it does its work. `changed` is called whenever `state` changes.

    A first start that can't work ends `run` with `SetupError`: exit code 2 says that a person must act. Later ends
    are restarts, for ever.
    """

    def __init__(
        self, name: str, log: Path, start: Start, ready: Ready, tell: Tell, changed: Callable[[], None]
    ) -> None:
        self.state = ServiceState(name)
        self.child: Child | None = None
        self.once_ready = asyncio.Event()
        self._log = log
        self._start = start
        self._ready = ready
        self._tell = tell
        self._changed = changed

    @property
    def name(self) -> str:
        return self.state.name

    async def run(self) -> None:
        """Keep it running until `stop`. Raises `SetupError` when it never came to life."""
        in_a_row = 0
        while True:
            began = time.monotonic()
            try:
                self.child = await self._start()
                self._become("starting")
                code = await self._until_end(self.child)
                why = f"ended with code {code}" if code >= 0 else f"was killed by signal {-code}"
            except SetupError as error:
                if not self.once_ready.is_set():
                    raise
                code, why = 2, str(error)
            in_a_row = 1 if time.monotonic() - began > _STEADY else in_a_row + 1
            self._give_up_if_hopeless(code, in_a_row)
            self.state.restarts += 1
            self._become("restarting")
            delay = delay_before(in_a_row)
            self._tell(self.name, f"{why}; starting it again in {delay:.1f} s")
            await asyncio.sleep(delay)

    async def stop(self, task: "asyncio.Task[None]", end: Callable[[], Awaitable[object]]) -> None:
        """End `task`, which is `run`, so that nothing is started any more; then end the child with `end`."""
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await end()
        self._become("stopped")

    def _give_up_if_hopeless(self, code: int, in_a_row: int) -> None:
        if self.once_ready.is_set():
            return
        if code == 2:
            raise SetupError(last_lines(self._log) or f"{self.name} refused to start, without a reason")
        if in_a_row >= _FIRST_TRIES:
            raise SetupError(f"{self.name} ended {in_a_row} times: {last_lines(self._log)} (see {self._log})")

    async def _until_end(self, child: Child) -> int:
        watch = asyncio.create_task(self._until_ready(), name=f"ready-{self.name}")
        try:
            return await child.wait()
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def _until_ready(self) -> None:
        while True:
            if await self._ready():
                break
            await asyncio.sleep(0.1)
        self._become("running")
        if self.state.restarts:
            self._tell(self.name, "runs again")
        self.once_ready.set()

    def _become(self, state: str) -> None:
        alive = self.child is not None and self.child.returncode is None
        self.state.state = state  # type: ignore[assignment]
        self.state.pid = self.child.pid if alive and self.child is not None else None
        self.state.born = birth(self.state.pid) if self.state.pid is not None else None
        self._changed()
