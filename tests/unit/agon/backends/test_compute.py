"""The compute thread: wakes for work, shares time fairly, survives whatever a backend does."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from agon.backends import ComputeThread, Event, Failed, Finished, Job, Load, SteppedBackend, Tokens, compute
from agon.backends.script import Options
from agon.backends.scripted import ScriptedBackend
from agon.errors import Cancelled, EngineFailed
from agon.messages import GenerationRequest, ModelCard
from support.waiting import PATIENCE


def job(request_id: str = "r", **fields: object) -> Job:
    return Job(
        GenerationRequest.model_validate(
            {"request_id": request_id, "model": "m", "kind": "completion", "prompt": "x", "seed": 1, **fields}
        )
    )


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)


def ended(events: Sequence[Event]) -> list[Event]:
    return [event for event in list(events) if isinstance(event, (Finished, Failed))]


@contextmanager
def computing(*backends: SteppedBackend, emit: Callable[[Sequence[Event]], None]) -> Iterator[ComputeThread]:
    thread = ComputeThread(backends, emit)
    thread.start()
    try:
        yield thread
    finally:
        assert thread.stop(PATIENCE)


class Breaking(ScriptedBackend):
    """Raises in its first steps."""

    failures = 1

    def step(self) -> Sequence[Event]:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("broken")
        return super().step()


class Clock:
    """A time in which nothing but steps takes any."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.moment = 1000.0
        monkeypatch.setattr(compute, "time", SimpleNamespace(monotonic=lambda: self.moment))


class Slow(ScriptedBackend):
    """Takes its time for each step, and counts it."""

    def __init__(self, model: str, clock: Clock, seconds: float) -> None:
        super().__init__(model, Options(tokens=1_000_000, context=2_000_000))
        self.spent = 0.0
        self._clock = clock
        self._seconds = seconds

    def step(self) -> Sequence[Event]:
        self._clock.moment += self._seconds
        self.spent += self._seconds
        return super().step()


def steps(thread: ComputeThread, count: int) -> None:
    """What the thread does, as often."""
    for _ in range(count):
        seat, _ = thread._next()
        assert seat is not None
        thread._step(seat)


def test_a_job_wakes_the_thread_and_is_told_to_its_end() -> None:
    events: list[Event] = []
    with computing(ScriptedBackend("m", Options(text="a b c")), emit=events.extend) as thread:
        for i in range(3):
            thread.submit("m", job(f"r{i}"))
            until(lambda i=i: len(ended(events)) == i + 1)
    assert [type(event) for event in ended(events)] == [Finished] * 3


def test_a_delay_does_not_keep_the_thread_from_other_models() -> None:
    events: list[Event] = []
    slow, quick = ScriptedBackend("slow", Options(tokens=2, delay=60)), ScriptedBackend("quick", Options(tokens=5))
    with computing(slow, quick, emit=events.extend) as thread:
        thread.submit("slow", job("waits"))
        until(lambda: any(isinstance(event, Tokens) for event in list(events)))
        thread.submit("quick", job("runs"))
        until(lambda: ended(events))
        thread.cancel("slow", "default/waits")
        until(lambda: len(ended(events)) == 2)
    assert isinstance(ended(events)[1].error, Cancelled)  # type: ignore[union-attr]


def test_models_share_the_time_and_not_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    slow, quick = Slow("slow", clock, 0.01), Slow("quick", clock, 0.001)
    thread = ComputeThread([slow, quick], lambda events: None)
    thread.submit("slow", job("a"))
    thread.submit("quick", job("b"))
    steps(thread, 400)
    assert slow.spent > 0.3
    assert abs(slow.spent - quick.spent) < 0.011, "a step of the slow one"


def test_a_model_that_was_idle_does_not_claim_the_time_it_did_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    early, late = Slow("early", clock, 0.002), Slow("late", clock, 0.002)
    thread = ComputeThread([early, late], lambda events: None)
    thread.submit("early", job("a"))
    steps(thread, 100)
    before = early.spent
    thread.submit("late", job("b"))
    steps(thread, 100)
    assert early.spent - before == pytest.approx(late.spent, abs=0.0021)


