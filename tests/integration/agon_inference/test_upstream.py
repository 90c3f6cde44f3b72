"""A model behind another server: its answers go the same way, and are honest about what can't be resumed."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from support.workers import Client, StartWorker

pytestmark = pytest.mark.servers

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
MODEL = "far"


def chunk(content: str, reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": reason}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


@asynccontextmanager
async def upstream(*, stalls: bool) -> AsyncIterator[str]:
    """Says `one two three`; one that stalls goes silent after the first word."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEAD + chunk("one "))
            await writer.drain()
            if stalls:
                await reader.read()  # until the client leaves
            else:
                usage = b'data: {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 9}}\n\n'
                writer.write(chunk("two ") + chunk("three", "stop") + usage + b"data: [DONE]\n\n")
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


async def test_an_upstreams_answer_becomes_a_completion(client: Client, start_worker: StartWorker) -> None:
    async with upstream(stalls=False) as url:
        start_worker("w1", f"{MODEL}=upstream:{url}")
        await client.reading("w1", model=MODEL)
        (done,) = await client.completed(await client.ask(MODEL))
        assert (done.status, done.choices[0].message.content) == ("finished", "one two three")
        assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (4, 9)


@pytest.mark.kill
async def test_an_upstreams_answer_that_was_begun_ends_when_its_worker_is_killed(
    client: Client, start_worker: StartWorker
) -> None:
    async with upstream(stalls=True) as url:
        doomed = start_worker("w1", f"{MODEL}=upstream:{url}")
        await client.reading("w1", model=MODEL)
        request_id = await client.ask(MODEL)
        await client.emitting(request_id, 1)
        start_worker("w2", f"{MODEL}=upstream:{url}")
        doomed.kill()
        (done,) = await client.completed(request_id)
        assert done.status == "failed"
        assert done.error is not None
        assert done.error.code == "worker_lost"
        assert done.choices[0].message.content == "one "


async def test_cancelling_leaves_the_upstream(client: Client, start_worker: StartWorker) -> None:
    async with upstream(stalls=True) as url:
        start_worker("w1", f"{MODEL}=upstream:{url}")
        await client.reading("w1", model=MODEL)
        request_id = await client.ask(MODEL)
        await client.emitting(request_id, 1)
        await client.gate.cancel("default", request_id, MODEL)
        (done,) = await client.completed(request_id)
        assert done.status == "cancelled"
