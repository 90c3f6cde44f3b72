"""Every limit is a setting: what is at the bound is taken, one beyond is refused with the size and the limit."""

from typing import Any

import pytest

from agon_ingress.bodies.limits import depth
from unit.agon_ingress.offline import TOOL, offline, post

CHAT, TEXT, VECTOR, ITEMS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"
SAID = {"role": "user", "content": "Hi"}
PART = {"type": "text", "text": "a"}
TAKEN = 503  # all is in order, and Kafka is away


def nested(levels: int) -> dict[str, Any]:
    """A schema with so many objects in one another."""
    schema: dict[str, Any] = {}
    for _ in range(levels - 1):
        schema = {"items": schema}
    return schema


def tool(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": schema}}


def named(count: int) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": f"f{number}"}} for number in range(count)]


@pytest.mark.parametrize(
    ("setting", "path", "body", "param"),
    [
        ("max_messages", CHAT, lambda size: {"model": "m", "messages": [SAID] * size}, "messages"),
        ("max_messages", ITEMS, lambda size: {"model": "m", "input": [SAID] * size}, "input"),
        ("max_tools", CHAT, lambda size: {"model": "m", "messages": [SAID], "tools": named(size)}, "tools"),
        ("max_tools", ITEMS, lambda size: {"model": "m", "input": "Hi", "tools": [
            {"type": "function", "name": f"f{number}"} for number in range(size)]}, "tools"),
        ("max_stop", CHAT, lambda size: {"model": "m", "messages": [SAID], "stop": ["a"] * size}, "stop"),
        ("max_stop", TEXT, lambda size: {"model": "m", "prompt": "Hi", "stop": ["a"] * size}, "stop"),
        ("max_n", CHAT, lambda size: {"model": "m", "messages": [SAID], "n": size}, "n"),
        ("max_n", TEXT, lambda size: {"model": "m", "prompt": "Hi", "n": size}, "n"),
        ("max_inputs", TEXT, lambda size: {"model": "m", "prompt": ["Hi"] * size}, "prompt"),
        ("max_inputs", VECTOR, lambda size: {"model": "e", "input": ["Hi"] * size}, "input"),
        ("max_items", CHAT, lambda size: {"model": "m", "messages": [SAID] * size}, "messages"),
        ("max_items", CHAT, lambda size: {"model": "m", "messages": [
            {"role": "user", "content": [PART] * half} for half in (1, size - 1)]}, "messages"),
        ("max_items", ITEMS, lambda size: {"model": "m", "input": [SAID] * size}, "input"),
        ("max_entries", CHAT, lambda size: {"model": "m", "messages": [SAID], "logit_bias": {
            str(number): 1 for number in range(size)}}, "logit_bias"),
        ("max_schema_depth", CHAT, lambda size: {"model": "m", "messages": [SAID], "tools": [tool(nested(size))]},
         "tools[0].function.parameters"),
        ("max_schema_depth", CHAT, lambda size: {"model": "m", "messages": [SAID], "guided_json": nested(size)},
         "guided_json"),
        ("max_schema_depth", ITEMS, lambda size: {"model": "m", "input": "Hi", "text": {"format": {
            "type": "json_schema", "name": "a", "schema": nested(size)}}}, "text.format.schema"),
    ],
)  # fmt: skip
async def test_the_bound_is_taken_and_one_beyond_is_refused(setting: str, path: str, body: Any, param: str) -> None:
    app = offline(**{setting: 3})
    assert (await post(app, path, body(3))).status == TAKEN
    told = await post(app, path, body(4))
    assert (told.status, told.error["param"]) == (400, param)
    assert "3" in told.error["message"]


async def test_token_ids_are_as_many_as_the_body_holds() -> None:
    assert (await post(offline(max_items=3), TEXT, {"model": "m", "prompt": [1] * 9})).status == TAKEN


async def test_the_body_is_measured_in_bytes() -> None:
    app = offline(max_body_bytes=2048)
    body = b'{"model": "m", "messages": [{"role": "user", "content": "' + b"x" * 4096
    at_bound = body[: 2048 - 4] + b'"}]}'
    assert len(at_bound) == 2048
    assert (await post(app, CHAT, at_bound)).status == TAKEN
    told = await post(app, CHAT, body[: 2049 - 4] + b'"}]}')
    assert (told.status, told.error["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(("value", "found"), [(1, 0), ({}, 1), ({"a": [1, {"b": 2}]}, 3), ([[[]]], 3)])
def test_depth_counts_objects_and_arrays(value: Any, found: int) -> None:
    assert depth(value, 10) == found
    assert depth([[[[[]]]]], 3) == 4


async def test_a_model_is_asked_only_for_what_it_can() -> None:
    app = offline()
    told = await post(app, CHAT, {"model": "e", "messages": [SAID]})
    assert (told.status, told.error["param"]) == (400, "model")
    told = await post(app, CHAT, {"model": "text", "messages": [SAID], "tools": [TOOL]})
    assert (told.status, told.error["code"]) == (400, "unsupported_parameter")
    assert (await post(app, CHAT, {"model": "text", "messages": [SAID]})).status == TAKEN


async def test_moderations_are_nobodys_without_a_guard_model() -> None:
    told = await post(offline(), "/v1/moderations", {"input": "Hello!"})
    assert (told.status, told.error["code"]) == (404, "model_not_found")
    assert told.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/uploads", {"bytes": 9, "filename": "a.jsonl", "mime_type": "text/jsonl", "purpose": "batch"}),
        ("/v1/uploads/upload_1/complete", {"part_ids": ["part_1"]}),
        ("/v1/fine_tuning/jobs", {"model": "m", "training_file": "file-1"}),
    ],
)
async def test_what_is_not_here_yet_says_so_to_who_asks_for_it_well(path: str, body: dict[str, Any]) -> None:
    told = await post(offline(), path, body)
    assert (told.status, told.error["code"]) == (501, "not_implemented")
    assert told.headers["x-should-retry"] == "false"
    assert (await post(offline(), path, {})).status == 400


async def test_every_answer_has_its_headers() -> None:
    told = await post(offline(), CHAT, {"model": "m"}, x_client_request_id="mine")
    assert told.headers["x-request-id"].startswith("req_")
    assert told.headers["x-client-request-id"] == "mine"
    assert told.headers["openai-version"] == "2020-10-01"
    assert int(told.headers["openai-processing-ms"]) >= 0
