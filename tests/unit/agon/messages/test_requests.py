"""What a generation request takes, and what it refuses."""

from datetime import UTC, datetime

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
        ({"tools": [{"type": "function"}]}, "unsupported_parameter: tools"),
        ({"logit_bias": {"1": 2}, "logprobs": True}, "unsupported_parameter: logit_bias, logprobs"),
    ],
)
def test_what_is_wrong_is_refused_and_named(change: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        GenerationRequest.model_validate({**LEAST, **change})
    assert says in str(caught.value)


@pytest.mark.parametrize("neutral", [{"presence_penalty": 0}, {"logprobs": False}, {"tools": []}, {"best_of": None}])
def test_an_unsupported_field_that_asks_for_nothing_is_taken(neutral: dict[str, object]) -> None:
    assert GenerationRequest.model_validate({**LEAST, **neutral})


def test_text_parts_are_joined_as_they_stand() -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    request = GenerationRequest.model_validate({**LEAST, "messages": [{"role": "user", "content": parts}]})
    assert request.messages is not None
    assert request.messages[0].text() == "Hello"


def test_max_completion_tokens_is_the_newer_name_of_the_limit() -> None:
    assert GenerationRequest.model_validate({**LEAST, "max_completion_tokens": 7}).limit == 7
    assert GenerationRequest.model_validate(LEAST).limit is None
