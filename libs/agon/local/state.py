"""What runs, written down for `agon status`, for other commands, and for a start after a hard kill."""

import contextlib
import json
import os
import signal
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import psutil

from agon.local.data import DataFolder, write_private

State = Literal["starting", "running", "restarting", "stopped"]


@dataclass(slots=True)
class ServiceState:
    """One child: its process while it has one, and how often it was started again."""

    name: str
    pid: int | None = None
    state: State = "starting"
    restarts: int = 0
    born: float | None = None
    """The process' creation time, which tells it from a later one with the same number."""


@dataclass(slots=True)
class BackendState:
    """A Kafka, Redis or Postgres: `embedded` ones have a process."""

    url: str
    kind: Literal["embedded", "external"]
    process: ServiceState | None = None


@dataclass(slots=True)
class StackState:
    """The whole stack."""

    pid: int = field(default_factory=os.getpid)
    http: str | None = None
    internal: str | None = None
    """Where the ingress answers `/metrics` and `/admin`, on loopback."""
    analyst: str | None = None
    """Postgres as the role that reads the analytics views."""
    backends: dict[str, BackendState] = field(default_factory=dict)
    services: list[ServiceState] = field(default_factory=list)

    def write(self, data: DataFolder) -> None:
        write_private(data.path / "state.json", json.dumps(asdict(self)))

    def processes(self) -> list[ServiceState]:
        """All children: services and embedded servers."""
        embedded = [backend.process for backend in self.backends.values() if backend.process is not None]
        return [*self.services, *embedded]

    def report(self) -> dict[str, Any]:
        """What `agon status --json` prints."""
        backends: dict[str, Any] = {}
        for name, backend in self.backends.items():
            backends[name] = {"url": backend.url, "kind": backend.kind}
            if backend.process is not None:
                backends[name] |= _brief(backend.process)
        if self.analyst and "postgres" in backends:
            backends["postgres"]["analyst_url"] = self.analyst
        return {
            "http": self.http,
            "internal": self.internal,
            "pid": self.pid,
            **backends,
            "services": [
                {"name": service.name, **_brief(service), "restarts": service.restarts} for service in self.services
            ],
        }


def _brief(process: ServiceState) -> dict[str, Any]:
    return {"pid": process.pid, "state": process.state}


def running(data: DataFolder) -> StackState | None:
    """The stack that runs on this folder now, or None. Raises `SetupError` where it is another user's.

    On a full disk what was written is old: a process that is gone since then is told as gone.
    """
    state = read(data) if data.is_held() else None
    if state is not None:
        for process in state.processes():
            if process.pid is not None and process.born is not None and not _is_born(process.pid, process.born):
                process.state, process.pid, process.born = "restarting", None, None
    return state


def read(data: DataFolder) -> StackState | None:
    """What was written last, whether it still runs or not; None where nothing is readable."""
    try:
        told = json.loads((data.path / "state.json").read_text())
        backends = {
            name: BackendState(b["url"], b["kind"], ServiceState(**b["process"]) if b["process"] else None)
            for name, b in told.pop("backends").items()
        }
        services = [ServiceState(**service) for service in told.pop("services")]
        return StackState(**told, backends=backends, services=services)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except (KeyError, TypeError, AttributeError):  # another version's
        return None


def end_leftovers(data: DataFolder) -> list[str]:
    """Kill what a hard-killed stack left behind on this folder, and return the names. Call it holding the folder.

    On Linux the kernel has done so already; this is for other systems and the moment in between.
    """
    told = read(data)
    if told is None:
        return []
    ended = []
    for left in told.processes():
        if left.pid is None or left.born is None:
            continue
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            if _is_born(left.pid, left.born):
                os.killpg(left.pid, signal.SIGKILL)
                # Where nobody buries it, it stays in the list of processes.
                psutil.wait_procs([psutil.Process(left.pid)], 10)
                ended.append(left.name)
    return ended


def _is_born(pid: int, born: float) -> bool:
    """Whether the process with this number is alive, and the one that was created then."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - born) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def birth(pid: int) -> float | None:
    """When a process was created, in epoch seconds; None when it is gone."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None
