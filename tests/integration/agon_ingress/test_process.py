"""The ingress as a process: ports, signals, exit codes."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from agon.local.ports import free_port
from agon_ingress.settings import IngressSettings
from integration.agon_ingress.conftest import MODEL, FakeWorker, Telling
from support.waiting import PATIENCE

pytestmark = pytest.mark.servers

BODY = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "x"}]}


def environment(settings: IngressSettings, **changes: Any) -> dict[str, str]:
    names = ("kafka_url", "redis_url", "postgres_url", "topic_prefix", "key_prefix")
    given = {name: getattr(settings, name) for name in names} | {"probe_timeout": 30, "produce_timeout": 30} | changes
    return {**os.environ, **{f"AGON_{name.upper()}": str(value) for name, value in given.items()}}


async def start(env: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agon_ingress", env=env, stderr=asyncio.subprocess.PIPE
    )


@asynccontextmanager
async def running(
    settings: IngressSettings, **changes: Any
) -> AsyncIterator[tuple[asyncio.subprocess.Process, int, int]]:
    """The process, its port and its internal port, once it is ready."""
    port, internal = free_port(), free_port()
    process = await start(environment(settings, http_port=port, metrics_port=internal, **changes))
    try:
        async with httpx.AsyncClient(timeout=60) as client, asyncio.timeout(PATIENCE):
            while True:
                try:
                    if (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200:
                        break
                except httpx.TransportError:
                    assert process.returncode is None
                await asyncio.sleep(0.05)
        yield process, port, internal
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def refused(port: int) -> None:
    """Until nothing listens any more."""
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                return
            writer.close()
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_open_answers_finish_and_ends_with_0(
    settings: IngressSettings, worker: FakeWorker, number: signal.Signals
) -> None:
    go_on = asyncio.Event()

    async def slow(telling: Telling) -> None:
        await telling.admit()
        await telling.say("begun ")
        await go_on.wait()
        await telling.say("done", finish="stop")
        await telling.end()

    worker.script = slow
    async with running(settings) as (process, port, _), httpx.AsyncClient(timeout=60) as client:
        async with client.stream("POST", f"http://127.0.0.1:{port}/v1/chat/completions", json=BODY) as answer:
            told = ""
            async for line in answer.aiter_lines():
                told += line
                if "begun" in line:
                    process.send_signal(number)
                    await refused(port)
                    go_on.set()
        assert "done" in told
        assert told.endswith("data: [DONE]")
        async with asyncio.timeout(60):
            assert await process.wait() == 0


async def test_what_is_not_finished_when_the_drain_time_is_over_ends_with_an_error(
    settings: IngressSettings, worker: FakeWorker
) -> None:
    async def endless(telling: Telling) -> None:
        await telling.admit()
        while not telling.cancelled.is_set():
            await telling.say("x ")
            await asyncio.sleep(0.02)
        await telling.end("cancelled", "cancelled", "cancelled")

    worker.script = endless
    async with running(settings, drain_timeout=1) as (process, port, _), httpx.AsyncClient(timeout=60) as client:
        async with client.stream("POST", f"http://127.0.0.1:{port}/v1/chat/completions", json=BODY) as answer:
            last, told = "", False
            async for line in answer.aiter_lines():
                if "x " in line and not told:
                    told = True
                    process.terminate()
                last = line or last
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "unavailable"
        async with asyncio.timeout(60):
            assert await process.wait() == 0
            await worker.tellings[0].cancelled.wait()


async def test_the_internal_port_has_metrics_and_the_table_of_models(
    settings: IngressSettings, worker: FakeWorker
) -> None:
    async with running(settings) as (_, port, internal), httpx.AsyncClient(timeout=60) as client:
        body = {**BODY, "stream": False}
        assert (await client.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body)).status_code == 200
        metrics = (await client.get(f"http://127.0.0.1:{internal}/metrics")).text
        labels = 'method="POST",route="/v1/chat/completions",status="200"'
        assert f"agon_http_requests_total{{{labels}}} 1.0" in metrics
        assert "agon_sse_open_streams 0.0" in metrics
        (row,) = (await client.get(f"http://127.0.0.1:{internal}/admin/models")).json()["models"]
        assert (row["model"], row["served"], row["workers"][0]["capacity"]) == (MODEL, True, 8)
        assert (await client.get(f"http://127.0.0.1:{internal}/readyz")).status_code == 200


async def test_a_taken_port_and_a_wrong_setting_are_one_line_and_exit_2(settings: IngressSettings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for env, told in (
            (environment(settings, http_port=port), f"127.0.0.1:{port}"),
            (environment(settings, head_timeout="soon"), "AGON_HEAD_TIMEOUT"),
            (environment(settings, http_port=99999), "AGON_HTTP_PORT"),
        ):
            process = await start(env)
            async with asyncio.timeout(PATIENCE):
                _, error = await process.communicate()
            assert process.returncode == 2
            assert told in error.decode()
            assert len(error.decode().strip().splitlines()) == 1


async def test_it_is_small_and_free_of_torch(settings: IngressSettings, worker: FakeWorker) -> None:
    async with running(settings) as (process, _, _):
        with open(f"/proc/{process.pid}/status", encoding="ascii") as status:  # noqa: ASYNC230, PTH123
            resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
        assert resident < 120 * 1024, f"{resident} KiB"
        with open(f"/proc/{process.pid}/maps", encoding="utf-8") as maps:  # noqa: ASYNC230, PTH123
            assert "torch" not in maps.read()
