"""Every endpoint says the same, streamed or not: text, usage, and what is recorded of it."""

import json
from typing import Any

import asyncpg
import httpx
import pytest

from integration.clients.conftest import EXACT, MINILM, Api
from support.voting import eventually

pytestmark = pytest.mark.servers

ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Tell me a story."}], "max_tokens": 24},
    "/v1/completions": {"prompt": "Once upon a time", "max_tokens": 24},
    "/v1/responses": {"input": "Tell me a story.", "max_output_tokens": 24},
}
RECORDED = (
    "kind", "status", "error_code", "finish_reasons", "prompt_tokens", "completion_tokens", "reasoning_tokens",
)  # fmt: skip


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def whole_of(told: dict[str, Any]) -> tuple[str, Any]:
    """Text and usage of an answer that came at once."""
    if told["object"] == "response":
        return "".join(part["text"] for item in told["output"] for part in item["content"]), told["usage"]
    choice = told["choices"][0]
    return choice["text"] if "text" in choice else choice["message"]["content"], told["usage"]


def streamed_of(told: list[dict[str, Any]]) -> tuple[str, Any]:
    """The same, of events."""
    if told[-1].get("type") == "response.incomplete":
        text = "".join(event["delta"] for event in told if event["type"] == "response.output_text.delta")
        return text, told[-1]["response"]["usage"]
    choices = [chunk["choices"][0] for chunk in told if chunk["choices"]]
    text = "".join(one["text"] if "text" in one else one["delta"].get("content") or "" for one in choices)
    return text, told[-1]["usage"]


async def recorded(api: Api, name: str) -> tuple[Any, ...]:
    connection = await asyncpg.connect(api.environment["AGON_POSTGRES_URL"])
    try:

        async def row() -> Any:
            return await connection.fetchrow("SELECT * FROM agon.requests WHERE request_id = $1", name)

        found = await eventually(f"{name} is recorded", row)
        text = await connection.fetchval("SELECT content FROM agon.completion_texts WHERE request_id = $1", name)
        return (*(found[name] for name in RECORDED), text)
    finally:
        await connection.close()


@pytest.mark.parametrize("path", ASKED)
async def test_stream_and_whole_answer_say_the_same(api: Api, path: str) -> None:
    """In float64, so that which other requests run in a step changes no draw."""
    asked = {"model": EXACT, "seed": 11, "temperature": 1.0, "cache_salt": path, "store": True, **ASKED[path]}
    if path == "/v1/responses":
        del asked["cache_salt"]
    usage = {} if path == "/v1/responses" else {"stream_options": {"include_usage": True}}
    async with httpx.AsyncClient(base_url=api.url, timeout=60) as http:
        await http.post(path, json=asked)  # what a prompt finds in the cache is the same for those that follow
        whole = (await http.post(path, json=asked)).json()
        told = events(await http.post(path, json={**asked, "stream": True, **usage}))
    text, cost = whole_of(whole)
    assert streamed_of(told) == (text, cost)
    assert text
    streamed_name = told[0]["response"]["id"] if path == "/v1/responses" else told[0]["id"]
    kept = await recorded(api, whole["id"])
    assert kept == await recorded(api, streamed_name)
    counts = (
        cost.get("prompt_tokens", cost.get("input_tokens")),
        cost.get("completion_tokens", cost.get("output_tokens")),
    )
    assert kept[4:6] == counts
    assert kept[-1] == (None if path == "/v1/completions" else text)


async def test_an_embedding_costs_what_is_recorded(api: Api) -> None:
    async with httpx.AsyncClient(base_url=api.url, timeout=60) as http:
        answer = await http.post("/v1/embeddings", json={"model": MINILM, "input": "Hello there"})
    name = "embd-" + answer.headers["x-request-id"].removeprefix("req_")
    kept = await recorded(api, name)
    assert (kept[4], kept[5]) == (answer.json()["usage"]["prompt_tokens"], 0)
