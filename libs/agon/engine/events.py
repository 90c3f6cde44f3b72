"""What happens to a request, in this order: `Admitted`, perhaps `Scored`, `Tokens`..., then exactly one `Finished` or
`Failed`."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Alternative(NamedTuple):
    """One of the most probable tokens at a position. `token` is its text, with U+FFFD for half a character, or a
    control token's name; `data` are the bytes that it adds to the text, None for a control token."""

    token: str
    logprob: float
    data: bytes | None


class TokenLogprob(NamedTuple):
    """A token that was drawn or given, and the most probable ones in its place, best first. `logprob` is None for a
    prompt's first token. Natural logarithms, by the model alone: before temperature, penalties, bias and masks."""

    token: str
    logprob: float | None
    data: bytes | None
    top: tuple[Alternative, ...] = ()


@dataclass(frozen=True, slots=True)
class Admitted:
    """The prompt was accepted. `cached_tokens` of its tokens need no computing, as it looks now."""

    key: str
    prompt_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Scored:
    """The prompt's tokens have log-probabilities, one each. Told once, before any `Tokens`, where asked for."""

    key: str
    logprobs: tuple[TokenLogprob, ...]


@dataclass(frozen=True, slots=True)
class Tokens:
    """New tokens of one choice, `at` tokens after its start, and the text that may be shown now.

    `text` may be empty (half a character, or what may become a stop string, is held back), and so may `token_ids`,
    once, with a `finish_reason` (`stop` or `length`): a resumed choice whose emitted tokens had already ended it.
    `logprobs` has one item for each token, or is None where nobody asked.
    """

    key: str
    choice: int
    at: int
    token_ids: tuple[int, ...]
    text: str
    finish_reason: str | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None


@dataclass(frozen=True, slots=True)
class Times:
    """Where a request's time went in the engine, in seconds: until it ran, until its first token, until its last."""

    queue: float
    prefill: float
    decode: float


@dataclass(frozen=True, slots=True)
class Finished:
    """All choices have ended by themselves. `completion_tokens` counts all tokens, those of earlier attempts too."""

    key: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    times: Times | None = field(default=None, compare=False)
    """None when nothing was computed."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The request ended otherwise: `error` is an `agon.errors.AgonError` (Cancelled, Expired, InvalidRequest, ...)."""

    key: str
    error: Exception
    prompt_tokens: int = 0
    completion_tokens: int = 0


Event = Admitted | Scored | Tokens | Finished | Failed
