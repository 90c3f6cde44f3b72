"""The end of a request, as it travels on `llm.completions.v1`: exactly one per request, whatever happened to it."""

from typing import Annotated, Literal

from pydantic import Field

from agon.messages.base import Id, Message, ModelName, Time
from agon.messages.requests import Kind
from agon.messages.tools import ToolCall

Status = Literal["finished", "failed", "cancelled", "expired"]
FinishReason = Literal["stop", "length"]


class CompletionError(Message):
    """OpenAI's error object."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class AssistantMessage(Message):
    """What the model said. `content` is None where the text was not kept, or there are only calls."""

    role: Literal["assistant"] = "assistant"
    content: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    """The tools that it calls; the finish reason is `stop` then, too."""
    reasoning: str | None = None
    """What it thought before, of models that do."""


class TopLogprob(Message):
    """One of the most probable tokens at a position. `token` is its text, with U+FFFD for half a character; `bytes` are
    what it adds to the answer's UTF-8, None for a control token."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None


class TokenLogprob(TopLogprob):
    """A token of the answer and its alternatives, the most probable first."""

    top_logprobs: tuple[TopLogprob, ...] = ()


class PromptLogprob(Message):
    """A token of the prompt; the first has no `logprob`."""

    token: str
    logprob: float | None = None
    bytes: tuple[int, ...] | None = None
    top_logprobs: tuple[TopLogprob, ...] = ()


class ChoiceLogprobs(Message):
    """One item for each token of the answer, the one that ended it included."""

    content: tuple[TokenLogprob, ...] = ()


class CompletionChoice(Message):
    """One of the `n` answers; `finish_reason` is None where it was cut off by a failure or a cancel."""

    index: Annotated[int, Field(ge=0)]
    message: AssistantMessage
    raw: str | None = None
    """What the model wrote, where `message` tells calls or reasoning apart from the text."""
    logprobs: ChoiceLogprobs | None = None
    finish_reason: FinishReason | None = None


class Usage(Message):
    """Token counts from the engine: the one source of accounting for every way in."""

    prompt_tokens: Annotated[int, Field(ge=0)] = 0
    completion_tokens: Annotated[int, Field(ge=0)] = 0
    total_tokens: Annotated[int, Field(ge=0)] = 0
    cached_tokens: Annotated[int, Field(ge=0)] = 0
    reasoning_tokens: Annotated[int, Field(ge=0)] | None = None
    """Of the completion's; None for models that do not reason."""


class Timings(Message):
    """When things happened to a request, by the clocks of the processes that did them."""

    accepted_at: Time
    admitted_at: Time | None = None
    first_token_at: Time | None = None
    finished_at: Time


class GenerationCompleted(Message):
    """A request has ended. After a crash it may be published again under the same `request_id`: keep the first."""

    request_id: Id
    tenant: Id
    model: ModelName
    kind: Kind = "chat"
    status: Status
    choices: tuple[CompletionChoice, ...] = ()
    prompt_logprobs: tuple[PromptLogprob, ...] | None = None
    text_omitted: bool = False
    usage: Usage = Usage()
    error: CompletionError | None = None
    timings: Timings
    worker: str
    attempt: Annotated[int, Field(ge=0)]
    metadata: dict[str, str] = Field(default_factory=dict)
