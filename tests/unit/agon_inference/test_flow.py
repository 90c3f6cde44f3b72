"""What is read follows from how full our hands are."""

from dataclasses import replace

from agon_inference.flow import Hands, hold

EMPTY = Hands(count=0, capacity=16)


def test_both_topics_are_read_while_there_is_room() -> None:
    assert hold(EMPTY, False, False) == (False, False)


def test_batch_requests_come_only_into_the_free_half() -> None:
    assert hold(replace(EMPTY, count=7), False, False) == (False, False)
    assert hold(replace(EMPTY, count=8), False, False) == (False, True)


def test_beside_interactive_requests_those_of_batches_have_a_part_of_the_free_half() -> None:
    assert hold(replace(EMPTY, count=7, batch=2, batch_room=3), False, False) == (False, False)
    assert hold(replace(EMPTY, count=3, batch=3, batch_room=3), False, False) == (False, True)
    assert hold(replace(EMPTY, count=8, batch=0, batch_room=100), False, False) == (False, True)


def test_one_of_a_batch_goes_on_beside_however_many_others_there_is_room_for() -> None:
    assert hold(replace(EMPTY, count=7, batch=0, batch_room=1), False, True)[1] is True  # of the half
    assert hold(replace(EMPTY, count=5, batch=0, batch_room=1), False, True)[1] is False
    assert hold(replace(EMPTY, count=5, batch=1, batch_room=1), False, False)[1] is True


def test_a_held_part_goes_on_once_a_quarter_of_it_is_free_again() -> None:
    big = Hands(count=20, capacity=64, batch_room=8)
    assert hold(replace(big, batch=7), False, True) == (False, True)
    assert hold(replace(big, batch=5), False, True) == (False, False)
    assert hold(replace(big, batch=7), False, False) == (False, False)


def test_interactive_requests_come_up_to_the_capacity() -> None:
    assert hold(replace(EMPTY, count=15), False, True)[0] is False
    assert hold(replace(EMPTY, count=16), False, True)[0] is True


def test_a_held_topic_goes_on_once_an_eighth_is_free() -> None:
    assert hold(replace(EMPTY, count=15), True, True)[0] is True
    assert hold(replace(EMPTY, count=13), True, True)[0] is False


def test_a_model_that_holds_one_request_is_served_again_after_it() -> None:
    one = Hands(count=1, capacity=1)
    assert hold(one, False, False) == (True, True)
    assert hold(replace(one, count=0), True, True) == (False, False)


def test_nothing_is_read_while_redis_is_away_or_memory_is_full() -> None:
    assert hold(replace(EMPTY, away=True), False, False) == (True, True)
    assert hold(replace(EMPTY, full_bytes=True), False, False) == (True, True)
