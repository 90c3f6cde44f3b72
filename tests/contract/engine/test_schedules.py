"""Random schedules: whatever comes and goes, pages add up, each request ends once, and its answer is its own."""

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agon.engine.engine import Engine
from agon.engine.events import Event, Failed, Finished
from agon.engine.params import Limits, Request
from agon.engine.sampling import SamplingParams
from agon.errors import Cancelled, Expired
from contract.engine.tiny import make_engine, prompts_of, run, told_text, told_tokens

PAGE = 4
# Some begin alike, so that they find each other's pages.
PROMPTS = [prompt[:length] for prompt in prompts_of((23, 23)) for length in (1, 3, 4, 5, 9, 16, 23)]
MOST = 16  # tokens of an answer: with the longest prompt they just fit the smallest pool
LONG_AGO = 1.0

asked = st.builds(
    lambda prompt, temperature, seed, count, n, priority, salt: Request(
        "",
        prompt,
        SamplingParams(temperature=temperature, top_k=20, seed=seed, max_tokens=count, n=n, stop=("qu",)),
        priority=priority,
        salt=salt,
    ),
    st.sampled_from(PROMPTS),
    st.sampled_from([0.0, 0.8]),
    st.integers(0, 3),
    st.integers(1, MOST),
    st.sampled_from([1, 1, 1, 3]),
    st.integers(0, 1),
    st.sampled_from(["", "", "ours"]),
)
happening = st.one_of(
    st.tuples(st.just("submit"), asked),
    st.tuples(st.just("late"), asked),
    st.tuples(st.just("cancel"), st.integers(0, 12)),
    st.tuples(st.just("step"), st.integers(1, 4)),
)

reference_engine = make_engine(page_size=16)
MODEL = reference_engine.model
reference_answers: dict[str, list[Event]] = {}


def pages_add_up(engine: Engine) -> None:
    pool = engine.scheduler.pool
    sequences = [s for group in engine._groups.values() for s in group.open.values()]
    held = Counter(page for sequence in sequences for page in sequence.pages)
    assert [held[page] for page in range(pool.count + 1)] == pool.references()
    assert pool.free == pool.count - len(held)
    for sequence in engine.scheduler.running:
        assert sequence.computed <= len(sequence.pages) * PAGE
        assert sequence.published == sequence.computed // PAGE
    assert not any(sequence.pages for sequence in engine.scheduler.waiting)
    assert {content.digest: page for page, content in pool._contents.items()} == pool._published


@settings(max_examples=25)
@given(
    first=st.lists(asked, max_size=6),
    events=st.lists(happening, min_size=1, max_size=25),
    pages=st.integers(10, 20),
    budget=st.integers(6, 24),
    width=st.integers(1, 6),
)
def test_any_schedule(first: list[Request], events: list[tuple[str, Any]], pages: int, budget: int, width: int) -> None:
    limits = Limits(
        kv_cache_bytes=(pages + 1) * MODEL.cache_shape.page_bytes(PAGE),
        page_size=PAGE,
        max_batch_tokens=budget,
        max_sequences=width,
        context_length=64,
    )
    engine = Engine(MODEL, reference_engine.tokenizer, limits)
    submitted: dict[str, Request] = {}
    cancelled: set[str] = set()
    late: set[str] = set()
    told: dict[str, list[Event]] = {}

    def step() -> None:
        for event in engine.step():
            told.setdefault(event.key, []).append(event)
        pages_add_up(engine)

    for what, value in [*(("submit", each) for each in first), *events]:
        if what in ("submit", "late"):
            key = f"r{len(submitted)}"
            deadline = LONG_AGO if what == "late" else None
            late.update([key] if deadline else [])
            submitted[key] = replace(value, key=key, deadline=deadline)
            engine.submit(submitted[key])
        elif what == "cancel":
            cancelled.add(f"r{value}")
            engine.cancel(f"r{value}")
        else:
            for _ in range(value):
                step()
    steps = 0
    while engine.busy:
        step()
        steps += 1
        assert steps < 5000
    assert engine.cache_used == 0
    assert told.keys() == submitted.keys()
    for key, request in submitted.items():
        ends = [event for event in told[key] if isinstance(event, (Finished, Failed))]
        assert ends == told[key][-1:]
        if isinstance(ends[0], Failed):
            assert isinstance(ends[0].error, (Cancelled, Expired))
            assert key in (cancelled if isinstance(ends[0].error, Cancelled) else late)
        else:
            expected = _alone(request)
            for choice in range(request.params.n):
                assert told_tokens(told[key], choice) == told_tokens(expected, choice)
                assert told_text(told[key], choice) == told_text(expected, choice)


def _alone(request: Request) -> list[Event]:
    """What the request is answered with nothing else in the engine, nothing cached and room for everything."""
    key = repr((request.prompt, request.params))
    if key not in reference_answers:
        # A salt of its own: it finds nobody's pages.
        alone = replace(request, key=key, deadline=None, salt=key)
        reference_answers[key] = run(reference_engine, alone)[key]
    return reference_answers[key]
