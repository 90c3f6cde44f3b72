"""The tracker may commit an offset only when everything delivered before it is finished."""

from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from agon.bus.in_flight import InFlight

WHERE = TopicPartition("t", 0)


def test_nothing_is_committed_while_the_oldest_delivery_is_unfinished() -> None:
    flight = InFlight(window=10)
    first, second = flight.deliver("t", 0, 5), flight.deliver("t", 0, 6)
    flight.finish(second)
    assert flight.marks() == {}
    flight.finish(first)
    assert flight.marks() == {WHERE: 7}


def test_the_mark_steps_over_holes_in_the_offsets() -> None:
    flight = InFlight(window=10)
    deliveries = [flight.deliver("t", 0, offset) for offset in (3, 10, 11, 40)]
    flight.finish(deliveries[0])
    assert flight.marks() == {WHERE: 10}
    flight.finish(deliveries[1])
    flight.finish(deliveries[2])
    assert flight.marks() == {WHERE: 40}
    flight.finish(deliveries[3])
    assert flight.marks() == {WHERE: 41}


def test_a_committed_mark_is_not_committed_again() -> None:
    flight = InFlight(window=10)
    flight.finish(flight.deliver("t", 0, 0))
    flight.committed(flight.marks())
    assert flight.marks() == {}


def test_a_delivery_from_before_a_rebalance_finishes_nothing() -> None:
    flight = InFlight(window=10)
    old = flight.deliver("t", 0, 7)
    flight.revoke({WHERE})
    new = flight.deliver("t", 0, 7)
    assert not flight.finish(old)
    assert flight.marks() == {}
    assert flight.finish(new)
    assert flight.marks() == {WHERE: 8}


def test_a_consumer_that_was_set_back_starts_over() -> None:
    flight = InFlight(window=10)
    ahead = flight.deliver("t", 0, 9)
    again = flight.deliver("t", 0, 4)
    flight.finish(ahead)
    assert flight.marks() == {}
    flight.finish(again)
    assert flight.marks() == {WHERE: 5}
    assert flight.unfinished == 0


def test_a_partition_is_full_until_half_of_its_window_is_free() -> None:
    flight = InFlight(window=4)
    deliveries = [flight.deliver("t", 0, offset) for offset in range(4)]
    assert flight.full() == {WHERE}
    for delivery in deliveries[1:]:
        flight.finish(delivery)
    assert flight.full() == {WHERE}, "finished above the mark, so a crash would still deliver all of them again"
    flight.finish(deliveries[0])
    assert flight.full() == set()


def test_finishing_twice_counts_once() -> None:
    flight = InFlight(window=4)
    only = flight.deliver("t", 0, 1)
    assert flight.finish(only)
    assert not flight.finish(only)
    assert flight.unfinished == 0


@given(st.data())
def test_the_mark_is_always_the_oldest_unfinished_delivery(data: st.DataObject) -> None:
    flight = InFlight(window=data.draw(st.integers(1, 8)))
    unfinished: dict[int, object] = {}
    offset, newest = data.draw(st.integers(0, 5)), None
    for _ in range(data.draw(st.integers(0, 60))):
        step = data.draw(st.sampled_from(["deliver", "finish", "commit", "rebalance"]))
        if step == "deliver":
            unfinished[offset] = flight.deliver("t", 0, offset)
            newest = offset
            offset += data.draw(st.integers(1, 3))
        elif step == "finish" and unfinished:
            chosen = data.draw(st.sampled_from(sorted(unfinished)))
            assert flight.finish(unfinished.pop(chosen))  # type: ignore[arg-type]
        elif step == "commit":
            flight.committed(flight.marks())
            assert flight.marks() == {}
        elif step == "rebalance" and newest is not None:
            # Everything from the mark on is delivered again, to us.
            offset = min(unfinished) if unfinished else newest + 1
            stale = list(unfinished.values())
            flight.revoke({WHERE})
            unfinished.clear()
            newest = None
            assert not any(flight.finish(old) for old in stale)  # type: ignore[arg-type]
        assert flight.unfinished == len(unfinished)
        for mark in flight.marks().values():
            assert newest is not None
            assert mark == (min(unfinished) if unfinished else newest + 1)
