"""Batches take what interactive requests do not notice, and all of the free half when nobody else asks."""

from datetime import timedelta

import pytest

from agon_inference.courtesy import Courtesy

QUICK, SLOW = 0.005, 0.05


@pytest.fixture
def courtesy() -> Courtesy:
    greeted = Courtesy(timedelta(milliseconds=10))
    greeted.greet(100.0)
    return greeted


def looked(courtesy: Courtesy, times: int, late: float = 0.0, step: float | None = QUICK, taken: int = 1000) -> int:
    for _ in range(times):
        courtesy.look(late, step, taken)
    room = courtesy.room(100.0)
    assert room is not None
    return room


def test_without_interactive_requests_there_is_no_bound() -> None:
    assert Courtesy(timedelta(milliseconds=10)).room(100.0) is None


def test_the_bound_goes_some_time_after_the_last_interactive_request(courtesy: Courtesy) -> None:
    assert courtesy.room(109.0) == 1
    assert courtesy.room(111.0) is None
    courtesy.greet(112.0)
    assert courtesy.room(113.0) == 1


def test_it_grows_while_steps_and_the_event_loop_are_quick(courtesy: Courtesy) -> None:
    assert looked(courtesy, 7) == 8


def test_it_halves_when_steps_become_long(courtesy: Courtesy) -> None:
    assert looked(courtesy, 15) == 16
    assert looked(courtesy, 1, step=SLOW) == 8


def test_it_halves_when_the_event_loop_is_late(courtesy: Courtesy) -> None:
    assert looked(courtesy, 15) == 16
    assert looked(courtesy, 1, late=SLOW) == 8


def test_an_event_loop_that_is_late_by_itself_is_measured_by_that(courtesy: Courtesy) -> None:
    assert looked(courtesy, 30, late=0.02, taken=1) == 2
    assert looked(courtesy, 14, late=0.0205) == 16
    assert looked(courtesy, 9, late=0.0225) < 16


def test_it_never_goes_below_one_so_that_batches_end(courtesy: Courtesy) -> None:
    assert looked(courtesy, 5, late=SLOW) == 1


def test_a_model_whose_steps_are_long_by_themselves_is_measured_by_those(courtesy: Courtesy) -> None:
    assert looked(courtesy, 7, step=SLOW) == 8
    assert looked(courtesy, 1, step=SLOW + 0.02) == 4


def test_room_that_nobody_needs_does_not_pile_up(courtesy: Courtesy) -> None:
    assert looked(courtesy, 50, taken=3) == 4


def test_a_bound_far_above_what_runs_is_brought_down_at_once(courtesy: Courtesy) -> None:
    assert looked(courtesy, 63) == 64
    assert looked(courtesy, 1, late=SLOW, taken=10) == 5
