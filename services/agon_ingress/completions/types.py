"""OpenAI's legacy completion, as this server takes and gives it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from agon.messages.sampling import Sampling, TokenId
from agon_ingress.bodies.guides import Guided, refuse_nameless_schema
from agon_ingress.bodies.openai_types import ServiceTier, StreamOptions, Told, TopP, Usage, usage_if_asked_for
from agon_ingress.bodies.policy import Accepted, Asked, Refused

Tokens = Annotated[tuple[TokenId, ...], Field(min_length=1, fail_fast=True)]
Prompt = (
    str
    | Tokens
    | Annotated[tuple[str, ...], Field(min_length=1, fail_fast=True)]
    | Annotated[tuple[Tokens, ...], Field(min_length=1, fail_fast=True)]
)
DEFAULT_MAX_TOKENS = 16


class CompletionRequest(Guided, Sampling, Asked):
    """`POST /v1/completions`: text or token ids go on. A list of either is as many prompts, answered in order."""

    prompt: Prompt
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    """Default: 16. With `echo` it may be 0: only the prompt is told and scored, and nothing generated."""
    best_of: Annotated[int, Field(ge=1, le=16)] | None = None
    """Generate so many and give the `n` most probable; all of them are counted."""
    echo: bool = False
    """The text begins with the prompt's."""
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    """Log-probabilities of the tokens, with so many alternatives; with `echo` of the prompt's tokens as well."""
    top_p: TopP | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None

    user: Annotated[Any, Accepted()] = None
    suffix: Annotated[Any, Refused("", why="The models here go on with a text, they fill no gaps.")] = None
    prompt_logprobs: Annotated[Any, Refused(why="Use `echo` and `logprobs`.")] = None
    top_logprobs: Annotated[Any, Refused(why="Use `logprobs`.")] = None

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: only with `stream: true`")
        if self.best_of is not None and self.best_of < self.n:
            raise ValueError("best_of must be at least n")
        if self.stream and self.best_of is not None and self.best_of > self.n:
            raise ValueError("best_of above n can't be streamed: which answers are best is known at their end")
        if self.max_tokens == 0 and not self.echo:
            raise ValueError("max_tokens: 0 only with `echo: true`")
        return self

    @classmethod
    def refuse_within(cls, raw: Mapping[str, Any]) -> None:
        refuse_nameless_schema(raw)

    @property
    def prompts(self) -> tuple[str | tuple[int, ...], ...]:
        """One or several, in order."""
        if isinstance(self.prompt, str):
            return (self.prompt,)
        if isinstance(self.prompt[0], int):
            return (self.prompt,)
        return self.prompt


class CompletionLogprobs(Told):
    """Side by side: the tokens, their log-probabilities (null for a prompt's first), the most probable tokens in each
    place, and where each begins in `text`, in characters."""

    tokens: tuple[str, ...]
    token_logprobs: tuple[float | None, ...]
    top_logprobs: tuple[dict[str, float] | None, ...] | None
    text_offset: tuple[int, ...]


class CompletionChoice(Told):
    """One answer; those of the first prompt come first."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: Literal["stop", "length", "content_filter"]


class Completion(Told):
    """The whole answer."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: tuple[CompletionChoice, ...]
    usage: Usage
    service_tier: ServiceTier = "default"
    system_fingerprint: str


class CompletionChunkChoice(Told):
    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: Literal["stop", "length", "content_filter"] | None = None


class CompletionChunk(Told):
    """One event of a stream."""

    model_config = ConfigDict(json_schema_extra=usage_if_asked_for)

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    system_fingerprint: str
    choices: tuple[CompletionChunkChoice, ...]
    usage: Usage | None = None
