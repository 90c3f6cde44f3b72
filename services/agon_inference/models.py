"""The backends of this worker: loaded, and run by one compute thread or by themselves."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from agon.backends import (
    AdaptableBackend,
    Backend,
    BackendSpec,
    ComputeThread,
    Emit,
    Event,
    Failed,
    Finished,
    Job,
    Load,
    PushingBackend,
    SteppedBackend,
    load,
)
from agon.engine import Limits
from agon.errors import SetupError
from agon.messages import ModelCard

_log = logging.getLogger(__name__)


async def load_backends(specs: Sequence[BackendSpec], limits: Limits | None = None) -> dict[str, Backend]:
    """Load each model, in a thread: weights take seconds. The log tells how far it is. `limits` are an engine's.

    Raises `SetupError`.
    """
    backends: dict[str, Backend] = {}
    if any(spec.kind in ("engine", "embedding") for spec in specs):
        await asyncio.to_thread(_quiet)
    for name, times in Counter(spec.model for spec in specs).items():
        if times > 1:
            raise SetupError(f"the model `{name}` is given twice in AGON_MODELS: give each a name of its own")
    # Adapters behind what they adapt.
    for number, spec in enumerate(sorted(specs, key=lambda spec: spec.base is not None), start=1):
        what = spec.kind if spec.base is None else f"adapter of {spec.base}"
        _log.info("loading %s (%s), %d of %d", spec.model, what, number, len(specs))
        began = time.monotonic()
        if spec.base is None:
            backends[spec.model] = await asyncio.to_thread(load, spec, limits)
        else:
            base = backends.get(spec.base)
            if not isinstance(base, AdaptableBackend):
                raise SetupError(f"the adapter `{spec.model}` needs its base `{spec.base}`, run by an engine here")
            await asyncio.to_thread(base.load_adapter, spec.model, spec.source)
        _log.info("%s is loaded, in %.1f s", spec.model, time.monotonic() - began)
    return backends


def cards(backends: Iterable[Backend]) -> list[ModelCard]:
    """The cards of all that is served: models, and their adapters."""
    found: list[ModelCard] = []
    for backend in backends:
        found.append(backend.card)
        if isinstance(backend, AdaptableBackend):
            found += backend.adapters.values()
    return found


def _quiet() -> None:
    """A log is read later, and by people who look for trouble: no progress bars, and none of the warnings that
    transformers has about prompts which the engine refuses by itself."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]


class Models:
    """Submit and cancel by model, whichever shape its backend has. Used by the event loop only.

    `emit` may block and gets the events of stepped backends, in the compute thread; `push` must not block and gets
    those of the others, from any thread. A model may be an adapter of another, its host, which has the backend.
    """

    def __init__(self, backends: Mapping[str, Backend], emit: Emit, push: Emit) -> None:
        self._backends = dict(backends)
        self.cards = {card.model: card for card in cards(backends.values())}
        """Of all that is or was served: requests under an adapter that was dropped may still run."""
        self._served = dict.fromkeys(self.cards)
        self._push = push
        stepped = {model: backend for model, backend in backends.items() if isinstance(backend, SteppedBackend)}
        self._stepped = frozenset(stepped)
        self._pushing = [backend for backend in backends.values() if isinstance(backend, PushingBackend)]
        self._compute = ComputeThread(stepped.values(), emit)
        self._abandoned: Counter[str] = Counter()

    @property
    def hosts(self) -> tuple[str, ...]:
        """The models that have topics of their own."""
        return tuple(self._backends)

    @property
    def names(self) -> tuple[str, ...]:
        """All that is served, adapters too."""
        return tuple(self._served)

    def host(self, model: str) -> str:
        """The model whose topics take requests for this one, also if it was dropped."""
        return self.cards[model].host

    def serves(self, model: str, host: str) -> bool:
        """Whether requests for a model belong on the topics of `host`."""
        return model in self._served and self.cards[model].host == host

    def resumable(self, model: str) -> bool:
        return self._backends[self.host(model)].resumable

    def load(self, model: str) -> Load:
        return self._backends[self.host(model)].load()

    def slowest_step(self) -> float | None:
        """The longest step of all since this was last asked, in seconds; None where there was none."""
        return self._compute.slowest_step()

    async def load_adapter(self, card: ModelCard) -> None:
        """Serve an adapter of one of the hosts. Raises `SetupError` when it cannot be, or is not what its card says."""
        backend = self._backends[card.host]
        if not isinstance(backend, AdaptableBackend):
            raise SetupError(f"its base `{card.host}` is not run by an engine here")
        await asyncio.to_thread(backend.load_adapter, card.model, card.source or "")
        found = backend.adapters[card.model].digest
        if found != card.digest:
            backend.drop_adapter(card.model)
            raise SetupError(f"it is registered as {card.digest[:23]}…, and {card.source} holds {found[:23]}…")
        self.cards[card.model] = card
        self._served[card.model] = None

    def drop_adapter(self, model: str) -> None:
        """Take no more requests for an adapter; those that run go on to their end."""
        backend = self._backends[self.host(model)]
        assert isinstance(backend, AdaptableBackend)
        del self._served[model]
        backend.drop_adapter(model)

    async def start(self) -> None:
        self._compute.start()
        for backend in self._pushing:
            await backend.start(self._push)

    async def stop(self) -> None:
        """End the compute thread after its step, and what pushes. Their jobs get no end from here on."""
        if not await asyncio.to_thread(self._compute.stop):
            _log.warning("the compute thread did not end in time")
        for backend in self._pushing:
            await backend.stop()

    def submit(self, model: str, job: Job) -> None:
        host = self.host(model)
        if host in self._stepped:
            self._compute.submit(host, job)
        else:
            self._backends[host].submit(job)

    def abandon(self, model: str, key: str) -> None:
        """Cancel a job that was submitted and has not ended, and hear no more of it.

        It still owes its terminal event; until that comes `current` drops what is said under its key, so that it is not
        taken for what a later job under the same key says.
        """
        self._abandoned[key] += 1
        host = self.host(model)
        if host in self._stepped:
            self._compute.cancel(host, key)
        else:
            self._backends[host].cancel(key)

    def current(self, events: Sequence[Event]) -> list[Event]:
        """Those events whose jobs were not given up, in order."""
        if not self._abandoned:
            return list(events)
        kept: list[Event] = []
        for event in events:
            if event.key not in self._abandoned:
                kept.append(event)
            elif isinstance(event, Finished | Failed):
                self._abandoned[event.key] -= 1
                if not self._abandoned[event.key]:
                    del self._abandoned[event.key]
        return kept
