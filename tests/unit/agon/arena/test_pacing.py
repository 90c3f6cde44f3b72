"""The pacer's decisions, one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agon.arena.pacing import PACES, Arrived, Meter, Pacer, Rates, Rules, Shown, choose_pace, start_time

RULES = Rules()


def test_nothing_starts_before_both_have_begun() -> None:
    assert start_time(Arrived(10, True, 1.0), Arrived(0, False, None), RULES) is None
    assert start_time(Arrived(10, True, 1.0), Arrived(1, False, 3.0), RULES) == 3.0 + RULES.window


def test_a_complete_answer_starts_no_earlier_than_one_that_has_just_begun() -> None:
    began = Arrived(3, False, 2.0), Arrived(5, False, 1.5)
    complete = Arrived(3, True, 2.0), Arrived(5, True, 1.5)
    assert start_time(*began, RULES) == start_time(*complete, RULES)


@given(st.floats(0.1, 5000), st.floats(0.1, 5000))
def test_the_pace_is_symmetric_one_of_a_few_and_not_faster_than_the_slower_side(one: float, other: float) -> None:
    pace = choose_pace([one, other], RULES)
    assert pace == choose_pace([other, one], RULES)
    assert pace in PACES
    assert pace / RULES.tick <= min(one, other) or pace == PACES[0]


def test_a_side_of_which_nothing_is_known_gets_the_default_rate() -> None:
    assert choose_pace([None, 10_000], RULES) == choose_pace([RULES.default_rate, 10_000], RULES)


def test_both_sides_grow_by_the_same_number_of_characters() -> None:
    pacer = Pacer(4)
    assert pacer.step(Arrived(100, True, 0), Arrived(9, False, 0)) == Shown(4, 4)
    assert pacer.step(Arrived(100, True, 0), Arrived(9, False, 0)) == Shown(8, 8)


def test_both_wait_for_a_side_that_lacks_characters() -> None:
    pacer = Pacer(4)
    for a, b in ((100, 3), (3, 100)):
        assert pacer.step(Arrived(a, False, 0), Arrived(b, False, 0)) == Shown()
    assert pacer.step(Arrived(100, False, 0), Arrived(4, False, 0)) == Shown(4, 4)


def test_the_longer_one_goes_on_at_the_same_pace_and_both_are_complete_together() -> None:
    pacer = Pacer(4)
    a, b = Arrived(6, True, 0), Arrived(10, True, 0)
    assert [pacer.step(a, b) for _ in range(3)] == [Shown(4, 4), Shown(6, 8), Shown(6, 10, True)]


def test_nothing_is_complete_before_the_end_of_both_is_known() -> None:
    pacer = Pacer(4)
    assert not pacer.step(Arrived(4, True, 0), Arrived(4, False, 0)).complete
    assert not pacer.step(Arrived(4, True, 0), Arrived(4, False, 0)).complete
    assert pacer.step(Arrived(4, True, 0), Arrived(4, True, 0)).complete


def test_two_empty_answers_are_complete_at_once() -> None:
    assert Pacer(1).step(Arrived(0, True, 0), Arrived(0, True, 0)) == Shown(0, 0, True)


def test_a_pace_below_one_shows_a_character_every_few_ticks() -> None:
    pacer = Pacer(0.25)
    full = Arrived(100, True, 0)
    assert [pacer.step(full, full).a for _ in range(8)] == [0, 0, 0, 1, 1, 1, 1, 2]


def test_a_process_that_takes_over_catches_up_but_only_as_far_as_both_sides_allow() -> None:
    assert Pacer(4, ticks=10).step(Arrived(100, True, 0), Arrived(100, True, 0)) == Shown(44, 44)
    assert Pacer(4, ticks=10).step(Arrived(100, True, 0), Arrived(21, False, 0)) == Shown(20, 20)
    late = Pacer(4, ticks=1000)
    late.step(Arrived(100, False, 0), Arrived(21, False, 0))
    assert late.step(Arrived(100, False, 0), Arrived(100, False, 0)) == Shown(24, 24), "only the first step catches up"


@given(st.data())
def test_the_showing_is_symmetric_and_never_more_than_what_came(data: st.DataObject) -> None:
    pace = data.draw(st.sampled_from(PACES))
    pacer, mirrored = Pacer(pace), Pacer(pace)
    ended = {"a": False, "b": False}
    come = {"a": 0, "b": 0}
    before = Shown()
    for _ in range(30):
        for side in ("a", "b"):
            if not ended[side]:
                come[side] += data.draw(st.integers(0, 20))
                ended[side] = data.draw(st.booleans())
        a, b = (Arrived(come[side], ended[side], 0.0) for side in ("a", "b"))
        shown, other = pacer.step(a, b), mirrored.step(b, a)
        assert (shown.a, shown.b, shown.complete) == (other.b, other.a, other.complete)
        assert before.a <= shown.a <= come["a"]
        assert before.b <= shown.b <= come["b"]
        assert shown.a == shown.b or min(shown.a, shown.b) == min(come["a"], come["b"])
        before = shown


def test_a_rate_counts_what_comes_after_the_first_piece() -> None:
    meter = Meter()
    meter.text(1.0, 500)
    for at in (1.1, 1.2, 1.3, 1.4):
        meter.text(at, 5)
    assert meter.rate == pytest.approx(20 / 0.4)


def test_a_few_pieces_are_no_rate() -> None:
    meter = Meter()
    for at in (1.0, 1.1, 1.2):
        meter.text(at, 5)
    assert meter.rate is None


def test_what_is_known_of_a_model_helps_where_its_answer_is_too_short() -> None:
    rates = Rates(most=2)
    assert rates.expect("m", None) is None
    rates.learn("m", 100.0)
    rates.learn("m", None)
    assert rates.expect("m", None) == 100.0
    assert rates.expect("m", 50.0) == 50.0
    assert rates.expect("m", 500.0) == 100.0
    rates.learn("n", 1.0)
    rates.learn("o", 1.0)
    assert rates.expect("m", None) is None, "only the newest are kept"
