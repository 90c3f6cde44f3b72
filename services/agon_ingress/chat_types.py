"""OpenAI's chat completion, as this server takes and gives it. `openapi.json` is made from these classes."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from agon.messages import ChatMessage, FinishReason
from agon.messages.base import ModelName
from agon.messages.requests import StopString, as_tuple

_Stop = StopString | Annotated[list[StopString], Field(max_length=4)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class StreamOptions(_Frozen):
    """What a stream carries besides tokens."""

    include_usage: bool = False
    """One more chunk before the end, with the token counts and no choices."""


class ChatCompletionRequest(_Frozen):
    """`POST /v1/chat/completions`: the fields that are implemented. What is left out is the model's own default."""

    model: ModelName
    messages: Annotated[tuple[ChatMessage, ...], Field(min_length=1, max_length=4096)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    n: Annotated[int, Field(ge=1, le=16)] = 1
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Annotated[tuple[StopString, ...], Field(max_length=4), BeforeValidator(as_tuple, _Stop)] = ()
    ignore_eos: bool = False
    store: bool = False
    """Whether the text is kept in the completion's record, for the one who reads Kafka or the database."""
    metadata: Annotated[dict[str, Annotated[str, Field(max_length=512)]], Field(max_length=16)] = {}
    cache_salt: Annotated[str, Field(max_length=128)] | None = None
    prompt_cache_key: Annotated[str, Field(max_length=512)] | None = None
    """Requests with the same key go to the same worker, which has their common beginning cached."""


class ResponseMessage(_Frozen):
    """What the model said."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: str | None = None


class Choice(_Frozen):
    """One of the `n` answers."""

    index: int
    message: ResponseMessage
    logprobs: None = None
    finish_reason: FinishReason


class PromptTokensDetails(_Frozen):
    cached_tokens: int


class Usage(_Frozen):
    """Token counts, from the engine."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class ChatCompletion(_Frozen):
    """The whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: tuple[Choice, ...]
    usage: Usage
    service_tier: Literal["default"] = "default"
    system_fingerprint: str


class Delta(_Frozen):
    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(_Frozen):
    index: int
    delta: Delta
    logprobs: None = None
    finish_reason: FinishReason | None = None


class ChatCompletionChunk(_Frozen):
    """One event of a stream. `sse` writes these bytes by hand; a test holds it to this class."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    system_fingerprint: str
    choices: tuple[ChunkChoice, ...]
    usage: Usage | None = None


class ErrorObject(_Frozen):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(_Frozen):
    """Every error, on every path."""

    error: ErrorObject
