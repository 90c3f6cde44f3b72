"""OpenAI's Responses API: what a client asks, and the objects of the answer."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from agon.errors import InvalidRequest
from agon.messages.base import ModelName
from agon.messages.tools import FunctionName
from agon_ingress.bodies.openai_types import Metadata, ServiceTier, Told, TopP, absent
from agon_ingress.bodies.policy import Accepted, Asked, Refused, refuse_other_types
from agon_ingress.chat.types import Effort
from agon_ingress.responses.input_types import (
    ITEMS,
    InputItem,
    InputReference,
    refuse_other_items,
    with_refusals_said,
)

Status = Literal["in_progress", "completed", "incomplete", "failed", "queued", "cancelled"]
ItemStatus = Literal["in_progress", "completed", "incomplete"]
LOGPROBS = "message.output_text.logprobs"


class FunctionTool(Told):
    """A function that the model may call; `parameters` is a JSON schema of its arguments."""

    type: Literal["function"]
    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedTool(Told):
    type: Literal["function"]
    name: FunctionName


class AllowedFunctions(Told):
    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[tuple[NamedTool, ...], Field(min_length=1, max_length=128, fail_fast=True)]


ToolChoice = Literal["none", "auto", "required"] | Annotated[NamedTool | AllowedFunctions, Field(discriminator="type")]


class ResponseFormatText(Told):
    type: Literal["text"] = "text"


class ResponseFormatJsonObject(Told):
    type: Literal["json_object"]


class ResponseFormatJsonSchema(Told):
    """JSON that is valid under the schema."""

    type: Literal["json_schema"]
    name: Annotated[str, Field(min_length=1, max_length=64)]
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    description: str | None = None
    strict: bool | None = None


TextForm = Annotated[
    ResponseFormatText | ResponseFormatJsonObject | ResponseFormatJsonSchema, Field(discriminator="type")
]


class TextOptions(Told):
    """What form the text has. `verbosity` is without effect."""

    format: Annotated[
        ResponseFormatText | ResponseFormatJsonObject | ResponseFormatJsonSchema, Field(discriminator="type")
    ] = ResponseFormatText()
    verbosity: Literal["low", "medium", "high"] | None = Field(default=None, exclude_if=absent)


class ReasoningOptions(Told):
    """`effort` is for the chat templates that know it; summaries are not made."""

    effort: Effort | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None


class ResponseStreamOptions(Asked):
    """Obfuscation is not added."""

    include_obfuscation: bool = False


class ConversationName(Asked):
    """A conversation."""

    id: Annotated[str, Field(max_length=64)]


class ConversationTold(Told):
    id: str


class ResponseRequest(Asked):
    """`POST /v1/responses`. It is kept unless `store` is false; a conversation goes on with `previous_response_id`, or
    by sending its items again."""

    model: ModelName
    input: str | Annotated[tuple[InputItem, ...], Field(max_length=4096, fail_fast=True)] = ()
    """May be left out where a response or a conversation goes on."""
    instructions: str | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: TopP | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    include: Annotated[tuple[str, ...], Field(max_length=32, fail_fast=True)] = ()
    """`message.output_text.logprobs` is known; what this server has no tools for is without effect."""
    tools: Annotated[tuple[FunctionTool, ...], Field(max_length=128, fail_fast=True)] = ()
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool = True
    text: TextOptions = TextOptions()
    reasoning: ReasoningOptions | None = None
    conversation: str | ConversationName | None = None
    """A conversation to go on with: its items come in front, and this input and output are added to it."""
    background: bool = False
    """Answer at once with a response that is `queued`; it goes on whoever leaves, to be read, followed or cancelled."""
    store: bool = True
    """Whether question and answer are kept, to be read again and to go on from."""
    previous_response_id: Annotated[str, Field(max_length=64)] | None = None
    """A kept response to go on from: its items, and those before it, come in front. Its instructions do not."""
    metadata: Metadata = {}
    prompt_cache_key: Annotated[str, Field(max_length=512)] | None = None
    """Requests with the same key go to the same worker, which has their common beginning cached."""
    stream: bool = False
    stream_options: ResponseStreamOptions | None = None
    truncation: Literal["auto", "disabled"] = "disabled"
    """What does not fit the model's context is refused, or with `auto` goes on without its oldest turns."""
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    """Further variables of the model's chat template."""

    user: Annotated[Any, Accepted()] = None
    safety_identifier: Annotated[Any, Accepted()] = None
    service_tier: Annotated[Any, Accepted()] = None
    max_tool_calls: Annotated[Any, Accepted()] = None
    prompt_cache_retention: Annotated[Any, Accepted()] = None
    prompt_cache_options: Annotated[Any, Accepted()] = None

    background_options: Annotated[Any, Refused()] = None
    prompt: Annotated[Any, Refused(why="This server keeps no prompts: send `instructions` and `input`.")] = None
    context_management: Annotated[Any, Refused([])] = None
    moderation: Annotated[Any, Refused()] = None
    image: Annotated[Any, Refused()] = None
    access_programs: Annotated[Any, Refused()] = None

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: only with `stream: true`")
        if self.conversation is not None and self.previous_response_id is not None:
            raise ValueError("conversation and previous_response_id both say what came before: give one of them")
        if self.conversation is not None and not self.store:
            raise ValueError("conversation: only with `store: true`")
        if self.background and not self.store:
            raise ValueError("background: only with `store: true`")
        return self

    @classmethod
    def refuse_within(cls, raw: Mapping[str, Any]) -> None:
        given = raw.get("input")
        if given in (None, []) and raw.get("previous_response_id") is None and raw.get("conversation") is None:
            told = "input: Field required, unless `previous_response_id` or `conversation` is given"
            code = "missing_required_parameter" if given is None else "empty_array"
            raise InvalidRequest(told, param="input", code=code)
        refuse_other_items(given, "input", (*ITEMS, "item_reference"))
        refuse_other_types(raw.get("tools"), "tools", ("function",))

    @classmethod
    def amend(cls, given: dict[str, Any]) -> dict[str, Any]:
        return {**given, "input": with_refusals_said(given["input"])} if "input" in given else given

    @property
    def conversation_id(self) -> str | None:
        return self.conversation.id if isinstance(self.conversation, ConversationName) else self.conversation

    @property
    def references(self) -> tuple[str, ...]:
        """The ids of items that are only named."""
        return tuple(item.id for item in self.input if isinstance(item, InputReference))

    @property
    def logprobs(self) -> bool:
        return LOGPROBS in self.include or bool(self.top_logprobs)


