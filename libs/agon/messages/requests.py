"""A request for a generation, as it travels on `llm.requests.v1.<slug>`. Only `request_id`, `model` and what to answer
are required: `{"request_id": "r1", "model": "nano", "messages": [{"role": "user", "content": "Hello"}]}`."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from agon.messages.base import Id, Message, ModelName, Time

Role = Literal["system", "developer", "user", "assistant", "tool"]
Kind = Literal["chat", "completion", "embedding"]
Priority = Literal["interactive", "batch"]
StopString = Annotated[str, Field(min_length=1, max_length=1024)]

# The three ways a known OpenAI field can go, besides being implemented (design 11). A field in none of these, and not a
# field of the request, is unknown: ignored and named to the caller.
WITHOUT_EFFECT = frozenset(
    {
        "user", "safety_identifier", "service_tier", "verbosity", "prompt_cache_key", "prompt_cache_retention",
        "prompt_cache_options", "parallel_tool_calls",
    }
)  # fmt: skip
UNSUPPORTED = frozenset(
    {
        "audio", "best_of", "echo", "frequency_penalty", "function_call", "functions", "guided_choice",
        "guided_grammar", "guided_json", "guided_regex", "logit_bias", "logprobs", "min_p", "min_tokens",
        "modalities", "moderation", "prediction", "presence_penalty", "reasoning_effort", "repetition_penalty",
        "response_format", "stop_token_ids", "structured_outputs", "suffix", "tool_choice", "tools", "top_logprobs",
        "web_search_options",
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
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "functions": ([],),
}


def unsupported_fields(fields: dict[str, Any]) -> Iterable[str]:
    """The names in a raw request that ask for something this server does not do, in the order given."""
    for name, value in fields.items():
        if name in UNSUPPORTED and value is not None and value not in NEUTRAL.get(name, ()):
            yield name


class TextPart(Message):
    """A piece of a message's content. Parts of other types are refused by name."""

    type: Literal["text"] = "text"
    text: str


class ChatMessage(Message):
    """One turn of a conversation. `content` is text, or OpenAI's list of text parts."""

    role: Role
    content: str | tuple[TextPart, ...]
    name: str | None = None

    def text(self) -> str:
        """The content as one string; parts are joined as they stand."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


def as_tuple(stop: Any) -> Any:
    """OpenAI takes one stop string or a list of them."""
    return (stop,) if isinstance(stop, str) else tuple(stop) if isinstance(stop, list) else stop


class GenerationRequest(Message):
    """ "Generate this." Written by the ingress or by anyone who may write to Kafka, read by the model's workers.

    What is None is the model's own default (its `generation_config.json`, else temperature 1 and no truncation). A
    request without a `deadline` expires ten minutes after its record's timestamp; one without a seed gets one from the
    worker, derived from its id, so that a resumed answer goes on as it began.
    """

    request_id: Id
    model: ModelName
    tenant: Id = "default"
    kind: Kind = "chat"
    messages: Annotated[tuple[ChatMessage, ...], Field(max_length=4096)] | None = None
    prompt: str | None = None

    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    n: Annotated[int, Field(ge=1, le=16)] = 1
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Annotated[
        tuple[StopString, ...],
        Field(max_length=4),
        BeforeValidator(as_tuple, json_schema_input_type=StopString | Annotated[list[StopString], Field(max_length=4)]),
    ] = ()
    ignore_eos: bool = False

    deadline: Time | None = None
    """After this moment nobody wants the answer: it ends as `expired`."""
    reply_to: Id | None = None
    """The ingress process that streams the answer to a client; None when nobody listens."""
    detached: bool = False
    """True: the answer is wanted even when `reply_to` is gone (a battle, a background job)."""
    store: bool = True
    """Whether the completion carries the text. The ingress writes what its client asked for."""
    cache_salt: Annotated[str, Field(max_length=128)] | None = None
    priority: Priority = "interactive"
    metadata: Annotated[dict[str, Annotated[str, Field(max_length=512)]], Field(max_length=16)] = Field(
        default_factory=dict
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, value: Any) -> Any:
        if isinstance(value, dict):
            names = list(unsupported_fields(value))
            if names:
                raise ValueError(f"unsupported_parameter: {', '.join(names)}")
        return value

    @model_validator(mode="after")
    def _one_input(self) -> Self:
        if self.kind == "chat":
            if not self.messages:
                raise ValueError("a chat needs `messages` with at least one message")
            if self.prompt is not None:
                raise ValueError("a chat takes `messages`, not `prompt`")
        elif self.prompt is None:
            raise ValueError(f"kind {self.kind} needs `prompt`")
        if self.max_tokens and self.max_completion_tokens and self.max_tokens != self.max_completion_tokens:
            raise ValueError("max_tokens and max_completion_tokens differ: give one of them")
        return self

    @property
    def limit(self) -> int | None:
        """The most tokens an answer may have, None for as many as fit the context."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def key(self) -> str:
        """`tenant/request_id`: what identifies this request within the whole house."""
        return f"{self.tenant}/{self.request_id}"