def test_a_backend_that_raises_fails_its_jobs_and_goes_on() -> None:
    events: list[Event] = []
    backend = Breaking("m", Options(text="a b"))
    with computing(backend, ScriptedBackend("other", Options(text="c")), emit=events.extend) as thread:
        thread.submit("m", job("fails"))
        thread.submit("other", job("runs"))
        until(lambda: len(ended(events)) == 2)
        thread.submit("m", job("later"))
        until(lambda: len(ended(events)) == 3)
    ends = {event.key: event for event in ended(events)}
    assert Counter(event.key for event in ended(events)).most_common(1)[0][1] == 1
    failed = ends["default/fails"]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, EngineFailed)
    assert isinstance(ends["default/runs"], Finished)
    assert isinstance(ends["default/later"], Finished)
    assert not any(isinstance(event, Tokens) and event.key == "default/fails" for event in events)


def test_an_emit_that_raises_does_not_end_the_thread() -> None:
    events: list[Event] = []
    raised = threading.Event()

    def emit(batch: Sequence[Event]) -> None:
        if any(event.key == "default/bad" for event in batch):
            raised.set()
            raise ValueError("no")
        events.extend(batch)

    with computing(ScriptedBackend("m", Options(text="a")), emit=emit) as thread:
        thread.submit("m", job("bad"))
        until(raised.is_set)
        thread.submit("m", job("good"))
        until(lambda: ended(events))
    assert ended(events)[0].key == "default/good"


def test_an_emit_that_blocks_holds_up_the_steps() -> None:
    gate, batches = threading.Semaphore(0), []

    def emit(events: Sequence[Event]) -> None:
        batches.append(events)
        gate.acquire(timeout=PATIENCE)

    with computing(ScriptedBackend("m", Options(tokens=1000)), emit=emit) as thread:
        thread.submit("m", job())
        until(lambda: batches)
        gate.release()
        until(lambda: len(batches) == 2)
        assert len(batches) == 2
        thread._stopping.set()
        gate.release()


def test_stopping_leaves_jobs_without_an_end() -> None:
    events: list[Event] = []
    with computing(ScriptedBackend("m", Options(tokens=5, delay=60)), emit=events.extend) as thread:
        thread.submit("m", job())
        until(lambda: events)
    assert ended(events) == []


def test_a_thread_that_never_started_stops_too() -> None:
    assert ComputeThread([ScriptedBackend("m")], lambda events: None).stop()


class Idle:
    """Never has work: only to see that any stepped backend will do."""

    resumable = True

    def __init__(self) -> None:
        self.card = ModelCard.model_validate(
            {
                "model": "idle",
                "digest": "sha256:0",
                "backend": "scripted",
                "context_length": 1,
                "created_at": "2026-01-01T00:00:00Z",
            }
        )

    def submit(self, job: Job) -> None: ...

    def cancel(self, key: str) -> None: ...

    def load(self) -> Load:
        return Load(0, 0, 1)

    def step(self) -> Sequence[Event]:
        raise AssertionError("an idle backend was stepped")

    def idle_for(self) -> float | None:
        return None


def test_an_idle_backend_is_not_stepped() -> None:
    events: list[Event] = []
    with computing(Idle(), ScriptedBackend("m", Options(text="a")), emit=events.extend) as thread:
        thread.submit("m", job())
        until(lambda: ended(events))
    assert isinstance(ended(events)[0], Finished)


def test_the_slowest_step_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    thread = ComputeThread([Slow("m", Clock(monkeypatch), 0.02)], lambda events: None)
    thread.submit("m", job())
    steps(thread, 2)
    assert thread.slowest_step() == pytest.approx(0.02)
    assert thread.slowest_step() is None
