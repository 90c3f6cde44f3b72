"""`/metrics`, `/healthz` and `/readyz` of a process, on its internal port: a little HTTP on asyncio, no framework.

`/healthz` is 200 while the event loop turns. `/readyz` names every dependency and is 503 while one is missing.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from agon.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agon.telemetry import Metrics

Ready = Callable[[], Awaitable[Mapping[str, str | None]]]
"""Each dependency with None where it is fine, else with what is wrong. Must not block for long."""

_READ_TIMEOUT = 5.0
_LONGEST_HEAD = 16 * 1024
_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


@asynccontextmanager
async def serve_health(settings: Settings, metrics: "Metrics", ready: Ready) -> "AsyncIterator[int | None]":
    """Answer while the context lasts; yields the port (0 takes a free one), None where `metrics_port` is not set."""
    if settings.metrics_port is None:
        yield None
        return

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_READ_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
                method, path, *_ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
                status, kind, body = await _respond(method, path.partition("?")[0], metrics, ready)
                writer.write(_response(status, kind, b"" if method == "HEAD" else body))
                await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # a probe that left, or something that is no HTTP: there is nobody to answer
        finally:
            writer.close()

    server = await asyncio.start_server(answer, settings.metrics_host, settings.metrics_port, limit=_LONGEST_HEAD)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _respond(method: str, path: str, metrics: "Metrics", ready: Ready) -> tuple[int, str, bytes]:
    if method not in ("GET", "HEAD"):
        return 405, "text/plain", b"only GET\n"
    if path == "/healthz":
        return 200, "application/json", b'{"status":"ok"}\n'
    if path == "/readyz":
        parts = dict(await ready())
        fine = all(problem is None for problem in parts.values())
        told = {name: problem or "ok" for name, problem in parts.items()}
        body = json.dumps({"status": "ok" if fine else "unavailable", "dependencies": told})
        return 200 if fine else 503, "application/json", body.encode() + b"\n"
    if path == "/metrics":
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return 200, CONTENT_TYPE_LATEST, generate_latest(metrics.registry)
    return 404, "text/plain", b"/metrics, /healthz or /readyz\n"


def _response(status: int, kind: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
