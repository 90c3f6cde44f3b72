"""The seam between the inference service and whatever generates: submit, cancel, and events that come back.

A backend serves one model. It knows nothing of Kafka, Redis or HTTP. Its events (the engine's own, from
`agon.engine.events`) come in the order they happened; every submitted job gets exactly one terminal event (`Finished`
or `Failed`), also after `cancel`, also when the backend breaks. Two shapes: a `SteppedBackend` does its work inside
`step()`, called by the process' one compute thread; a `PushingBackend` has its own way of running (an HTTP client) and
calls the `emit` that it was started with.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from agon.engine.events import Admitted, Event, Failed, Finished, Scored, Times, Tokens
from agon.errors import UnsupportedParameter
from agon.messages import GenerationRequest, ModelCard
from agon.messages.formats import TextFormat
from agon.messages.requests import NEUTRAL

__all__ = [
    "AdaptableBackend",
    "Admitted",
    "Backend",
    "Emit",
    "Event",
    "Failed",
    "Finished",
    "Job",
    "Load",
    "PushingBackend",
    "Scored",
    "SteppedBackend",
    "Times",
    "Tokens",
    "refuse",
]


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


def refuse(request: GenerationRequest, names: Iterable[str]) -> None:
    """Raise `UnsupportedParameter` for the first of these fields that asks for something: they are what a backend can't
    do, and what is asked for is never silently left out."""
    fields = type(request).model_fields
    for name in names:
        value = getattr(request, name)
        neutral = (fields[name].default, (), {}, TextFormat(), *NEUTRAL.get(name, ()))
        if value is not None and value not in neutral:
            raise UnsupportedParameter(f"{name}: this model's backend can't do that; leave it out", param=name)


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
    prefix_queries: int = 0
    """Tokens that it has looked for in its prefix cache so far, ..."""
    prefix_hits: int = 0
    """... and how many of them it found there."""
    preemptions: int = 0
    """How often a running sequence has given its pages back so far."""
    guides_kept: int = 0
    """Forms of answers that are compiled and in memory."""
    guides_asked: int = 0
    """Answers that were to follow one so far, ..."""
    guides_compiled: int = 0
    """... and how many forms were compiled for them."""
    lost: str | None = None
    """Why it can do nothing any more, where that is so: its process should end, and be started again."""


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
class AdaptableBackend(Backend, Protocol):
    """Serves adapters of its model too: jobs whose request names one are answered under it."""

    @property
    def adapters(self) -> Mapping[str, ModelCard]:
        """The cards of its adapters, by name."""

    def load_adapter(self, name: str, source: str) -> None:
        """Read an adapter (a folder or hub id) under its public name. Blocks; raises `SetupError` with the reason."""

    def drop_adapter(self, name: str) -> None:
        """Take no more jobs for an adapter; those that it has go on. Raises `ModelNotFound`."""


@runtime_checkable
class PushingBackend(Backend, Protocol):
    """Works by itself once started."""

    async def start(self, emit: Emit) -> None:
        """Begin; `emit` may be called from any thread, the event loop's included, where it must not block."""

    async def stop(self) -> None:
        """Drop what runs and give everything back. What was dropped gets no terminal event: it is left for others."""
