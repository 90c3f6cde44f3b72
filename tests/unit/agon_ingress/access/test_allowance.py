"""What an answer may need, and how a client is told what is left."""

from datetime import timedelta
from typing import Any

import pytest

from agon.api_keys import Limits
from agon.messages import GenerationRequest
from agon.stream.limits import Reserved
from agon_ingress.access.allowance import duration, headers, need, refusal
from unit.agon_ingress.offline import card

LIMITS = Limits(requests_per_minute=60, tokens_per_minute=1000, concurrency=3, budget_tokens=500)


def reserved(**fields: Any) -> Reserved:
    plain: dict[str, Any] = {
        "refused": None, "wait": timedelta(), "requests_left": 59, "requests_reset": timedelta(seconds=60),
        "tokens_left": 900, "tokens_reset": timedelta(seconds=1.5), "spent": 480, "held": 15,
    }  # fmt: skip
    return Reserved(**{**plain, **fields})


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({"max_completion_tokens": 5}, 11 + 5),
        ({"max_tokens": 5, "n": 3}, 11 + 15),
        ({"max_tokens": 5, "n": 2, "best_of": 4, "kind": "completion", "messages": None, "prompt": "x"}, 11 + 20),
        ({}, 11 + 20),
        ({"max_tokens": 1000}, 11 + 64),  # no more than the context
        ({"kind": "embedding", "messages": None, "prompt": "x"}, 11),
    ],
)
def test_an_answer_may_need_its_prompt_and_the_most_that_it_may_say(fields: dict[str, Any], tokens: int) -> None:
    request = GenerationRequest.model_validate(
        {"request_id": "r", "model": "m", "messages": [{"role": "user", "content": "x"}], **fields}
    )
    assert need([request], 40, card("m"), 20) == tokens


def test_headers_tell_of_the_limits_that_there_are() -> None:
    assert headers(LIMITS, reserved()) == {
        "x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1m0s", "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "900", "x-ratelimit-reset-tokens": "1.5s",
    }  # fmt: skip
    assert headers(Limits(concurrency=1), reserved()) == {}


@pytest.mark.parametrize(
    ("kind", "tokens", "type_", "code", "retry"),
    [
        ("requests", 10, "requests", "rate_limit_exceeded", True),
        ("tokens", 10, "tokens", "rate_limit_exceeded", True),
        ("tokens", 1001, "tokens", "rate_limit_exceeded", False),
        ("concurrency", 10, "rate_limit_error", "rate_limit_exceeded", True),
        ("budget", 10, "insufficient_quota", "insufficient_quota", False),
    ],
)
def test_a_refusal_says_why_and_whether_to_come_back(
    kind: Any, tokens: int, type_: str, code: str, retry: bool
) -> None:
    error = refusal(LIMITS, tokens, reserved(refused=kind, wait=timedelta(seconds=2)))
    assert (error.status, error.type, error.code) == (429, type_, code)
    assert error.retry_after == (timedelta(seconds=2) if retry else None)
    assert error.headers == headers(LIMITS, reserved())
    if kind == "budget":
        assert "5 of 500 are left" in error.message


def test_durations_are_written_as_openai_does() -> None:
    times = {0: "0s", 17: "17ms", 999.7: "1s", 1000: "1s", 59100: "59.1s", 60000: "1m0s", 360000: "6m0s"}
    assert {ms: duration(timedelta(milliseconds=ms)) for ms in times} == times