class TextAlternative(Told):
    token: str
    logprob: float
    bytes: tuple[int, ...]


class TextLogprob(TextAlternative):
    top_logprobs: tuple[TextAlternative, ...]


class OutputText(Told):
    type: Literal["output_text"] = "output_text"
    text: str
    annotations: tuple[()] = ()
    logprobs: tuple[TextLogprob, ...] = ()


class ReasoningText(Told):
    type: Literal["reasoning_text"] = "reasoning_text"
    text: str


class MessageItem(Told):
    """What the model says."""

    type: Literal["message"] = "message"
    id: str
    role: Literal["assistant"] = "assistant"
    status: ItemStatus
    content: tuple[OutputText, ...] = ()


class ReasoningItem(Told):
    """What it thought before."""

    type: Literal["reasoning"] = "reasoning"
    id: str
    status: ItemStatus
    summary: tuple[()] = ()
    content: tuple[ReasoningText, ...] = ()


class CallItem(Told):
    """A call of a function."""

    type: Literal["function_call"] = "function_call"
    id: str
    call_id: str
    name: str
    arguments: str
    status: ItemStatus


OutputItem = MessageItem | ReasoningItem | CallItem


class InputTokensDetails(Told):
    cached_tokens: int
    cache_write_tokens: int = 0


class OutputTokensDetails(Told):
    reasoning_tokens: int


class ResponseUsage(Told):
    """Token counts, from the engine."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


ErrorCode = Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]


class ResponseError(Told):
    code: ErrorCode
    message: str


class IncompleteDetails(Told):
    reason: Literal["max_output_tokens", "content_filter"]


Drawn = Annotated[float, BeforeValidator(lambda value: 1.0 if value is None else value)]
"""A parameter that an answer is drawn with. Null is in responses that were kept when that meant the model's own."""


class Response(Told):
    """An answer with all that led to it."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: Status
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: None = None
    model: str
    output: tuple[OutputItem, ...] = ()
    parallel_tool_calls: bool
    previous_response_id: str | None = None
    conversation: ConversationTold | None = None
    prompt_cache_key: str | None
    reasoning: ReasoningOptions
    safety_identifier: None = None
    service_tier: ServiceTier = "default"
    store: bool
    background: bool
    temperature: Drawn
    text: TextOptions
    tool_choice: ToolChoice
    tools: tuple[FunctionTool, ...]
    top_logprobs: int
    top_p: Drawn
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    truncation: Literal["auto", "disabled"]
    usage: ResponseUsage | None = None
    user: None = None
    metadata: dict[str, str]
