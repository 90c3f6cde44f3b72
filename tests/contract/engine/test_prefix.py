"""The prefix cache: what was computed before is not computed again, and nobody can tell but by the usage."""

from dataclasses import replace

from agon.engine.engine import Engine
from agon.engine.events import Admitted, Finished
from agon.engine.params import Request
from agon.engine.sampling import SamplingParams
from contract.engine.tiny import make_engine, prompts_of, run, told_tokens

PROMPT = prompts_of((30,))[0]
GREEDY = SamplingParams(temperature=0, max_tokens=8, ignore_eos=True)
FIRST = Request("first", PROMPT, GREEDY)


def cached(engine: Engine, request: Request) -> int:
    events = run(engine, request)[request.key]
    admitted, end = events[0], events[-1]
    assert isinstance(admitted, Admitted)
    assert isinstance(end, Finished)
    assert admitted.cached_tokens <= end.cached_tokens
    return end.cached_tokens


def test_a_prompt_that_was_computed_before_is_found_except_for_its_last_page() -> None:
    engine = make_engine(page_size=4)
    assert cached(engine, FIRST) == 0
    assert cached(engine, FIRST) == 28
    assert cached(engine, replace(FIRST, prompt=PROMPT[:28])) == 24
    assert cached(engine, replace(FIRST, prompt=[*PROMPT[:13], 5])) == 12
    assert cached(engine, replace(FIRST, prompt=PROMPT[1:])) == 0
    assert (engine.scheduler.prefix_queries, engine.scheduler.prefix_hits) == (30 + 30 + 28 + 14 + 29, 28 + 24 + 12)


def test_the_answer_is_found_too_when_the_next_turn_repeats_it() -> None:
    engine = make_engine(page_size=4)
    said = told_tokens(run(engine, FIRST)["first"])
    following = Request("next", [*PROMPT, *said, 7, 8, 9], GREEDY)
    alone = told_tokens(run(make_engine(page_size=4), following)["next"])
    assert cached(engine, following) == 36  # the last token of an answer is never computed
    assert told_tokens(run(engine, following)["next"]) == alone


def test_nobody_finds_what_belongs_to_others() -> None:
    engine = make_engine(page_size=4)
    assert cached(engine, FIRST) == 0
    foreign = replace(FIRST, salt="another tenant")
    assert cached(engine, foreign) == 0
    assert cached(engine, foreign) == 28


def test_a_running_prompt_is_found_chunk_by_chunk() -> None:
    engine = make_engine(page_size=4, max_batch_tokens=8, max_sequences=2)
    engine.submit(FIRST)
    engine.step()
    engine.step()
    assert cached(engine, replace(FIRST, key="second")) >= 16  # both run side by side


def test_choices_compute_the_prompt_once() -> None:
    engine = make_engine(page_size=4, max_sequences=8)
    events = run(engine, Request("r", PROMPT, SamplingParams(temperature=1, seed=1, n=4, max_tokens=5)))["r"]
    end = events[-1]
    assert isinstance(end, Finished)
    assert end.cached_tokens == 0  # what its own choices share was not there before
    assert engine.scheduler.prefix_hits == 3 * 28


def test_a_full_cache_forgets_the_oldest() -> None:
    page = make_engine().model.cache_shape.page_bytes(4)
    engine = make_engine(page_size=4, kv_cache_bytes=21 * page, context_length=40)
    others = prompts_of((30, 30, 30), seed=3)
    cached(engine, FIRST)
    cached(engine, Request("b", others[0], GREEDY))
    assert cached(engine, FIRST) == 28
    assert cached(engine, Request("c", others[1], GREEDY)) == 0
    assert cached(engine, FIRST) > cached(engine, Request("b", others[0], GREEDY))
    assert engine.cache_used == 0
