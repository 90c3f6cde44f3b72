"""A process tells whether it is alive, what it lacks, and what it counts."""

import asyncio
import json
from collections.abc import Mapping

from agon.health import serve_health
from agon.settings import Settings
from agon.telemetry import Metrics


async def _get(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split(" ")[1]), body


async def _ready() -> Mapping[str, str | None]:
    return {"kafka": None, "redis": "no answer"}


async def test_readiness_names_each_dependency_and_is_503_while_one_is_missing() -> None:
    async with serve_health(Settings(metrics_port=0), Metrics(), _ready) as port:
        assert port is not None
        status, body = await _get(port, "/readyz")
    assert status == 503
    assert json.loads(body)["dependencies"] == {"kafka": "ok", "redis": "no answer"}


async def test_liveness_does_not_ask_the_dependencies() -> None:
    async with serve_health(Settings(metrics_port=0), Metrics(), _ready) as port:
        assert port is not None
        assert (await _get(port, "/healthz"))[0] == 200


async def test_metrics_are_told_in_prometheus_text() -> None:
    metrics = Metrics()
    metrics.counter("resumed").labels("m").inc()
    async with serve_health(Settings(metrics_port=0), metrics, _ready) as port:
        assert port is not None
        assert 'agon_resumed_total{model="m"} 1.0' in (await _get(port, "/metrics"))[1]


async def test_unknown_paths_and_methods_are_refused() -> None:
    async with serve_health(Settings(metrics_port=0), Metrics(), _ready) as port:
        assert port is not None
        assert (await _get(port, "/admin"))[0] == 404
        assert (await _get(port, "/metrics", "POST"))[0] == 405


async def test_nothing_is_opened_without_a_port() -> None:
    async with serve_health(Settings(), Metrics(), _ready) as port:
        assert port is None
