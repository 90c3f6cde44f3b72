"""The one thread that computes: it steps all stepped backends of a process and hands on what happened."""

import logging
import threading
import time
from collections.abc import Iterable, Sequence

from agon.backends.base import Emit, Event, Failed, Finished, Job, SteppedBackend
from agon.errors import EngineFailed

_log = logging.getLogger(__name__)
_REST_SECONDS = 1.0


class _Seat:
    """A backend at the thread's table: the compute seconds it has had, and until when it rests after a failure."""

    def __init__(self, backend: SteppedBackend) -> None:
        self.backend = backend
        self.spent = 0.0
        self.rests_until = 0.0
        self.was_ready = False


class ComputeThread:
    """Steps backends in turn in one thread.

    Models share compute time equally: of those with work the one that has had the least goes next, and one that was
    idle starts level with the others. `emit` gets each step's events in the thread and may block: that is the
    backpressure. Every job submitted here gets exactly one terminal event, even when its backend breaks its promise
    not to raise; only `stop` leaves jobs without one, for whoever resumes them.
    """

    def __init__(self, backends: Iterable[SteppedBackend], emit: Emit, name: str = "agon-compute") -> None:
        self._seats = {backend.card.model: _Seat(backend) for backend in backends}
        self._emit = emit
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._slowest: float | None = None
        self._live: dict[str, dict[str, int]] = {model: {} for model in self._seats}  # submissions without an end
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> bool:
        """Stop after the step in progress. False when it did not end within `timeout` seconds."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def submit(self, model: str, job: Job) -> None:
        """Give a job to a model's backend and wake the thread. Raises `KeyError` for a model that is not here."""
        seat = self._seats[model]
        with self._lock:
            live = self._live[model]
            live[job.key] = live.get(job.key, 0) + 1
            seat.backend.submit(job)
        self._wake.set()

    def cancel(self, model: str, key: str) -> None:
        """Cancel a job; its terminal event follows. Raises `KeyError` for a model that is not here."""
        self._seats[model].backend.cancel(key)
        self._wake.set()

    def slowest_step(self) -> float | None:
        """The longest step since this was last asked, in seconds; None where there was none."""
        slowest, self._slowest = self._slowest, None
        return slowest

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()  # before looking for work, so that a submit in between is seen at the next wait
            try:
                seat, idle = self._next()
                if seat is None:
                    self._wake.wait(idle)
                    continue
                events = self._step(seat)
                if events:
                    self._emit(events)
            except Exception:
                # Only `emit` can bring us here, which belongs to the service; the other models go on.
                _log.exception("handing on events failed")
                self._wake.wait(_REST_SECONDS)

    def _next(self) -> tuple[_Seat | None, float | None]:
        """The backend to step now, or else how long there is nothing to do."""
        ready: list[_Seat] = []
        soonest: float | None = None
        moment = time.monotonic()
        for seat in self._seats.values():
            resting = seat.rests_until - moment
            idle = resting if resting > 0 else seat.backend.idle_for()
            if idle is not None and idle <= 0:
                ready.append(seat)
            else:
                seat.was_ready = False
                if idle is not None:
                    soonest = idle if soonest is None else min(soonest, idle)
        if not ready:
            return None, soonest
        level = min((seat.spent for seat in ready if seat.was_ready), default=None)
        for seat in ready:
            if not seat.was_ready:
                seat.was_ready = True
                seat.spent = max(seat.spent, level) if level is not None else seat.spent
        return min(ready, key=lambda seat: seat.spent), None

    def _step(self, seat: _Seat) -> Sequence[Event]:
        began = time.monotonic()
        model = seat.backend.card.model
        try:
            events = seat.backend.step()
        except Exception:
            _log.exception("the backend of %s failed; its requests fail with it", model)
            seat.rests_until = time.monotonic() + _REST_SECONDS
            return self._fail_all(model, seat.backend)
        took = time.monotonic() - began
        seat.spent += took
        self._slowest = max(took, self._slowest or 0.0)
        return self._count_ends(model, events)

    def _count_ends(self, model: str, events: Sequence[Event]) -> Sequence[Event]:
        """Note which submissions have ended, and drop what a failed backend still says about those failed for it."""
        live = self._live[model]
        kept: list[Event] = []
        for event in events:
            count = live.get(event.key)
            if count is None:
                continue
            kept.append(event)
            if type(event) is Failed or type(event) is Finished:
                with self._lock:
                    if live[event.key] > 1:
                        live[event.key] -= 1
                    else:
                        del live[event.key]
        return kept

    def _fail_all(self, model: str, backend: SteppedBackend) -> list[Event]:
        with self._lock:
            keys = [key for key, count in self._live[model].items() for _ in range(count)]
            self._live[model].clear()
            for key in set(keys):
                backend.cancel(key)
        return [Failed(key, EngineFailed("the model failed while it worked on this request")) for key in keys]
