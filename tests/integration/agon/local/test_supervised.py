"""Supervision, with small programs of our own."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agon.errors import SetupError
from agon.local.children import Child
from agon.local.state import birth
from agon.local.supervised import Supervised
from support.waiting import eventually

STEADY = "import time; time.sleep(600)"


class Watched:
    """A supervised program and what was told about it."""

    def __init__(self, folder: Path, code: str, ready: Callable[[], bool] = lambda: True) -> None:
        self.told: list[str] = []
        self.states: list[str] = []
        self.starts = 0
        log = folder / "log"

        async def start() -> Child:
            self.starts += 1
            return await Child.start([sys.executable, "-c", code], log)

        async def is_ready() -> bool:
            return ready()

        def changed() -> None:
            self.states.append(self.supervised.state.state)

        self.supervised = Supervised("it", log, start, is_ready, lambda _, event: self.told.append(event), changed)

    @property
    def pid(self) -> int:
        assert self.supervised.state.pid is not None
        return self.supervised.state.pid

    async def until(self, condition: Callable[[], bool]) -> None:
        await eventually(condition)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[None]"]:
        task = asyncio.create_task(self.supervised.run())
        try:
            yield task
        finally:
            await self.supervised.stop(task, self._end)

    async def _end(self) -> None:
        if self.supervised.child is not None:
            await self.supervised.child.stop()


@pytest.mark.kill
async def test_a_killed_program_is_started_again_and_its_state_tells(tmp_path: Path) -> None:
    it = Watched(tmp_path, STEADY)
    async with it.running():
        await it.until(it.supervised.once_ready.is_set)
        first = it.pid
        assert it.supervised.state.born == birth(first)
        for kills in (1, 2):
            before = it.pid
            os.kill(before, signal.SIGKILL)
            await it.until(lambda before=before: it.supervised.state.pid not in (None, before))
            await it.until(lambda: it.supervised.state.state == "running")
            assert it.supervised.state.restarts == kills
    assert it.states == ["starting", "running", *(["restarting", "starting", "running"] * 2), "stopped"]
    assert it.told[0] == "was killed by signal 9; starting it again in 0.2 s"
    assert it.told[2] == "was killed by signal 9; starting it again in 0.4 s"


async def test_it_is_starting_until_it_is_ready(tmp_path: Path) -> None:
    is_ready = False
    it = Watched(tmp_path, STEADY, lambda: is_ready)
    async with it.running():
        await it.until(lambda: bool(it.states))
        assert it.supervised.state.state == "starting"
        is_ready = True
        await it.until(lambda: it.supervised.state.state == "running")


async def test_a_first_start_that_needs_a_person_ends_with_the_program_s_own_words(tmp_path: Path) -> None:
    it = Watched(tmp_path, "import sys; print('agon_x: no model here'); sys.exit(2)", lambda: False)
    async with it.running() as task:
        with pytest.raises(SetupError, match=r"^agon_x: no model here$"):
            await asyncio.wait_for(task, 60)
    assert it.starts == 1


async def test_a_program_that_never_lives_is_given_up(tmp_path: Path) -> None:
    it = Watched(tmp_path, "raise SystemExit('broken')", lambda: False)
    async with it.running() as task:
        with pytest.raises(SetupError, match="ended 5 times: broken"):
            await asyncio.wait_for(task, 60)
    assert it.starts == 5


async def test_a_program_that_was_fine_once_is_never_given_up(tmp_path: Path) -> None:
    marker = tmp_path / "was-here"
    code = (
        f"import pathlib, sys, time; p = pathlib.Path({str(marker)!r})\n"
        "sys.exit(2) if p.exists() else (p.touch(), time.sleep(600))"
    )
    it = Watched(tmp_path, code, marker.exists)
    async with it.running() as task:
        await it.until(it.supervised.once_ready.is_set)
        os.kill(it.pid, signal.SIGKILL)
        await it.until(lambda: it.starts >= 3)
        assert not task.done()


async def test_after_a_stop_nothing_is_started_any_more(tmp_path: Path) -> None:
    it = Watched(tmp_path, STEADY)
    async with it.running():
        await it.until(it.supervised.once_ready.is_set)
    assert it.supervised.state.state == "stopped"
    assert it.supervised.state.pid is None
    assert it.starts == 1
