"""What a generation request takes, and what it refuses."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from agon.messages import GenerationRequest

LEAST = {"request_id": "r1", "model": "nano", "messages": [{"role": "user", "content": "Hello"}]}


def test_the_least_record_is_enough() -> None:
    request = GenerationRequest.model_validate(LEAST)
    assert (request.tenant, request.kind, request.n, request.store) == ("default", "chat", 1, True)
    assert request.key == "default/r1"


def test_it_travels_and_comes_back_the_same() -> None:
    request = GenerationRequest.model_validate(
        {**LEAST, "stop": "END", "seed": -(2**63), "deadline": "2026-11-24T13:00:00+01:00", "metadata": {"a": "b"}}
    )
    assert GenerationRequest.decode(request.encode()) == request
    assert request.stop == ("END",)
    assert request.deadline == datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert b'"deadline":"2026-11-24T12:00:00.000000Z"' in request.encode()


def test_a_field_of_a_later_version_is_ignored() -> None:
    assert GenerationRequest.model_validate({**LEAST, "from_the_future": 1}).model == "nano"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"request_id": "no spaces"}, "request_id"),
        ({"request_id": "x" * 65}, "request_id"),
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "type"),
        ({"prompt": "x"}, "not `prompt`"),
        ({"kind": "completion", "messages": None}, "needs `prompt`"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "differ"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": [""]}, "stop"),
        ({"deadline": "2026-11-24T12:00:00"}, "needs a zone"),
        ({"functions": [{"name": "f"}]}, "unsupported_parameter: functions"),
        ({"suffix": "x", "modalities": ["audio"]}, "unsupported_parameter: suffix, modalities"),
        ({"tools": [{"type": "function"}]}, "tools.0.function"),
        ({"logprobs": 5}, "logprobs"),
        ({"top_logprobs": 2}, "needs `logprobs: true`"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1"),
        ({"logit_bias": {"x": 1}}, "logit_bias.x"),
        ({"min_p": 1.1}, "min_p"),
        ({"typical_p": 0}, "typical_p"),
        ({"presence_penalty": 2.5}, "presence_penalty"),
        ({"frequency_penalty": -2.5}, "frequency_penalty"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"stop_token_ids": [-1]}, "stop_token_ids.0"),
        ({"min_tokens": 3, "max_tokens": 2}, "min_tokens must be at most"),
        ({"n": 3, "best_of": 2}, "at least n"),
        ({"echo": True}, "kind completion"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "json_schema.json_schema"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "tool_calls": [], "content": None}]}, "only an assistant"),
    ],
)
def test_what_is_wrong_is_refused_and_named(change: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        GenerationRequest.model_validate({**LEAST, **change})
    assert says in str(caught.value)


@pytest.mark.parametrize("neutral", [{"presence_penalty": 0}, {"logprobs": False}, {"tools": []}, {"best_of": None}])
def test_an_unsupported_field_that_asks_for_nothing_is_taken(neutral: dict[str, object]) -> None:
    assert GenerationRequest.model_validate({**LEAST, **neutral})


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}},
        {"response_format": {"type": "choice", "choices": ["yes", "no"]}, "logit_bias": {"5": -100}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
        {"kind": "completion", "messages": None, "prompt": [1, 2, 3], "echo": True, "prompt_logprobs": 0},
    ],
)
def test_what_has_parts_travels_whole(fields: dict[str, Any]) -> None:
    request = GenerationRequest.model_validate({**LEAST, **fields})
    assert GenerationRequest.decode(request.encode()) == request


def test_a_schema_travels_under_its_own_name() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    request = GenerationRequest.model_validate(
        {**LEAST, "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}}
    )
    assert json.loads(request.encode())["response_format"]["json_schema"]["schema"] == schema


def test_null_is_as_good_as_left_out() -> None:
    nothing = dict.fromkeys(("n", "presence_penalty", "stop", "stop_token_ids", "logprobs", "min_tokens", "echo"))
    assert GenerationRequest.model_validate({**LEAST, **nothing}) == GenerationRequest.model_validate(LEAST)


def test_an_assistant_that_calls_tools_need_not_say_anything() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "3"},
    ]
    request = GenerationRequest.model_validate({**LEAST, "messages": messages})
    assert request.messages is not None
    assert request.messages[0].text() == ""
    assert request.messages[0].tool_calls is not None
    assert request.messages[0].tool_calls[0].function.name == "add"


def test_text_parts_are_joined_as_they_stand() -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    request = GenerationRequest.model_validate({**LEAST, "messages": [{"role": "user", "content": parts}]})
    assert request.messages is not None
    assert request.messages[0].text() == "Hello"


def test_max_completion_tokens_is_the_newer_name_of_the_limit() -> None:
    assert GenerationRequest.model_validate({**LEAST, "max_completion_tokens": 7}).limit == 7
    assert GenerationRequest.model_validate(LEAST).limit is None
