"""Processes that begin where the imports end: forked from a server that has made them.

A worker imports torch and transformers for seconds, an ingress FastAPI, a command aiokafka and asyncpg, and tests start
hundreds of them. Otherwise each is what `python -m` makes: a process with an environment and a log of its own, which
signals reach and kill. That it starts from nothing is tested where a whole stack does.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from support.waiting import PATIENCE

_SERVICES = ("inference", "ingress", "rating_compute", "recorder", "vote_ingest")
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["agon.engine.engine", *(f"agon_{name}.app" for name in _SERVICES)])


class Forked:
    """`python -m MODULE`, and as much of `subprocess.Popen` as tests ask for.

    What it says goes to the log, or what it says on standard output to `out` where that is given. `before` is called in
    it before anything else.
    """

    def __init__(
        self,
        module: str,
        environment: Mapping[str, str],
        log: Path,
        *arguments: str,
        out: Path | None = None,
        before: Callable[[], None] | None = None,
    ) -> None:
        log.touch()
        told = (module, arguments, dict(environment), str(log), str(out or log), before)
        self._process = _context.Process(target=_run, args=told, daemon=True)
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


def run(
    module: str, *arguments: str, environment: Mapping[str, str], timeout: float = PATIENCE
) -> "subprocess.CompletedProcess[str]":
    """`python -m MODULE ARGUMENTS` to its end. Raises `subprocess.TimeoutExpired`."""
    with tempfile.TemporaryDirectory() as folder:
        out, errors = Path(folder, "out"), Path(folder, "errors")
        process = Forked(module, environment, errors, *arguments, out=out)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        return subprocess.CompletedProcess([module, *arguments], code, out.read_text(), errors.read_text())


def agon(
    *arguments: str, environment: Mapping[str, str], timeout: float = PATIENCE
) -> "subprocess.CompletedProcess[str]":
    """A command of `agon`, to its end."""
    return run("agon.cli", *arguments, environment=environment, timeout=timeout)


def _run(
    module: str,
    arguments: Sequence[str],
    environment: dict[str, str],
    log: str,
    out: str,
    before: Callable[[], None] | None,
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for path, stream in ((out, 1), (log, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if before is not None:
        before()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
