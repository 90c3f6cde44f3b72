"""How much an answer may need, what its key has left, and how a client is told so. Pure."""

from collections.abc import Sequence
from datetime import timedelta

from agon.api_keys import Limits
from agon.errors import OutOfBudget, RateLimited
from agon.messages import GenerationRequest, ModelCard
from agon.stream.limits import Reserved

BYTES_PER_TOKEN = 4
"""Of a request's body, roughly: only until the engine has counted."""


def need(requests: Sequence[GenerationRequest], body_bytes: int, card: ModelCard, unnamed: int) -> int:
    """Tokens that an answer may cost: its prompt by its size, and the most that its requests may generate; `unnamed`
    for each choice of a request that names no most."""
    answers = sum(
        max(request.n, request.best_of or 1)
        * min(unnamed if request.limit is None else request.limit, card.context_length)
        for request in requests
        if request.kind != "embedding"
    )
    return body_bytes // BYTES_PER_TOKEN + 1 + answers


def headers(limits: Limits, reserved: Reserved) -> dict[str, str]:
    """OpenAI's `x-ratelimit-*`, of the limits that the key has."""
    told = {}
    for name, limit, left, reset in (
        ("requests", limits.requests_per_minute, reserved.requests_left, reserved.requests_reset),
        ("tokens", limits.tokens_per_minute, reserved.tokens_left, reserved.tokens_reset),
    ):
        if limit is not None:
            told[f"x-ratelimit-limit-{name}"] = str(limit)
            told[f"x-ratelimit-remaining-{name}"] = str(left)
            told[f"x-ratelimit-reset-{name}"] = duration(reset)
    return told


def refusal(limits: Limits, tokens: int, reserved: Reserved) -> RateLimited:
    """The error for a request that may need so many tokens and was refused."""
    error: RateLimited
    match reserved.refused:
        case "budget":
            left = max(0, (limits.budget_tokens or 0) - reserved.spent - reserved.held)
            error = OutOfBudget(
                f"The budget of this key is spent: this request may need {tokens:,} tokens, and {left:,} of"
                f" {limits.budget_tokens:,} are left. A smaller `max_completion_tokens` needs less."
            )
        case "concurrency":
            error = RateLimited(
                f"This key has {limits.concurrency:,} requests under way, which is its most. Try again when one ends.",
                retry_after=reserved.wait,
            )
        case "tokens" if tokens > (limits.tokens_per_minute or 0):
            error = OutOfBudget(
                f"Request too large: it may need {tokens:,} tokens, and this key may use {limits.tokens_per_minute:,}"
                " in a minute. A smaller `max_completion_tokens` needs less.",
                code="rate_limit_exceeded",
            )
            error.type = "tokens"
        case kind:
            limit = limits.requests_per_minute if kind == "requests" else limits.tokens_per_minute
            asked = "" if kind == "requests" else f", requested {tokens:,}"
            error = RateLimited(
                f"Rate limit reached for this key: {limit:,} {kind} in a minute{asked}."
                f" Try again in {duration(reserved.wait)}.",
                retry_after=max(reserved.wait, timedelta(milliseconds=1)),
            )
            error.type = str(kind)
    error.headers = headers(limits, reserved)
    return error


def duration(time: timedelta) -> str:
    """As OpenAI writes them.

    >>> [duration(timedelta(milliseconds=ms)) for ms in (0, 17, 1000, 59100, 360000)]
    ['0s', '17ms', '1s', '59.1s', '6m0s']
    """
    ms = round(time / timedelta(milliseconds=1))
    if 0 < ms < 1000:
        return f"{ms}ms"
    minutes, ms = divmod(ms, 60_000)
    return f"{f'{minutes}m' if minutes else ''}{ms / 1000:g}s"
