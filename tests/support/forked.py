"""Processes that begin where the imports end: forked from a server that has made them.

A worker imports torch and transformers for seconds, an ingress FastAPI, and tests start a hundred of them. Otherwise
each is what `python -m` makes: a process with an environment and a log of its own, which signals reach and kill. That
it starts from nothing is tested where a whole stack does.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["agon.engine.engine", "agon_inference.app", "agon_ingress.app", "agon_recorder.app"])


class Forked:
    """`python -m MODULE`, and as much of `subprocess.Popen` as tests ask for."""

    def __init__(self, module: str, environment: Mapping[str, str], log: Path) -> None:
        self._process = _context.Process(target=_run, args=(module, dict(environment), str(log)), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return self._process.exitcode


def _run(module: str, environment: dict[str, str], log: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
