"""What the API's benchmark runs beside agon: an upstream that answers at once, and LiteLLM's proxy in front of it."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import api_upstream
from agon.local.ports import free_port

BENCHMARKS = Path(__file__).parent
LITELLM = BENCHMARKS.parent / ".tools" / "peers-api" / "bin"
CHAT, COMPLETION = "upstream", "upstream-completion"
"""LiteLLM's names of the model: its completions go through a provider of their own."""
_READY_WITHIN = 180.0


@dataclass(frozen=True)
class Server:
    """A process that listens."""

    address: tuple[str, int]
    pid: int


@contextlib.contextmanager
def upstream() -> Iterator[Server]:
    """Run the upstream."""
    script = BENCHMARKS / "api_upstream.py"
    process = subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Server(("127.0.0.1", int(process.stdout.readline())), process.pid)
    finally:
        process.stdin.close()
        process.wait(10)


def _configuration(upstream_url: str) -> dict[str, object]:
    def model(name: str, provider: str) -> dict[str, object]:
        return {
            "model_name": name,
            "litellm_params": {
                "model": f"{provider}/{api_upstream.MODEL}",
                "api_base": f"{upstream_url}/v1",
                "api_key": "none",
            },
        }

    return {
        "model_list": [model(CHAT, "openai"), model(COMPLETION, "text-completion-openai")],
        "litellm_settings": {"telemetry": False, "set_verbose": False},
    }


@contextlib.contextmanager
def litellm(upstream_url: str) -> Iterator[Server]:
    """Run LiteLLM's proxy as it comes, with one worker."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="agon-bench-") as folder:
        config, log = Path(folder) / "config.yaml", Path(folder) / "log"
        config.write_text(json.dumps(_configuration(upstream_url)))  # JSON is YAML
        command = [str(LITELLM / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
        environment = {
            **{name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "DATABASE_URL")},
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it fetches one
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # neither of us asks for keys
            "LITELLM_LOG": "ERROR",
        }
        with log.open("wb") as told:
            process = subprocess.Popen(
                [*command, "--num_workers", "1"], env=environment, stdout=told, stderr=subprocess.STDOUT, cwd=folder
            )
            try:
                _wait(f"http://127.0.0.1:{port}/health/liveliness", process, log)
                yield Server(("127.0.0.1", port), process.pid)
            finally:
                process.terminate()
                process.wait(30)


def litellm_version() -> str | None:
    """Its version, None where it is not installed."""
    python = LITELLM / "python"
    if not python.exists():
        return None
    code = "import importlib.metadata as m; print(m.version('litellm'))"
    answer = subprocess.run([python, "-c", code], capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    return answer.stdout.strip() or None


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + _READY_WITHIN
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return
        time.sleep(0.5)
    raise SystemExit(f"LiteLLM's proxy did not become ready:\n{log.read_text()[-3000:]}")
