"""A whole `agon up` for a test."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from support import forked
from support.waiting import PATIENCE

AGON = (sys.executable, "-m", "agon.cli")


def environment(**more: str) -> dict[str, str]:
    """Without what would point the stack at other servers."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AGON_")}
    return {**kept, "OMP_NUM_THREADS": "1", **more}


def agon(*arguments: str, timeout: float = PATIENCE, **more: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of `agon` to its end."""
    return forked.agon(*arguments, environment=environment(**more), timeout=timeout)


@dataclass
class Up:
    """A running `agon up`."""

    process: "subprocess.Popen[bytes]"
    data: Path
    output: Path
    url: str = ""
    seconds_to_ready: float = 0.0
    family: list[psutil.Process] = field(default_factory=list)
    """The supervisor and all that it had started when it became ready."""

    def status(self) -> dict[str, Any]:
        answer = agon("status", "--data", str(self.data), "--json")
        assert answer.returncode == 0, answer.stderr
        told: dict[str, Any] = json.loads(answer.stdout)
        return told

    def service(self, name: str) -> dict[str, Any]:
        return next(dict(service) for service in self.status()["services"] if service["name"] == name)

    def said(self) -> str:
        return self.output.read_text()

    def left(self, within: float = PATIENCE) -> list[str]:
        """What is still alive of the family after a while."""
        _, alive = psutil.wait_procs(self.family, within)
        return [f"{process.pid} {process.name()}" for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@contextmanager
def up(data: Path, *arguments: str, ready_within: float = 300, **more: str) -> Iterator[Up]:
    """Start `agon up` on `data`, wait until it is ready, and make sure in the end that nothing of it is left."""
    output = data.with_name(f"{data.name}.out")
    began = time.monotonic()
    with output.open("wb") as out:
        process = subprocess.Popen(
            [*AGON, "up", "--data", str(data), *arguments], stdout=out, stderr=out, env=environment(**more)
        )
    started = Up(process, data, output)
    try:
        while not started.url:
            assert process.poll() is None, started.said()
            assert time.monotonic() - began < ready_within, started.said()
            started.url = next((line[6:] for line in started.said().splitlines() if line.startswith("ready ")), "")
            time.sleep(0.02)
        started.seconds_to_ready = time.monotonic() - began
        supervisor = psutil.Process(process.pid)
        started.family = [supervisor, *supervisor.children(recursive=True)]
        yield started
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
