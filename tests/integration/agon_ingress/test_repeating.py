"""`Idempotency-Key`: the same answer, and the engine answers once; whoever is asked, and whoever has left or died."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest

from agon.stream.repeats import Repeats
from integration.agon_ingress.conftest import (
    MODEL,
    FakeWorker,
    Ingress,
    MakeSettings,
    Telling,
    eventually,
    hello,
    serving,
)

pytestmark = pytest.mark.servers

PATH = "/v1/chat/completions"
BODY: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "x"}]}


@dataclass
class Two:
    """Two ingresses, and a client of each."""

    one: Ingress
    other: Ingress
    client: httpx.AsyncClient

    async def ask(self, ingress: Ingress, key: str | None, **changes: Any) -> httpx.Response:
        headers = {} if key is None else {"idempotency-key": key}
        return await self.client.post(f"{ingress.url}{PATH}", json=BODY | changes, headers=headers)


@pytest.fixture
async def two(make_settings: MakeSettings, worker: FakeWorker) -> AsyncIterator[Two]:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(serving(make_settings()))
        other = await stack.enter_async_context(serving(make_settings(idempotency_answers=1)))
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=60))
        await eventually(lambda: one.serves() and other.serves())
        yield Two(one, other, client)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_same_key_and_body_give_the_same_answer_once(two: Two, worker: FakeWorker, stream: bool) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    first = await two.ask(two.one, "k-1", **options)
    assert first.status_code == 200
    assert "idempotent-replayed" not in first.headers
    for ingress in (two.one, two.other):
        again = await two.ask(ingress, "k-1", **options)
        assert again.headers["idempotent-replayed"] == "true"
        assert again.headers["x-request-id"] != first.headers["x-request-id"]
        assert (again.status_code, _told(again)) == (200, _told(first))
    assert len(worker.tellings) == 1
    await two.ask(two.one, "k-2", **options)
    await two.ask(two.one, None, **options)
    assert len(worker.tellings) == 3


async def test_another_body_under_the_same_key_is_refused(two: Two, worker: FakeWorker) -> None:
    await two.ask(two.one, "k")
    for changes in ({"n": 2}, {"stream": True}):
        refused = await two.ask(two.other, "k", **changes)
        assert refused.status_code == 422
        assert refused.json()["error"]["code"] == "idempotency_key_reused"
        assert refused.headers["x-should-retry"] == "false"
    assert len(worker.tellings) == 1


async def test_a_request_that_was_wrong_leaves_its_key_free(two: Two) -> None:
    assert (await two.ask(two.one, "k", n=0)).status_code == 400
    assert (await two.ask(two.one, "k")).status_code == 200


@pytest.mark.parametrize("key", ["a b", "x" * 256, "\u00e9".encode().decode("latin-1")])
async def test_what_is_no_key_is_refused(two: Two, key: str) -> None:
    refused = await two.client.post(
        f"{two.one.url}{PATH}", json=BODY, headers=[(b"idempotency-key", key.encode("latin-1"))]
    )
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "idempotency-key")


async def test_whoever_comes_back_reads_on_and_the_engine_was_not_stopped(two: Two, worker: FakeWorker) -> None:
    go_on = asyncio.Event()

    async def slowly(telling: Telling) -> None:
        await telling.admit()
        await telling.say("Hello")
        await go_on.wait()
        await telling.say(" again", finish="stop")
        await telling.end()

    worker.script = slowly
    leaving = asyncio.create_task(two.ask(two.one, "k"))
    telling = await worker.telling()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await eventually(lambda: two.one.house.admission.open == 0)
    waiting = asyncio.create_task(two.ask(two.other, "k"))
    go_on.set()
    answer = await waiting
    assert answer.json()["choices"][0]["message"]["content"] == "Hello again"
    assert not telling.cancelled.is_set()
    assert len(worker.tellings) == 1


async def test_a_request_whose_ingress_died_before_kafka_had_it_is_answered_once(
    two: Two, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    produced = two.one.house.producer.produce

    async def die(*arguments: Any, **more: Any) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr(two.one.house.producer, "produce", die)
    assert (await two.ask(two.one, "k")).status_code == 503
    monkeypatch.setattr(two.one.house.producer, "produce", produced)
    told = await asyncio.gather(two.ask(two.one, "k"), two.ask(two.other, "k"))
    assert [answer.status_code for answer in told] == [200, 200]
    assert told[0].json() == told[1].json()
    assert len(worker.tellings) == 1


async def test_what_is_kept_is_bounded_and_what_is_gone_is_never_answered_anew(
    two: Two, worker: FakeWorker, make_settings: MakeSettings
) -> None:
    house = two.other.house
    keys = house.settings.keys
    for number in range(3):
        worker.script = hello
        assert (await two.ask(two.other, f"k-{number}")).status_code == 200
        request = (await worker.telling(number)).request
        # As the worker of the house does when the completion is on Kafka.
        await house.gate.complete(request.tenant, request.request_id, "s", "d")
        await _eventually_kept(two, request.request_id)
        await house.redis.delete(keys.frames(request.tenant, request.request_id))
    kept = keys.kept("default", request.request_id)
    async with asyncio.timeout(60):
        while await house.redis.zrange(keys.all_kept, 0, -1) != [kept.encode()]:  # noqa: ASYNC110  as a client does
            await asyncio.sleep(0.02)
    left = timedelta(milliseconds=await house.redis.pttl(keys.kept("default", request.request_id)))
    assert timedelta(minutes=59) < left <= house.settings.idempotency_life
    assert (await two.ask(two.one, "k-2")).status_code == 200
    gone = await two.ask(two.one, "k-0")
    assert (gone.status_code, gone.json()["error"]["code"]) == (409, "answer_gone")
    assert len(worker.tellings) == 3


async def test_of_an_answer_that_is_too_large_nothing_is_kept(two: Two, worker: FakeWorker) -> None:
    await two.ask(two.one, None)  # with a key the ingress would keep it by itself, at a time of its own
    name, house = (await worker.telling()).request.request_id, two.one.house
    size = int(await house.redis.hget(house.settings.keys.owner("default", name), "bytes"))
    for most in (size - 1, size):
        repeats = Repeats(house.redis, house.settings.keys, most_bytes=most, most=9)
        await repeats.keep("default", name, timedelta(minutes=1))
        assert bool(await repeats.kept("default", name)) == (most == size)


async def _eventually_kept(two: Two, request_id: str) -> None:
    async with asyncio.timeout(60):
        while not await two.one.house.repeating.repeats.kept("default", request_id):  # noqa: ASYNC110  as a client does
            await asyncio.sleep(0.02)


def _told(answer: httpx.Response) -> Any:
    """The whole answer; of a stream its events, whose cuts are not part of it."""
    if not answer.headers["content-type"].startswith("text/event-stream"):
        return answer.json()
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]
