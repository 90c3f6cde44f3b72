"""What a caller may ask of one request, and of the engine as a whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agon.engine.sampling import SamplingParams
from agon.errors import SetupError

MIB = 1024 * 1024


Chat = Sequence[Mapping[str, Any]]
"""Messages of a conversation, each with `role` and `content`, rendered by the model's chat template."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A chat, the functions that its model may call (as OpenAI writes `tools`), and variables of its template."""

    messages: Chat
    tools: Sequence[Mapping[str, Any]] = ()
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    truncate: bool = False
    """Leave out the oldest turns where the whole does not fit, with `spare` tokens for the answer."""
    spare: int | None = None


Prompt = str | Sequence[int] | Chat | Conversation
"""Raw text (special tokens in it are special), token ids, or a chat (special tokens in it are plain text)."""


def is_plain(prompt: Prompt) -> bool:
    """Whether a prompt is text or token ids, and no chat."""
    return isinstance(prompt, str) or (not isinstance(prompt, Conversation) and all(isinstance(t, int) for t in prompt))


def characters(value: Any) -> int:
    """How much text there is in a prompt, or in anything that a template may be given; token ids are none."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Conversation):
        return sum(map(characters, (value.messages, value.tools, value.template_kwargs)))
    if isinstance(value, Mapping):
        return sum(map(characters, value.values()))
    if isinstance(value, Sequence) and not (value and isinstance(value[0], int)):
        return sum(map(characters, value))
    return 0


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `emitted` and `ended` are what an earlier attempt has put out, per choice: this goes on behind."""

    key: str
    prompt: Prompt
    params: SamplingParams = field(default_factory=SamplingParams)
    emitted: tuple[tuple[int, ...], ...] = ()
    ended: tuple[str | None, ...] = ()
    deadline: float | None = None
    """Epoch seconds after which nobody wants the answer."""
    priority: int = 0
    """Lower goes first; the newest of the highest number is preempted first."""
    adapter: str | None = None
    """The name of a loaded adapter for this request; None for the model as it is."""
    salt: str = ""
    """Requests share cached prompts only with requests of the same salt: whose they are belongs in it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the engine may take. Raises `SetupError` for values that cannot work together."""

    kv_cache_bytes: int = 256 * MIB
    """At most this much memory for keys and values; less when the model can't use as much."""
    page_size: int = 16
    """Tokens per page of the KV cache."""
    max_sequences: int = 64
    """Choices in the running batch."""
    max_batch_tokens: int = 512
    """Tokens computed per step: decodes first, the rest for prompts. Larger steps make others wait longer."""
    context_length: int | None = None
    """Prompt and answer together; None for what the model was made for."""
    adapter_slots: int = 8
    """Different adapters in one batch. Requests under others wait for their turn."""
    adapter_rank: int = 64
    """The greatest rank of an adapter."""
    threads: int = 1
    """CPU threads of torch, for the whole process. More threads than idle cores are far slower than one."""
    tensor_parallel: int = 1
    """Processes that share each layer of the model (a power of 2, mostly), on as many GPUs where it runs on those. What
    is said of memory here is for each of them."""

    def __post_init__(self) -> None:
        for name in (
            "kv_cache_bytes", "page_size", "max_sequences", "max_batch_tokens", "adapter_slots", "adapter_rank",
            "threads", "tensor_parallel",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise SetupError(f"the engine's {name} must be 1 or more, it is {getattr(self, name)}")
        if self.max_batch_tokens < self.max_sequences:
            raise SetupError(
                f"the engine's max_batch_tokens ({self.max_batch_tokens}) must be at least its max_sequences "
                f"({self.max_sequences}): each running sequence takes one token of every step"
            )
