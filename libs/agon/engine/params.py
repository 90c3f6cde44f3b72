"""What a caller may ask of one request, and of the engine as a whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agon.errors import InvalidRequest, SetupError

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to draw an answer. What is None is the model's own default (its `generation_config.json`).

    Raises `InvalidRequest` for a value out of its range, naming the parameter.
    """

    temperature: float | None = None
    """0 or more; 0 is greedy."""
    top_p: float | None = None
    """In (0, 1]: draw from the fewest tokens that hold this much probability."""
    top_k: int | None = None
    """Draw from the k most probable tokens; 0 or -1 for all."""
    seed: int | None = None
    """64 bits, signed. The same seed gives the same tokens, whatever else is in the batch. None: a random one."""
    max_tokens: int | None = None
    """The most tokens of each choice; the model's context is the limit in any case."""
    n: int = 1
    stop: tuple[str, ...] | str = ()
    """The answer ends before the first of these strings."""
    ignore_eos: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.stop, str):
            object.__setattr__(self, "stop", (self.stop,))
        _check(self.temperature is None or 0 <= self.temperature < float("inf"), "temperature", "must be 0 or more")
        _check(self.top_p is None or 0 < self.top_p <= 1, "top_p", "must be above 0 and at most 1")
        _check(self.top_k is None or self.top_k >= -1, "top_k", "must be -1 or more")
        _check(self.seed is None or -(2**63) <= self.seed < 2**63, "seed", "must fit 64 bits, signed")
        _check(self.max_tokens is None or self.max_tokens >= 1, "max_tokens", "must be 1 or more")
        _check(1 <= self.n <= 128, "n", "must be 1 to 128")
        _check(all(self.stop), "stop", "must not hold an empty string")


def _check(good: bool, param: str, message: str) -> None:
    if not good:
        raise InvalidRequest(f"{param} {message}", param=param)


Chat = Sequence[Mapping[str, str]]
"""Messages of a conversation, each with `role` and `content`, rendered by the model's chat template."""
Prompt = str | Sequence[int] | Chat
"""Raw text (special tokens in it are special), token ids, or a chat (special tokens in it are plain text)."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `emitted` and `ended` are what an earlier attempt has put out, per choice: this goes on behind."""

    key: str
    prompt: Prompt
    params: SamplingParams = SamplingParams()
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

    def __post_init__(self) -> None:
        for name in (
            "kv_cache_bytes", "page_size", "max_sequences", "max_batch_tokens", "adapter_slots", "adapter_rank",
            "threads",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise SetupError(f"the engine's {name} must be 1 or more, it is {getattr(self, name)}")
        if self.max_batch_tokens < self.max_sequences:
            raise SetupError(
                f"the engine's max_batch_tokens ({self.max_batch_tokens}) must be at least its max_sequences "
                f"({self.max_sequences}): each running sequence takes one token of every step"
            )
