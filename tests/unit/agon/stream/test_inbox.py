from hypothesis import given
from hypothesis import strategies as st

from agon.stream.frames import Delta, Frame, decode, encode
from agon.stream.inbox import BEGIN_AGAIN, PAGE, Inbox


def frames(start: int, end: int) -> list[Frame]:
    return [decode(encode("t/r", 1, at, 0, Delta((at,), "x"))) for at in range(start, end)]


def places(inbox: Inbox) -> list[int | None]:
    return [None if f is BEGIN_AGAIN else f.at for f in inbox.drain()]


def test_frames_come_out_in_order_and_repeats_are_dropped() -> None:
    inbox = Inbox(100)
    assert not inbox.deliver("l", 0, frames(0, 3))
    assert not inbox.deliver("l", 1, frames(1, 3))
    assert not inbox.deliver("l", 2, frames(2, 5))
    assert places(inbox) == [0, 1, 2, 3, 4]


def test_a_gap_asks_for_the_list_and_what_comes_meanwhile_is_not_lost() -> None:
    inbox = Inbox(100)
    inbox.deliver("l", 0, frames(0, 2))
    assert inbox.deliver("l", 3, frames(3, 4))
    assert inbox.behind
    # The list was read before this one was published, and its reply comes after it.
    inbox.deliver("l", 4, frames(4, 5))
    assert inbox.read("l", 2, frames(2, 4))
    assert places(inbox) == [0, 1, 2, 3]
    assert not inbox.read("l", 4, frames(4, 5))
    assert places(inbox) == [4]
    assert not inbox.behind


def test_the_first_frames_may_have_been_missed() -> None:
    inbox = Inbox(100)
    assert inbox.deliver("l", 2, frames(2, 3))
    assert not inbox.read("l", 0, frames(0, 3))
    assert places(inbox) == [0, 1, 2]


def test_a_slow_reader_leaves_the_rest_in_the_list() -> None:
    inbox = Inbox(4)
    for at in range(10):
        assert not inbox.deliver("l", at, frames(at, at + 1))
    assert inbox.behind
    assert places(inbox) == [0, 1, 2, 3]
    assert inbox.hungry
    assert not inbox.read("l", 4, frames(4, 10))
    assert places(inbox) == [4, 5, 6, 7, 8, 9]
    assert not inbox.behind


def test_a_long_list_is_read_page_by_page() -> None:
    inbox = Inbox(10 * PAGE)
    assert inbox.read("l", 0, frames(0, PAGE))
    assert not inbox.read("l", PAGE, frames(PAGE, PAGE + 5))
    assert places(inbox) == list(range(PAGE + 5))


def test_another_list_begins_again() -> None:
    inbox = Inbox(100)
    inbox.deliver("l", 0, frames(0, 3))
    assert inbox.deliver("m", 2, [])
    assert not inbox.read("m", 0, frames(0, 2))
    assert places(inbox) == [0, 1, 2, BEGIN_AGAIN, 0, 1]


def test_another_list_found_behind_its_beginning_is_read_from_its_beginning() -> None:
    inbox = Inbox(100)
    inbox.deliver("l", 0, frames(0, 3))
    assert inbox.read("m", 3, frames(3, 4))
    assert inbox.received == 0
    assert not inbox.read("m", 0, frames(0, 4))
    assert places(inbox) == [0, 1, 2, BEGIN_AGAIN, 0, 1, 2, 3]


@given(st.data())
def test_whatever_the_channel_loses_and_repeats_each_frame_comes_out_once(data: st.DataObject) -> None:
    inbox, everything, length, got = Inbox(3), frames(0, 30), 0, []
    while length < len(everything):
        count = data.draw(st.integers(1, 4))
        begin, length = length, min(length + count, len(everything))
        for _ in range(data.draw(st.integers(0, 2))):
            if inbox.deliver("l", begin, everything[begin:length]):
                inbox.read("l", inbox.received, everything[inbox.received : length])
        if data.draw(st.booleans()):
            got += places(inbox)
    got += places(inbox)
    inbox.read("l", inbox.received, everything[inbox.received :])
    got += places(inbox)
    assert got == list(range(30))
