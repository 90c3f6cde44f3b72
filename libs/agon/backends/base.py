"""The seam between the inference service and whatever generates: submit, cancel, and events that come back.

A backend serves one model. It knows nothing of Kafka, Redis or HTTP. Its events come in the order they happened; every
submitted job gets exactly one terminal event (`Finished` or `Failed`), also after `cancel`, also when the backend
breaks. Two shapes: a `SteppedBackend` does its work inside `step()`, called by the process' one compute thread; a
`PushingBackend` has its own way of running (an HTTP client) and calls the `emit` that it was started with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from agon.messages import GenerationRequest, ModelCard


@dataclass(frozen=True, slots=True)
class Job:
    """A request to run. `emitted` are the tokens that an earlier attempt has already put out, per choice, in order:
    the backend goes on behind them, and its first delta of a choice starts at `len(emitted[choice])`. A choice in
    `ended` had its finish reason already and gets no more deltas. `request.seed` is always set.

    The text of the first delta must continue what the earlier attempt showed: text is a pure function of the request
    and its tokens so far, so the backend rebuilds its hold-back from `emitted` and shows what comes after.
    """

    request: GenerationRequest
    emitted: tuple[tuple[int, ...], ...] = ()
    ended: tuple[str | None, ...] = ()

    @property
    def key(self) -> str:
        return self.request.key


@dataclass(frozen=True, slots=True)
class Admitted:
    """The prompt was accepted."""

    key: str
    prompt_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Tokens:
    """New tokens of one choice, `at` tokens after its start. `text` may be empty (a stop string is held back), and so
    may `token_ids`, once, with a `finish_reason`: a resumed choice whose emitted tokens had already ended it.
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
    """The job ended otherwise: `error` is an `agon.errors.AgonError` (Cancelled, Expired, InvalidRequest, ...)."""

    key: str
    error: Exception
    prompt_tokens: int = 0
    completion_tokens: int = 0


Event = Admitted | Tokens | Finished | Failed
Emit = Callable[[Sequence[Event]], None]


@dataclass(frozen=True, slots=True)
class Load:
    """What a backend holds right now, for heartbeats and admission."""

    running: int
    waiting: int
    capacity: int
    """How many jobs it wants to hold at most; the service pauses its consumer above it, a backend refuses none."""
    cache_used: float = 0.0
    """Share of the KV cache's pages in use, 0 to 1."""


class Backend(Protocol):
    """What both shapes share. All methods may be called from any thread and return at once."""

    resumable: bool
    """Whether a job with `emitted` tokens can go on. If not, it fails with `WorkerLost` when something was emitted."""

    @property
    def card(self) -> ModelCard: ...

    def submit(self, job: Job) -> None:
        """Take a job. Never raises for a bad request: that is a `Failed` event with `InvalidRequest`.

        A job under a key that is still here ends the older one first, as `cancel` would.
        """

    def cancel(self, key: str) -> None:
        """Stop a job if it is there; its terminal event follows. Unknown keys are ignored."""

    def load(self) -> Load: ...


@runtime_checkable
class SteppedBackend(Backend, Protocol):
    """Works when stepped."""

    def step(self) -> Sequence[Event]:
        """Do one bounded piece of work and return what happened. Called by the compute thread only.

        Never raises: whatever goes wrong fails the jobs concerned.
        """

    def idle_for(self) -> float | None:
        """Seconds until there may be work without a new job; 0 for now, None for never (wake it on submit)."""


@runtime_checkable
class PushingBackend(Backend, Protocol):
    """Works by itself once started."""

    async def start(self, emit: Emit) -> None:
        """Begin; `emit` may be called from any thread."""

    async def stop(self) -> None:
        """Cancel what runs and give everything back."""
