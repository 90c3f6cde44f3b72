"""What happens to a request, in this order: `Admitted`, `Tokens`..., then exactly one `Finished` or `Failed`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Admitted:
    """The prompt was accepted. `cached_tokens` of its tokens need no computing."""

    key: str
    prompt_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Tokens:
    """New tokens of one choice, `at` tokens after its start, and the text that may be shown now.

    `text` may be empty (half a character, or what may become a stop string, is held back), and so may `token_ids`,
    once, with a `finish_reason` (`stop` or `length`): a resumed choice whose emitted tokens had already ended it.
    """

    key: str
    choice: int
    at: int
    token_ids: tuple[int, ...]
    text: str
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """All choices have ended by themselves. `completion_tokens` counts all tokens, those of earlier attempts too."""

    key: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """The request ended otherwise: `error` is an `agon.errors.AgonError` (Cancelled, Expired, InvalidRequest, ...)."""

    key: str
    error: Exception
    prompt_tokens: int = 0
    completion_tokens: int = 0


Event = Admitted | Tokens | Finished | Failed
