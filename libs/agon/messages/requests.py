"""A request for a generation, as it travels on `llm.requests.v1.<slug>`. Only `request_id`, `model` and what to answer
are required: `{"request_id": "r1", "model": "nano", "messages": [{"role": "user", "content": "Hello"}]}`."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from agon.messages.base import Id, Message, Time
from agon.messages.formats import ResponseFormat
from agon.messages.sampling import Sampling, TokenId
from agon.messages.tool_choice import ToolChoice, calling
from agon.messages.tools import Tool, ToolCall

Role = Literal["system", "developer", "user", "assistant", "tool"]
Kind = Literal["chat", "completion", "embedding"]
Priority = Literal["interactive", "batch"]
MOST_TOP_LOGPROBS = 20
TopLogprobs = Annotated[int, Field(ge=0, le=MOST_TOP_LOGPROBS)]

# Known names of OpenAI and vLLM that no request on Kafka can have: refused by name, where others are ignored.
UNSUPPORTED = frozenset(
    {
        "audio", "function_call", "functions", "guided_choice", "guided_grammar", "guided_json", "guided_regex",
        "modalities", "moderation", "reasoning_effort", "structured_outputs", "suffix", "web_search_options",
    }
)  # fmt: skip
# Values of an unsupported field that ask for nothing, and are therefore taken.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "min_p": (0,),
    "min_tokens": (0,),
    "modalities": (["text"],),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "response_format": ({"type": "text"},),
    "stop_token_ids": ([],),
    "tools": ([],),
    "typical_p": (1,),
    "functions": ([],),
}


def unsupported_fields(fields: dict[str, Any]) -> Iterable[str]:
    """The names in a raw request that ask for something that is not supported, in the order given."""
    for name, value in fields.items():
        if name in UNSUPPORTED and value is not None and value not in NEUTRAL.get(name, ()):
            yield name


class TextPart(Message):
    """A piece of a message's content. Parts of other types are refused by name."""

    type: Literal["text"] = "text"
    text: str


