"""Who computes what in a step: one budget, decodes first, interactive before batch, pages for all who run."""

from itertools import count

from agon.engine.adapter import Adapter
from agon.engine.pages import PagePool, root_of
from agon.engine.params import Limits
from agon.engine.scheduler import Scheduler
from agon.engine.sequence import Drawing, Sequence

SIZE = 4
INTERACTIVE, BATCH = 0, 1
_DRAWING = Drawing(temperature=0, top_k=0, top_p=1, seed=0, stop=(), end_ids=frozenset(), limit=100)
_arrivals = count()


def scheduler(pages: int, width: int = 4, budget: int = 16) -> Scheduler:
    return Scheduler(PagePool(pages), Limits(page_size=SIZE, max_sequences=width, max_batch_tokens=budget))


def sequence(key: str, length: int, priority: int = INTERACTIVE, adapter: Adapter | None = None) -> Sequence:
    """A prompt that nobody else has."""
    arrival = next(_arrivals)
    return Sequence(key, 0, (priority, arrival, 0), [arrival] * length, _DRAWING, root_of(None, ""), adapter)


def step(plan: Scheduler) -> dict[str, int]:
    """Plan a step, compute it and draw: how many tokens of whom."""
    pieces = plan.plan()
    for piece in pieces:
        draws = piece.draws
        plan.advance(piece)
        if draws:
            piece.sequence.tokens.append(9)
    return {piece.sequence.key: piece.count for piece in pieces}


def test_decodes_go_first_and_prompts_share_the_rest_of_the_budget() -> None:
    plan = scheduler(pages=100)
    plan.add(sequence("a", 3))
    assert step(plan) == {"a": 3}
    plan.add(sequence("b", 12))
    plan.add(sequence("c", 20))
    assert step(plan) == {"a": 1, "b": 12, "c": 3}
    assert step(plan) == {"a": 1, "b": 1, "c": 14}
    assert step(plan) == {"a": 1, "b": 1, "c": 3}


def test_of_those_that_come_together_the_shortest_goes_first() -> None:
    plan = scheduler(pages=100)
    for key, length in (("long", 30), ("middle", 11), ("short", 5)):
        plan.add(sequence(key, length))
    assert step(plan) == {"short": 5, "middle": 11}
    assert step(plan) == {"short": 1, "middle": 1, "long": 14}


def test_nobody_is_overtaken_by_who_comes_later_than_its_own_length() -> None:
    plan = scheduler(pages=200)
    plan.add(sequence("long", 40))
    plan.add(sequence("a", 16))
    assert step(plan) == {"a": 16}
    plan.add(sequence("b", 16))
    assert step(plan) == {"a": 1, "b": 15}
    plan.add(sequence("c", 16))  # 32 + 16 is later than 40
    assert step(plan) == {"a": 1, "b": 1, "long": 14}


def test_a_prompt_that_was_taken_late_has_the_turn_of_when_it_came() -> None:
    plan = scheduler(pages=200)
    came = plan.clock
    plan.add(sequence("first", 16))
    step(plan)
    plan.add(sequence("second", 30))
    plan.add(sequence("late", 20), came)
    assert step(plan) == {"first": 1, "late": 15}


def test_an_interactive_prompt_is_computed_before_a_batch_prompt_that_came_first() -> None:
    plan = scheduler(pages=100)
    plan.add(sequence("batch", 40, BATCH))
    step(plan)
    plan.add(sequence("interactive", 14))
    assert step(plan) == {"interactive": 14}
    assert step(plan) == {"interactive": 1, "batch": 15}


def test_a_batch_skips_the_steps_of_interactive_prompts_but_not_for_ever() -> None:
    plan = scheduler(pages=200, width=8)
    plan.add(sequence("batch", 3, BATCH))
    assert step(plan) == {"batch": 3}
    plan.add(sequence("a", 90))
    for _ in range(4):
        assert step(plan) == {"a": 16}
    assert step(plan) == {"batch": 1, "a": 15}
    assert step(plan) == {"a": 11}
    assert step(plan) == {"a": 1, "batch": 1}  # a decode is no prompt


def test_a_prompt_that_finds_no_room_keeps_nobody_waiting() -> None:
    plan = scheduler(pages=100, width=1)
    plan.add(sequence("a", 3))
    step(plan)
    plan.add(sequence("b", 3))
    assert step(plan) == {"a": 1}


def test_batch_makes_way_for_interactive_but_not_for_its_like() -> None:
    plan = scheduler(pages=100, width=2)
    for key in ("old", "new"):
        plan.add(sequence(key, 5, BATCH))
    assert step(plan) == {"old": 5, "new": 5}
    plan.add(sequence("third", 5, BATCH))
    assert step(plan) == {"old": 1, "new": 1}
    plan.add(sequence("interactive", 5))
    assert step(plan) == {"interactive": 5}
    assert step(plan) == {"interactive": 1, "old": 1}
    assert [waiting.key for waiting in plan.waiting] == ["new", "third"]


def test_batch_goes_on_where_its_preemption_would_free_no_slot_for_the_adapter() -> None:
    plan = Scheduler(PagePool(100), Limits(page_size=SIZE, max_sequences=4, max_batch_tokens=16, adapter_slots=1))
    one, two = (Adapter(name, name, 1, {}) for name in ("one", "two"))
    for each in (sequence("first", 5, adapter=one), sequence("batch", 5, BATCH)):
        plan.add(each)
    step(plan)
    plan.add(sequence("second", 5, adapter=two))
    assert step(plan) == {"first": 1, "batch": 1}
    assert plan.preemptions == 0
    plan.remove(plan.running[0])
    assert step(plan) == {"second": 5}
    assert step(plan) == {"second": 1, "batch": 1}


def test_who_was_preempted_finds_what_it_had_computed() -> None:
    plan = scheduler(pages=100, width=1)
    plan.add(sequence("batch", 9, BATCH))
    step(plan)
    interactive = sequence("interactive", 5)
    plan.add(interactive)
    assert step(plan) == {"interactive": 5}
    plan.remove(interactive)
    assert step(plan) == {"batch": 2}  # of ten tokens two pages are still there


def test_a_sequence_joins_only_when_those_who_run_keep_room_to_grow() -> None:
    plan = scheduler(pages=5)
    plan.add(sequence("a", 7))
    plan.add(sequence("b", 12))
    assert step(plan) == {"a": 7}  # two pages of five, and b would take the others
    plan.remove(plan.running[0])
    assert step(plan) == {"b": 12}


def test_without_a_free_page_the_newest_of_the_lowest_priority_gives_way() -> None:
    plan = scheduler(pages=4, width=3)
    for key, priority in (("batch", BATCH), ("a", INTERACTIVE), ("b", INTERACTIVE)):
        plan.add(sequence(key, 3, priority))
    assert step(plan) == {"a": 3, "b": 3, "batch": 3}
    assert step(plan) == {"a": 1, "b": 1, "batch": 1}
    assert step(plan) == {"a": 1, "b": 1}  # with the last free page, and the one of batch
    assert [running.key for running in plan.running] == ["a", "b"]
    assert [waiting.key for waiting in plan.waiting] == ["batch"]
