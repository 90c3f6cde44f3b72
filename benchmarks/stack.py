"""What the benchmarks share: a whole `agon up` of its own, a client that costs next to nothing, and figures."""

import asyncio
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Stack:
    """A running stack: the address of its API, its supervisor's process id, and what `agon status --json` says."""

    url: str
    pid: int
    data: Path

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 80)

    def status(self) -> dict[str, Any]:
        """The stack's own report."""
        command = [sys.executable, "-m", "agon.cli", "status", "--data", str(self.data), "--json"]
        answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
        return dict(json.loads(answer.stdout))

    def names(self) -> dict[int, str]:
        """Its services, by process id."""
        return {service["pid"]: service["name"] for service in self.status()["services"]}


@contextlib.contextmanager
def running(
    *models: str, workers: int = 1, ready_within: float = 180, environment: Mapping[str, str] | None = None
) -> Iterator[Stack]:
    """Start `agon up` with these models (`name=source`) in an empty data folder; stop it at the end. `environment` is
    on top of this process' own."""
    with tempfile.TemporaryDirectory(prefix="agon-bench-") as folder:
        data = Path(folder) / "data"
        command = [
            sys.executable,
            "-m",
            "agon.cli",
            "up",
            "--port",
            "0",
            "--data",
            str(data),
            "--workers",
            str(workers),
        ]
        for model in models:
            command += ["--model", model]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
        try:
            yield Stack(_url(process, ready_within), process.pid, data)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _url(process: "subprocess.Popen[str]", within: float) -> str:
    assert process.stdout is not None
    deadline = time.monotonic() + within
    said: list[str] = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("ready "):
            return line.split()[1]
        if time.monotonic() > deadline:
            break
    raise SystemExit("the stack did not become ready:\n" + "".join(said[-20:]))


class _Reading(asyncio.Protocol):
    """Hands on what comes, in the event loop's own call: a reader that is woken for each piece costs as much as the
    house does."""

    def __init__(self, on_data: Callable[[bytes], None]) -> None:
        self._on_data = on_data
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self._on_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None) if error is None else self.over.set_exception(error)


async def stream_chat(
    address: tuple[str, int],
    body: dict[str, Any],
    on_data: Callable[[bytes], None],
    headers: Mapping[str, str] | None = None,
) -> None:
    """POST a streaming chat over a connection of its own; `on_data` gets the bytes of the answer as they come."""
    payload = json.dumps({**body, "stream": True}).encode()
    transport, reading = await asyncio.get_running_loop().create_connection(lambda: _Reading(on_data), *address)
    try:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {address[0]}\r\ncontent-type: application/json\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        transport.write(f"{head}content-length: {len(payload)}\r\nconnection: close\r\n\r\n".encode() + payload)
        await reading.over
    finally:
        transport.close()


def processor_seconds(pid: int, names: Mapping[int, str]) -> dict[str, float]:
    """User and system seconds so far of a process and of all below it: by these names, else by what it runs."""
    spent: dict[str, float] = {}
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times, label = process.cpu_times(), names.get(process.pid) or process.name()
            spent[label] = spent.get(label, 0.0) + times.user + times.system
    return spent


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie, by the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine() -> str:
    """Where a figure was measured: processor, cores, Python."""
    name = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor() or "unknown processor",
    )
    return f"{os.cpu_count()} cores of {name}, Python {platform.python_version()}"


def save(name: str, figures: dict[str, Any]) -> None:
    """Keep the figures of a run beside the machine they were measured on, and how busy it was (1, 5, 15 minutes)."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"machine": machine(), "load_average": os.getloadavg(), **figures}, indent=2)
    (RESULTS / f"{name}.json").write_text(text + "\n")
