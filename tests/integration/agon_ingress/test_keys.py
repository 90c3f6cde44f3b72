"""Keys on a running ingress: closed with the first one, open to the holder alone, closed again soon after it ends."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import pytest
from openai import AuthenticationError, PermissionDeniedError, RateLimitError

from agon.api_keys import ApiKey, Limits, keyed_hash, mint, remint
from agon.cli import server as command_line
from agon.errors import SetupError
from agon.messages import now
from agon.store import api_keys
from integration.agon_ingress.conftest import (
    MODEL,
    FakeWorker,
    Ingress,
    MakeSettings,
    eventually,
    hello,
    serving,
    until_cancelled,
)
from support.waiting import PATIENCE

pytestmark = pytest.mark.servers

SECRET = "of-this-server"
MESSAGES: Any = [{"role": "user", "content": "x"}]


@dataclass
class Keys:
    """The table of keys, and two ingresses that go by it."""

    connection: Any
    one: Ingress
    other: Ingress

    async def make(self, tenant: str = "team", limits: Limits | None = None, **fields: Any) -> tuple[str, str]:
        """Id and text of a new key, once both know it."""
        key_id, text = mint()
        key = ApiKey(key_id, tenant, "t", keyed_hash(SECRET, text), now(), limits=limits or Limits(), **fields)
        await api_keys.add(self.connection, key)
        await self.until(401, None)
        await self.until(200, text)
        return key_id, text

    async def until(self, status: int, text: str | None, within: float = PATIENCE) -> None:
        """Wait until both ingresses answer this."""
        headers = {} if text is None else {"authorization": f"Bearer {text}"}
        for ingress in (self.one, self.other):
            async with (
                asyncio.timeout(within),
                httpx.AsyncClient(base_url=ingress.url, headers=headers, timeout=60) as client,
            ):
                while (await client.get("/v1/models")).status_code != status:  # noqa: ASYNC110  it looks as a client does
                    await asyncio.sleep(0.05)


@asynccontextmanager
async def opened(settings: Any) -> AsyncIterator[Keys]:
    async with serving(settings) as one, serving(settings) as other:
        await eventually(lambda: one.serves() and other.serves())
        connection = await asyncpg.connect(settings.postgres_url)
        try:
            yield Keys(connection, one, other)
        finally:
            await connection.close()


@pytest.fixture
async def keys(make_settings: MakeSettings, worker: FakeWorker) -> AsyncIterator[Keys]:
    async with opened(make_settings(key_secret=SECRET)) as found:
        yield found


async def test_the_first_key_closes_the_api_to_all_who_have_none(keys: Keys, worker: FakeWorker) -> None:
    answer = await keys.one.client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert answer.choices[0].message.content == "Hello wörld"
    _, text = await keys.make()
    await keys.until(401, None)
    with pytest.raises(AuthenticationError) as caught:
        await keys.one.client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert caught.value.code == "invalid_api_key"
    assert caught.value.response.headers["x-should-retry"] == "false"
    mine = keys.one.client.with_options(api_key=text)
    answer = await mine.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert answer.choices[0].message.content == "Hello wörld"
    assert [telling.request.tenant for telling in worker.tellings] == ["default", "team"]
    async with httpx.AsyncClient(base_url=keys.one.url, timeout=60) as client:
        for path in ("/", "/healthz", "/readyz", "/openapi.json"):
            assert (await client.get(path)).status_code == 200
        for path in ("/v1/models", "/v1/nothing", "/arena/leaderboard"):
            assert (await client.get(path)).status_code == 401
    with pytest.raises(SetupError, match="take it from AGON_API_KEY"):
        await asyncio.to_thread(command_line.get, keys.one.url, "/v1/models")


async def test_a_revoked_key_is_soon_refused_everywhere(keys: Keys) -> None:
    key_id, text = await keys.make()
    await api_keys.revoke(keys.connection, key_id)
    await keys.until(401, text)
    await keys.until(401, None)  # ending the last key opens nothing


async def test_a_rotated_key_opens_with_both_texts_until_the_old_one_is_over(keys: Keys) -> None:
    key_id, old = await keys.make()
    new = remint(key_id)
    await api_keys.rotate(keys.connection, key_id, keyed_hash(SECRET, new), now())
    await keys.until(200, new)
    await keys.until(401, old)


async def test_a_key_with_models_sees_and_asks_no_others(keys: Keys) -> None:
    _, text = await keys.make(models=frozenset({"another"}))
    mine = keys.one.client.with_options(api_key=text)
    assert (await mine.models.list()).data == []
    with pytest.raises(PermissionDeniedError) as caught:
        await mine.models.retrieve(MODEL)
    assert caught.value.code == "model_not_found"
    with pytest.raises(PermissionDeniedError):
        await mine.chat.completions.create(model=MODEL, messages=MESSAGES)


async def test_when_a_key_was_used_is_noted(keys: Keys) -> None:
    key_id, _ = await keys.make()

    async def used() -> Any:
        return await keys.connection.fetchval("SELECT last_used_at FROM agon.api_keys WHERE key_id = $1", key_id)

    async with asyncio.timeout(60):
        while await used() is None:  # noqa: ASYNC110  it looks at a table
            await asyncio.sleep(0.05)


async def test_no_log_has_a_key(keys: Keys, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    _, text = await keys.make()
    await keys.one.client.with_options(api_key=text).chat.completions.create(model=MODEL, messages=MESSAGES)
    with pytest.raises(AuthenticationError):
        await keys.one.client.with_options(api_key=f"{text[:-1]}!").models.list()
    secret = text.partition("_")[2]
    assert secret[:-1] not in "\n".join(
        record.getMessage() for record in caplog.records if not record.name.startswith(("openai", "httpx", "httpcore"))
    )


async def test_away_from_loopback_it_is_closed_until_there_is_a_key(
    make_settings: MakeSettings, worker: FakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    settings = make_settings(key_secret=SECRET, http_host="0.0.0.0")
    async with opened(settings) as keys:
        await keys.until(401, None)
        assert "not loopback" in caplog.text
        _, text = await keys.make()
        await keys.until(200, text)


async def test_who_says_so_has_it_open_away_from_loopback(
    make_settings: MakeSettings, worker: FakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(make_settings(key_secret=SECRET, http_host="0.0.0.0", insecure=True)) as keys:
        await keys.until(200, None)
        assert "open to everybody" in caplog.text


async def test_of_200_requests_at_once_exactly_as_many_pass_as_a_key_may(keys: Keys, worker: FakeWorker) -> None:
    _, text = await keys.make(limits=Limits(requests_per_minute=50, tokens_per_minute=10**6))
    body = {"model": MODEL, "messages": MESSAGES, "max_tokens": 7}
    pool = httpx.Limits(max_connections=50)
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {text}"}, timeout=60, limits=pool) as client:
        told = await asyncio.gather(
            *(client.post(f"{(keys.one, keys.other)[n % 2].url}/v1/chat/completions", json=body) for n in range(200))
        )
    passed = [answer for answer in told if answer.status_code == 200]
    refused = [answer for answer in told if answer.status_code == 429]
    others = [answer.text for answer in told if answer not in passed and answer not in refused]
    assert (len(passed), len(refused)) == (50, 150), Counter(others)
    assert len(worker.tellings) == 50
    left = sorted(int(answer.headers["x-ratelimit-remaining-requests"]) for answer in passed)
    assert left == list(range(50))
    assert {answer.headers["x-ratelimit-limit-tokens"] for answer in told} == {"1000000"}
    for answer in refused:
        assert 0 < int(answer.headers["retry-after-ms"]) <= 60_000
        assert answer.headers["x-should-retry"] == "true"
        assert answer.headers["x-ratelimit-remaining-requests"] == "0"
        assert answer.json()["error"]["code"] == "rate_limit_exceeded"


async def test_a_budget_is_spent_by_the_engine_s_counts_and_enforced_before_work(
    keys: Keys, worker: FakeWorker
) -> None:
    key_id, text = await keys.make(limits=Limits(budget_tokens=200))
    mine = keys.one.client.with_options(api_key=text)

    async def spent() -> Any:
        return await keys.connection.fetchval("SELECT spent_tokens FROM agon.api_keys WHERE key_id = $1", key_id)

    whole = await mine.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=20)
    assert whole.usage is not None
    await eventually_async(lambda: spent(), whole.usage.total_tokens)
    stream = await mine.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=20, stream=True)
    async for _ in stream:
        pass
    await eventually_async(lambda: spent(), 2 * whole.usage.total_tokens)
    with pytest.raises(RateLimitError) as caught:
        await keys.other.client.with_options(api_key=text).chat.completions.create(
            model=MODEL, messages=MESSAGES, n=10, max_tokens=20
        )
    assert caught.value.code == "insufficient_quota"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert len(worker.tellings) == 2


async def test_a_client_that_leaves_gives_its_place_back_and_pays_for_what_was_generated(
    keys: Keys, worker: FakeWorker
) -> None:
    _, text = await keys.make(limits=Limits(concurrency=1))
    worker.script = until_cancelled
    mine = keys.one.client.with_options(api_key=text)
    stream = await mine.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
    with pytest.raises(RateLimitError, match="under way"):
        await keys.other.client.with_options(api_key=text).chat.completions.create(model=MODEL, messages=MESSAGES)
    await anext(aiter(stream))
    await stream.close()
    telling = await worker.telling()
    await asyncio.wait_for(telling.cancelled.wait(), 60)
    worker.script = hello
    async with asyncio.timeout(60):
        while True:
            try:
                await mine.chat.completions.create(model=MODEL, messages=MESSAGES)
                break
            except RateLimitError:
                await asyncio.sleep(0.05)
    spent = keys.one.house.keyring.spent(next(key for key in await api_keys.read(keys.connection)))
    assert spent >= 3 + sum(telling._at)  # its prompt, and each token that the worker has written


async def eventually_async(found: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    async with asyncio.timeout(60):
        while await found() != wanted:  # noqa: ASYNC110  it looks at a table
            await asyncio.sleep(0.05)
