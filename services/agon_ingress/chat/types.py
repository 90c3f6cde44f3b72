"""OpenAI's chat completion, as this server takes and gives it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from agon.errors import UnsupportedParameter
from agon.messages import ChatMessage, ChoiceLogprobs, ToolCall
from agon.messages.sampling import Sampling
from agon.messages.tool_choice import ToolChoice, calling
from agon.messages.tools import Tool
from agon_ingress.bodies.guides import Guided, refuse_nameless_schema
from agon_ingress.bodies.openai_types import (
    Metadata,
    ServiceTier,
    StreamOptions,
    Told,
    TopP,
    Usage,
    absent,
    usage_if_asked_for,
)
from agon_ingress.bodies.policy import Accepted, Asked, Refused, objects, refusals_as_text, refuse_other_types

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
ChatFinish = Literal["stop", "length", "tool_calls", "content_filter"]


class ChatCompletionRequest(Guided, Sampling, Asked):
    """`POST /v1/chat/completions`. What is left out is the model's own default."""

    messages: Annotated[tuple[ChatMessage, ...], Field(min_length=1, max_length=4096, fail_fast=True)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    """Prompt excluded; `max_tokens` is its older name."""
    top_p: TopP | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    store: bool = False
    """Whether question and answer are kept, for `GET /v1/chat/completions` and whoever reads Kafka or the database."""
    metadata: Metadata = {}
    prompt_cache_key: Annotated[str, Field(max_length=512)] | None = None
    """Requests with the same key go to the same worker, which has their common beginning cached."""
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[tuple[Tool, ...], Field(max_length=128, fail_fast=True)] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    """False: at most one call."""
    reasoning_effort: Effort | None = None
    """For the chat templates that know it; `none` sets `enable_thinking: false`."""
    chat_template_kwargs: dict[str, Any] | None = None
    """Further variables of the model's chat template."""

    user: Annotated[Any, Accepted()] = None
    safety_identifier: Annotated[Any, Accepted()] = None
    service_tier: Annotated[Any, Accepted()] = None
    verbosity: Annotated[Any, Accepted()] = None
    prediction: Annotated[Any, Accepted()] = None
    prompt_cache_retention: Annotated[Any, Accepted()] = None
    prompt_cache_options: Annotated[Any, Accepted()] = None

    audio: Annotated[Any, Refused()] = None
    modalities: Annotated[Any, Refused(["text"])] = None
    functions: Annotated[Any, Refused([], why="Use `tools`.")] = None
    function_call: Annotated[Any, Refused("none", "auto", why="Use `tool_choice`.")] = None
    moderation: Annotated[Any, Refused()] = None
    web_search_options: Annotated[Any, Refused()] = None
    prompt_logprobs: Annotated[Any, Refused(why="Completions with `echo` and `logprobs` have them.")] = None
    best_of: Annotated[Any, Refused(1)] = None
    echo: Annotated[Any, Refused(False)] = None

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: only with `stream: true`")
        if self.max_tokens and self.max_completion_tokens and self.max_tokens != self.max_completion_tokens:
            raise ValueError("max_tokens and max_completion_tokens differ: give one of them")
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs `logprobs: true`")
        calling(self.tools, self.tool_choice, self.parallel_tool_calls)
        return self

    @classmethod
    def refuse_within(cls, raw: Mapping[str, Any]) -> None:
        for where, message in objects(raw.get("messages"), "messages"):
            if message.get("role") == "function":
                told = f"{where}.role: `function` is not supported; use `tool`."
                raise UnsupportedParameter(told, param=f"{where}.role")
            for name in ("function_call", "audio"):
                if message.get(name):
                    told = f"{where}.{name} is not supported by this server."
                    raise UnsupportedParameter(told, param=f"{where}.{name}")
            kinds = ("text", "refusal") if message.get("role") == "assistant" else ("text",)
            refuse_other_types(message.get("content"), f"{where}.content", kinds)
        refuse_other_types(raw.get("tools"), "tools", ("function",))
        refuse_nameless_schema(raw)

    @classmethod
    def amend(cls, given: dict[str, Any]) -> dict[str, Any]:
        if isinstance(given.get("messages"), list):
            given["messages"] = [_refusal_said(message) for message in given["messages"]]
        return given


def _refusal_said(message: Any) -> Any:
    """What an assistant has refused with is what it said."""
    if not (isinstance(message, dict) and message.get("role") == "assistant"):
        return message
    content = message.get("content")
    if isinstance(content, list):
        return {**message, "content": refusals_as_text(content, "text")}
    if content is None and isinstance(message.get("refusal"), str):
        return {**message, "content": message["refusal"]}
    return message


class ResponseMessage(Told):
    """What the model said. `content` is null where it only called tools."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    tool_calls: tuple[ToolCall, ...] | None = Field(default=None, exclude_if=absent)
    reasoning_content: str | None = Field(default=None, exclude_if=absent)
    """What it thought before, of models that do."""


class Logprobs(ChoiceLogprobs):
    refusal: None = None


class Choice(Told):
    """One of the `n` answers."""

    index: int
    message: ResponseMessage
    logprobs: Logprobs | None = None
    finish_reason: ChatFinish


class ChatCompletion(Told):
    """The whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: tuple[Choice, ...]
    usage: Usage
    service_tier: ServiceTier = "default"
    system_fingerprint: str
    metadata: dict[str, str] | None = Field(default=None, exclude_if=absent)


class FunctionDelta(Told):
    name: str | None = Field(default=None, exclude_if=absent)
    arguments: str


class ToolCallDelta(Told):
    """The first one of a call has `id`, `type` and the name; those that follow have more of the arguments."""

    index: int
    id: str | None = Field(default=None, exclude_if=absent)
    type: Literal["function"] | None = Field(default=None, exclude_if=absent)
    function: FunctionDelta


class Delta(Told):
    role: Literal["assistant"] | None = Field(default=None, exclude_if=absent)
    content: str | None = Field(default=None, exclude_if=absent)
    reasoning_content: str | None = Field(default=None, exclude_if=absent)
    tool_calls: tuple[ToolCallDelta, ...] | None = Field(default=None, exclude_if=absent)


class ChunkChoice(Told):
    index: int
    delta: Delta
    logprobs: Logprobs | None = None
    finish_reason: ChatFinish | None = None


class ChatCompletionChunk(Told):
    """One event of a stream. `chat_telling` writes these bytes by hand; a test holds it to this class."""

    model_config = ConfigDict(json_schema_extra=usage_if_asked_for)

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    service_tier: ServiceTier = "default"
    system_fingerprint: str
    choices: tuple[ChunkChoice, ...]
    usage: Usage | None = None
