"""What a killed ingress had reserved comes back, and a Redis that is empty does not make a budget new."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from agon.api_keys import Limits
from agon.store import api_keys
from agon_ingress.access.allowance import BYTES_PER_TOKEN
from integration.agon_ingress.conftest import MODEL, FakeWorker, MakeSettings, Telling
from integration.agon_ingress.test_keys import MESSAGES, SECRET, Keys, opened
from integration.agon_ingress.test_process import running

pytestmark = pytest.mark.servers

PATH = "/v1/chat/completions"
LEASE = timedelta(seconds=4)
CONTEXT = 64  # of the model
HELLO = 3 + 4  # tokens of prompt and answer of the plain script


@pytest.fixture
async def keys(make_settings: MakeSettings, worker: FakeWorker) -> AsyncIterator[Keys]:
    settings = make_settings(key_secret=SECRET, limit_lease=LEASE)
    async with opened(settings) as found:
        yield found


def body(max_tokens: int, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": MESSAGES, "max_tokens": max_tokens, **more}


async def code(client: httpx.AsyncClient, url: str, asked: dict[str, Any]) -> str | None:
    """Of the error; None for an answer."""
    answer = await client.post(url + PATH, json=asked)
    told: str | None = None if answer.is_success else answer.json()["error"]["code"]
    return told


@asynccontextmanager
async def streamed(client: httpx.AsyncClient, url: str, max_tokens: int) -> AsyncIterator[None]:
    """While a stream is under way, which has its first bytes."""
    async with client.stream("POST", url + PATH, json=body(max_tokens, stream=True)) as answer:
        told = answer.aiter_bytes()  # whoever drops this ends the stream
        await anext(told)
        yield


class Quiet:
    """A script that says one word, and ends when it is told to: 3 tokens of prompt and 1 of its own."""

    def __init__(self) -> None:
        self.leave = asyncio.Event()

    async def __call__(self, telling: Telling) -> None:
        await telling.admit()
        await telling.say("x")
        await self.leave.wait()
        await telling.end("cancelled")


async def spent(keys: Keys, key_id: str) -> int:
    (key,) = (one for one in await api_keys.read(keys.connection) if one.key_id == key_id)
    return key.spent_tokens


async def until(told: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    async with asyncio.timeout(60):
        while await told() != wanted:  # noqa: ASYNC110  it asks as a client does
            await asyncio.sleep(0.1)


async def test_what_a_killed_ingress_had_reserved_comes_back_and_what_it_has_sent_is_counted(
    keys: Keys, worker: FakeWorker
) -> None:
    """Two streams take both places of a key, and most of its budget; then their ingress is killed."""
    settings = keys.one.house.settings
    key_id, text = await keys.make(limits=Limits(concurrency=2, budget_tokens=250))
    small, large = body(1), body(CONTEXT)
    async with AsyncExitStack() as stack:
        limit_lease = LEASE.total_seconds()
        process, port, _ = await stack.enter_async_context(
            running(settings, key_secret=SECRET, limit_lease=limit_lease)
        )
        client = await stack.enter_async_context(
            httpx.AsyncClient(headers={"authorization": f"Bearer {text}"}, timeout=60)
        )
        quiet = Quiet()
        told, worker.script = worker.script, quiet
        for _ in range(2):
            await stack.enter_async_context(streamed(client, f"http://127.0.0.1:{port}", CONTEXT))
        worker.script = told
        assert await code(client, keys.other.url, small) == "rate_limit_exceeded"
        process.kill()
        await process.wait()
        await until(lambda: code(client, keys.other.url, small), None)
        # Nothing is held any more: beside what the two might have needed, this one had no room.
        await until(lambda: code(client, keys.one.url, large), None)
        # What the two have cost is counted all the same, once the engine has stopped.
        quiet.leave.set()
        answers = len(worker.tellings) - 2
        await until(lambda: spent(keys, key_id), answers * HELLO + 2 * 4)


async def test_a_redis_that_lost_everything_neither_gives_a_budget_anew_nor_forgets_what_runs(
    keys: Keys, worker: FakeWorker
) -> None:
    large = body(CONTEXT)
    need = len(httpx.Request("POST", "http://x", json=large).content) // BYTES_PER_TOKEN + 1 + CONTEXT
    key_id, text = await keys.make(limits=Limits(concurrency=1, budget_tokens=need + 1))
    redis, names = keys.one.house.redis, keys.one.house.settings.keys.limits("team", key_id)
    quiet = Quiet()

    async with httpx.AsyncClient(headers={"authorization": f"Bearer {text}"}, timeout=60) as client:
        assert await code(client, keys.one.url, body(1)) is None
        await until(lambda: spent(keys, key_id), HELLO)
        told, worker.script = worker.script, quiet
        async with streamed(client, keys.one.url, 1):
            worker.script = told
            await redis.delete(*names)
            # Its ingress says again what it has, and nobody else gets its place.
            await until(lambda: redis.zcard(names[2]), 1)
            assert await code(client, keys.other.url, body(1)) == "rate_limit_exceeded"
        quiet.leave.set()
        await until(lambda: redis.zcard(names[2]), 0)
        await redis.delete(*names)
        assert await code(client, keys.other.url, large) == "insufficient_quota"