class ChatMessage(Message):
    """One turn of a conversation. `content` is text, or OpenAI's list of text parts; only an assistant that calls tools
    may have none. A `tool` message answers the call whose id is its `tool_call_id`."""

    role: Role
    tool_calls: Annotated[tuple[ToolCall, ...], Field(max_length=128, fail_fast=True)] | None = None
    tool_call_id: Annotated[str, Field(max_length=128)] | None = None
    name: str | None = None
    # Behind `tool_calls`, which its check must know.
    content: str | Annotated[tuple[TextPart, ...], Field(fail_fast=True)] | None = Field(
        default=None, validate_default=True
    )

    @field_validator("content")
    @classmethod
    def _says_something(cls, content: Any, info: ValidationInfo) -> Any:
        if content is None and not (info.data.get("role") == "assistant" and info.data.get("tool_calls")):
            raise ValueError("a message needs text; only an assistant that calls tools may have none")
        return content

    def text(self) -> str:
        """The content as one string; parts are joined as they stand, none is empty."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content or ())


class GenerationRequest(Sampling):
    """ "Generate this." Written by the ingress or by anyone who may write to Kafka, read by the model's workers.

    What is None is the model's own default (its `generation_config.json`, else temperature 1 and no truncation). A
    request without a `deadline` expires ten minutes after its record's timestamp; one without a seed gets one from the
    worker, derived from its id, so that a resumed answer goes on as it began.
    """

    request_id: Id
    tenant: Id = "default"
    kind: Kind = "chat"
    messages: Annotated[tuple[ChatMessage, ...], Field(max_length=4096, fail_fast=True)] | None = None
    tools: Annotated[tuple[Tool, ...], Field(max_length=128, fail_fast=True)] | None = None
    """Functions that the chat template tells the model of; what it makes of them is text, in the template's format."""
    tool_choice: ToolChoice | None = None
    """Which of them it may, must or must not call; None is `auto`."""
    parallel_tool_calls: bool | None = None
    """False: at most one call."""
    chat_template_kwargs: dict[str, Any] | None = None
    """Further variables of the model's chat template, such as `enable_thinking`."""
    truncate: bool = False
    """Only of a chat: leave out its oldest turns where it does not fit the model's context."""
    prompt: str | Annotated[tuple[TokenId, ...], Field(fail_fast=True)] | None = None
    """Text (control tokens in it are control tokens) or token ids."""
    inputs: (
        Annotated[
            tuple[str | Annotated[tuple[TokenId, ...], Field(fail_fast=True)], ...],
            Field(min_length=1, max_length=256, fail_fast=True),
        ]
        | None
    ) = None
    """Only of kind `embedding`, instead of `prompt`: several at once. The answer's choices are their vectors, in order,
    each as base64 of little-endian float32."""
    dimensions: Annotated[int, Field(ge=1)] | None = None
    """Only of kind `embedding`: the first so many of each vector, at length 1 again."""

    max_tokens: Annotated[int, Field(ge=0)] | None = None
    """0 only of kind `completion`: nothing is generated, the prompt is told (`echo`) or scored (`prompt_logprobs`)."""
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    best_of: Annotated[int, Field(ge=1, le=16)] | None = None
    """Generate so many answers and give the `n` whose tokens are the most probable together; all of them are counted.
    Nothing is told before all have ended."""
    response_format: ResponseFormat | None = None
    """What form the answer must have; whenever its finish reason is `stop`, it has it."""
    logprobs: Annotated[bool, Field(strict=True)] = False
    """Tell the log-probability of each token, by the model alone: before temperature, penalties, bias and format."""
    top_logprobs: TopLogprobs | None = None
    """Tell also so many of the most probable tokens of each position."""
    prompt_logprobs: TopLogprobs | None = None
    """Tell the same of the prompt's tokens, with so many alternatives; the first one has none."""
    echo: bool = False
    """Only of kind `completion`: the text begins with the prompt's."""

    deadline: Time | None = None
    """After this moment nobody wants the answer: it ends as `expired`."""
    reply_to: Id | None = None
    """The ingress process that streams the answer to a client; None when nobody listens."""
    detached: bool = False
    """True: the answer is wanted even when `reply_to` is gone (a battle, a background job)."""
    store: bool = True
    """Whether the completion carries the text. The ingress writes what its client asked for."""
    priority: Priority = "interactive"

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        names = list(unsupported_fields(value))
        if names:
            raise ValueError(f"unsupported_parameter: {', '.join(names)}")
        return {name: given for name, given in value.items() if given is not None}

    @model_validator(mode="after")
    def _one_input(self) -> Self:
        if self.kind == "chat":
            if not self.messages:
                raise ValueError("a chat needs `messages` with at least one message")
            if self.prompt is not None:
                raise ValueError("a chat takes `messages`, not `prompt`")
        elif self.kind == "embedding":
            if (self.prompt is None) == (self.inputs is None):
                raise ValueError("an embedding takes either `prompt` or `inputs`")
        elif self.prompt is None:
            raise ValueError(f"kind {self.kind} needs `prompt`")
        if self.kind != "embedding" and (self.inputs is not None or self.dimensions is not None):
            raise ValueError("`inputs` and `dimensions` are for embeddings")
        calling(self.tools, self.tool_choice, self.parallel_tool_calls)
        if self.kind != "chat" and (self.tools or self.chat_template_kwargs or self.truncate):
            raise ValueError("`tools`, `chat_template_kwargs` and `truncate` are for a chat")
        if (self.echo or self.max_tokens == 0) and self.kind != "completion":
            raise ValueError("`echo` and a max_tokens of 0 are for kind completion")
        if None not in (both := (self.max_tokens, self.max_completion_tokens)) and len(set(both)) > 1:
            raise ValueError("max_tokens and max_completion_tokens differ: give one of them")
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs `logprobs: true`")
        if self.best_of is not None and self.best_of < self.n:
            raise ValueError("best_of must be at least n")
        if self.limit is not None and self.min_tokens > self.limit:
            raise ValueError("min_tokens must be at most max_tokens")
        return self

    @property
    def choices(self) -> int:
        """How many answers this has."""
        return len(self.inputs) if self.inputs is not None else self.n

    @property
    def limit(self) -> int | None:
        """The most tokens an answer may have, None for as many as fit the context."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def key(self) -> str:
        """`tenant/request_id`: what identifies this request within the whole house."""
        return f"{self.tenant}/{self.request_id}"
