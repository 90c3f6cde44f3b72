"""A client that leaves stops the engine, however and whenever it leaves."""

import asyncio
import json
from typing import Any

import pytest

from agon.stream.gate import Answer
from agon_ingress.settings import IngressSettings
from integration.agon_ingress.conftest import (
    MODEL,
    FakeWorker,
    Ingress,
    Telling,
    eventually,
    register,
    until_cancelled,
)

pytestmark = pytest.mark.servers


ASKED: dict[str, dict[str, Any]] = {
    "chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
    "completions": {"prompt": "Hi"},
    "responses": {"input": "Hi"},
    "embeddings": {"input": "Hi"},
}


class Socket:
    """A client without manners."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, ingress: Ingress) -> "Socket":
        return cls(*await asyncio.open_connection("127.0.0.1", ingress.port))

    async def ask(self, path: str = "chat/completions", **fields: Any) -> None:
        body = json.dumps({"model": MODEL, **ASKED[path], **fields}).encode()
        head = f"POST /v1/{path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)
        await self.writer.drain()

    async def leave(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()

    def vanish(self) -> None:
        """Reset the connection instead of closing it."""
        self.writer.transport.abort()


async def ended(ingress: Ingress, telling: Telling) -> None:
    """The worker was told, and the ingress has let go of everything."""
    async with asyncio.timeout(60):
        await telling.cancelled.wait()
    await eventually(lambda: ingress.house.admission.open == 0)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("how", ["leave", "vanish"])
async def test_leaving_while_tokens_come_stops_the_engine(
    ingress: Ingress, worker: FakeWorker, stream: bool, how: str
) -> None:
    worker.script = until_cancelled
    client = await Socket.to(ingress)
    await client.ask(stream=stream)
    telling = await worker.telling()
    await eventually(lambda: telling.said > 3)
    if stream:
        await client.reader.readuntil(b'"content":"x "')
    if how == "leave":
        await client.leave()
    else:
        client.vanish()
    await ended(ingress, telling)


@pytest.mark.parametrize("stream", [True, False])
async def test_no_endpoint_lets_an_engine_take_a_further_step_for_nobody(
    ingress: Ingress, worker: FakeWorker, settings: IngressSettings, stream: bool
) -> None:
    await register(settings, kinds=("chat", "completion", "embedding"))
    await eventually(lambda: "embedding" in ingress.house.registry.cards[MODEL].kinds)
    steps = asyncio.Semaphore(0)

    async def stepped(telling: Telling) -> None:
        await telling.admit()
        while True:
            await steps.acquire()
            if await telling.say("x ") is Answer.CANCELLED:
                return await telling.end("cancelled", "cancelled", "cancelled")

    worker.script = stepped
    for number, path in enumerate(path for path in ASKED if not (stream and path == "embeddings")):
        client = await Socket.to(ingress)
        await client.ask(path, stream=stream)
        telling = await worker.telling(number)
        for _ in range(4):
            steps.release()
        await eventually(lambda: telling.said == 5)  # noqa: B023  its admission and four tokens
        await client.leave()
        mark = settings.keys.cancel(telling.request.tenant, telling.request.request_id)
        async with asyncio.timeout(60):
            while not await ingress.house.redis.exists(mark):  # noqa: ASYNC110  it is set in Redis
                await asyncio.sleep(0.01)
        steps.release()
        await ended(ingress, telling)
        assert telling.said == 5, path


async def test_leaving_before_admission_stops_the_engine(ingress: Ingress, worker: FakeWorker) -> None:
    left = asyncio.Event()

    async def queued(telling: Telling) -> None:
        await left.wait()
        await until_cancelled(telling)

    worker.script = queued
    client = await Socket.to(ingress)
    await client.ask(stream=True)
    telling = await worker.telling()
    await client.leave()
    await eventually(lambda: ingress.house.admission.open == 0)
    left.set()
    await ended(ingress, telling)
    assert telling.said <= 1, "not a token for nobody"


async def test_a_client_that_stays_to_the_end_cancels_nothing(ingress: Ingress, worker: FakeWorker) -> None:
    client = await Socket.to(ingress)
    for _ in range(2):  # the connection is kept
        await client.ask(stream=True)
        await client.reader.readuntil(b"data: [DONE]")
        await client.reader.readuntil(b"0\r\n\r\n")
    await client.leave()
    await eventually(lambda: ingress.house.admission.open == 0)
    for telling in worker.tellings:
        assert not await ingress.house.redis.exists(
            ingress.house.settings.keys.cancel(telling.request.tenant, telling.request.request_id)
        )


async def test_a_client_that_does_not_read_holds_up_nobody_else(ingress: Ingress, worker: FakeWorker) -> None:
    async def flood(telling: Telling) -> None:
        await telling.admit()
        if telling.request.metadata.get("who") == "deaf":
            for _ in range(400):
                await telling.say("x" * 20_000)
        await telling.say("ok", finish="stop")
        await telling.end()

    worker.script = flood
    deaf = await Socket.to(ingress)
    await deaf.ask(stream=True, metadata={"who": "deaf"})
    telling = await worker.telling()
    await eventually(lambda: telling.said > 400, 60)
    other = await Socket.to(ingress)
    await other.ask(stream=True)
    async with asyncio.timeout(60):
        await other.reader.readuntil(b"data: [DONE]")
    await other.leave()
    got, total = b"", 0
    async with asyncio.timeout(60):
        while not got.endswith(b"0\r\n\r\n"):
            got = got[-5:] + (data := await deaf.reader.read(1 << 20))
            total += data.count(b"x")
            assert data
    assert total >= 400 * 20_000, "and gets all of it when it reads at last"
    await deaf.leave()
