"""A chat through the ingress, Kafka, the gate and back, as the official client sees it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from openai import APIError, APIStatusError, BadRequestError, InternalServerError

from agon.messages import now
from integration.agon_ingress.conftest import MODEL, FakeWorker, Ingress, MakeSettings, Telling, eventually, serving

pytestmark = pytest.mark.servers

MESSAGES: Any = [{"role": "user", "content": "Hello?"}]


async def raw_events(ingress: Ingress, **fields: Any) -> AsyncIterator[str]:
    """The events of a stream, as lines on the wire."""
    body = {"model": MODEL, "messages": MESSAGES, "stream": True, **fields}
    async with (
        httpx.AsyncClient(timeout=60) as client,
        client.stream("POST", f"{ingress.url}/v1/chat/completions", json=body) as response,
    ):
        assert response.status_code == 200
        async for line in response.aiter_lines():
            if line:
                yield line


async def test_a_whole_answer_has_every_choice_and_the_counts(ingress: Ingress) -> None:
    answer = await ingress.client.chat.completions.create(model=MODEL, messages=MESSAGES, n=2)
    assert [choice.message.content for choice in answer.choices] == ["Hello wörld"] * 2
    assert [choice.finish_reason for choice in answer.choices] == ["stop"] * 2
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == MODEL
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (3, 8, 11)
    assert answer._request_id is not None
    assert answer._request_id.removeprefix("req_") == answer.id.removeprefix("chatcmpl-")


async def test_a_stream_follows_openais_rules(ingress: Ingress) -> None:
    stream = await ingress.client.chat.completions.create(
        model=MODEL, messages=MESSAGES, n=2, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    *told, last = chunks
    for index in range(2):
        of_choice = [chunk.choices[0] for chunk in told if chunk.choices[0].index == index]
        assert of_choice[0].delta.role == "assistant"
        assert "".join(choice.delta.content or "" for choice in of_choice) == "Hello wörld"
        assert [choice.finish_reason for choice in of_choice if choice.finish_reason] == ["stop"]
    assert all(chunk.usage is None for chunk in told)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == 11


async def test_the_wire_form_of_a_stream(ingress: Ingress) -> None:
    lines = [line async for line in raw_events(ingress)]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    assert all("usage" not in json.loads(line[6:]) for line in lines[:-1])


async def test_tokens_come_as_they_are_said(ingress: Ingress, worker: FakeWorker) -> None:
    heard = asyncio.Event()

    async def waiting(telling: Telling) -> None:
        await telling.admit()
        await telling.say("first")
        await heard.wait()
        await telling.say("", finish="stop")
        await telling.end()

    worker.script = waiting
    async for line in raw_events(ingress):
        if "first" in line:
            heard.set()
    assert heard.is_set()


async def test_what_the_workers_get(ingress: Ingress, worker: FakeWorker) -> None:
    await ingress.client.chat.completions.create(
        model=MODEL,
        messages=MESSAGES,
        max_tokens=7,
        temperature=0.5,
        stop="x",
        metadata={"a": "b"},
        extra_body={"top_k": 3, "ignore_eos": True},
        extra_headers={"x-timeout-ms": "60000"},
    )
    request = worker.tellings[0].request
    assert (request.limit, request.temperature, request.stop, request.top_k) == (7, 0.5, ("x",), 3)
    assert request.ignore_eos
    assert request.metadata == {"a": "b"}
    assert request.seed is not None, "a request without a seed gets one"
    assert request.reply_to == ingress.house.ingress_id
    assert not request.store
    assert request.deadline is not None
    assert 0 < (request.deadline - now()).total_seconds() <= 60
    assert not request.detached


async def test_a_script_goes_along_in_test_mode_alone(
    ingress: Ingress, worker: FakeWorker, make_settings: MakeSettings
) -> None:
    async with serving(make_settings(test_mode=True)) as testing:
        await eventually(testing.serves)
        for one in (ingress, testing):
            await one.client.chat.completions.create(
                model=MODEL, messages=MESSAGES, extra_headers={"x-agon-script": "text=Hi"}
            )
    assert [telling.request.metadata for telling in worker.tellings] == [{}, {"agon-script": "text=Hi"}]


async def test_a_seed_that_was_given_is_kept(ingress: Ingress, worker: FakeWorker) -> None:
    await ingress.client.chat.completions.create(model=MODEL, messages=MESSAGES, seed=-5)
    assert worker.tellings[0].request.seed == -5


async def test_an_error_before_the_first_token_has_its_status(ingress: Ingress, worker: FakeWorker) -> None:
    async def refuse(telling: Telling) -> None:
        await telling.end("failed", "the prompt is too long", "context_length_exceeded")

    worker.script = refuse
    for stream in (False, True):
        with pytest.raises(BadRequestError) as caught:
            await ingress.client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=stream)
        assert caught.value.code == "context_length_exceeded"
        assert caught.value.response.headers["x-should-retry"] == "false"


async def test_an_error_after_tokens_is_an_event_in_a_stream_and_a_status_of_a_whole_answer(
    ingress: Ingress, worker: FakeWorker
) -> None:
    async def break_down(telling: Telling) -> None:
        await telling.admit()
        await telling.say("Hel")
        await telling.end("failed", "the engine broke", "engine_failed")

    worker.script = break_down
    stream = await ingress.client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
    said: list[str] = []

    async def listen() -> None:
        async for chunk in stream:
            said.extend(chunk.choices[0].delta.content or "")

    with pytest.raises(APIError, match="the engine broke") as caught:
        await listen()
    assert "".join(said) == "Hel"
    assert caught.value.code == "engine_failed"
    with pytest.raises(InternalServerError, match="the engine broke") as failed:
        await ingress.client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert failed.value.response.headers["x-should-retry"] == "false", "it ran: repeating it would run it twice"


async def test_when_one_of_several_prompts_fails_the_stream_ends_and_the_others_stop(
    make_settings: MakeSettings, worker: FakeWorker
) -> None:
    over = asyncio.Event()

    async def script(telling: Telling) -> None:
        await telling.admit()
        await telling.say("x ")
        if telling.request.request_id.endswith("-0"):
            await eventually(lambda: all(told.said for told in worker.tellings) and len(worker.tellings) == 2)
            await telling.end("failed", "it broke", "engine_failed")
        else:
            await over.wait()
            await telling.say("y")

    worker.script = script
    # So long that the stream would not end in time if it waited for a word of the other one.
    async with serving(make_settings(heartbeat_every=120)) as ingress:
        await eventually(ingress.serves)
        async with asyncio.timeout(60):
            with pytest.raises(APIError, match="it broke"):
                async for _ in await ingress.client.with_options(timeout=30).completions.create(
                    model=MODEL, prompt=["a", "b"], stream=True
                ):
                    pass
            await eventually(lambda: ingress.house.admission.open == 0)
        over.set()
        other = next(told for told in worker.tellings if told.request.request_id.endswith("-1"))
        await other.cancelled.wait()


async def test_the_head_waits_for_admission_and_then_for_no_longer(
    make_settings: MakeSettings, worker: FakeWorker
) -> None:
    go_on = asyncio.Event()

    async def queued(telling: Telling) -> None:
        await go_on.wait()
        await telling.admit()
        await telling.say("late", finish="stop")
        await telling.end()

    worker.script = queued
    async with serving(make_settings(head_timeout=0.3, heartbeat_every=0.1)) as ingress:
        await eventually(ingress.serves)
        lines = []
        async for line in raw_events(ingress):
            lines.append(line)
            if lines.count(": waiting") == 3:
                go_on.set()
    assert lines.index(": waiting") == 0
    assert '"role":"assistant"' in next(line for line in lines if line.startswith("data"))
    assert lines[-1] == "data: [DONE]"


async def test_a_deadline_that_nobody_keeps_ends_the_request(make_settings: MakeSettings, worker: FakeWorker) -> None:
    async def silent(telling: Telling) -> None:
        await telling.admit()

    worker.script = silent
    async with serving(make_settings(deadline_grace=0.1)) as ingress:
        await eventually(ingress.serves)
        with pytest.raises(APIStatusError) as caught:
            await ingress.client.chat.completions.create(
                model=MODEL, messages=MESSAGES, extra_headers={"x-timeout-ms": "200"}
            )
        assert (caught.value.status_code, caught.value.code) == (504, "deadline_exceeded")
        with pytest.raises(APIError, match="deadline"):
            [
                chunk
                async for chunk in await ingress.client.chat.completions.create(
                    model=MODEL, messages=MESSAGES, stream=True, extra_headers={"x-timeout-ms": "200"}
                )
            ]
        for number in (0, 1):
            telling = await worker.telling(number)
            async with asyncio.timeout(60):
                while not telling.cancelled.is_set():
                    await telling.say("still there?")


async def test_one_request_too_many_is_told_when_to_come_back(make_settings: MakeSettings, worker: FakeWorker) -> None:
    go_on = asyncio.Event()

    async def waiting(telling: Telling) -> None:
        await telling.admit()
        await go_on.wait()
        await telling.say("ok", finish="stop")
        await telling.end()

    worker.script = waiting
    async with serving(make_settings(max_concurrent_requests=1)) as ingress:
        await eventually(ingress.serves)
        first = asyncio.create_task(ingress.client.chat.completions.create(model=MODEL, messages=MESSAGES))
        await worker.telling()
        with pytest.raises(APIStatusError) as caught:
            await ingress.client.chat.completions.create(model=MODEL, messages=MESSAGES)
        assert caught.value.status_code == 429
        assert int(caught.value.response.headers["retry-after-ms"]) > 0
        go_on.set()
        assert (await first).choices[0].message.content == "ok"
        assert (await ingress.client.chat.completions.create(model=MODEL, messages=MESSAGES)).choices


async def test_ignored_fields_are_named_on_the_answer(ingress: Ingress) -> None:
    for stream in (False, True):
        answer = await ingress.client.chat.completions.with_raw_response.create(
            model=MODEL, messages=MESSAGES, stream=stream, extra_body={"zebra": 1}
        )
        assert answer.headers["x-ignored-params"] == "zebra"


async def test_requests_of_one_conversation_go_to_one_partition(ingress: Ingress, worker: FakeWorker) -> None:
    for _ in range(4):
        await ingress.client.chat.completions.create(model=MODEL, messages=MESSAGES, prompt_cache_key="talk")
    assert len({telling.source.split("/")[1] for telling in worker.tellings}) == 1
