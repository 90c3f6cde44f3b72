"""Server-sent events, cut anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agon.backends.sse import EventParser
from agon.errors import UpstreamFailed

STREAM = (
    ': comment\n\ndata: {"a": 1}\r\n\r\nevent: x\ndata:two\ndata: lines\n\nid: 4\n\ndata: \u2028é🌱\n\ndata: unended\n'
)
EVENTS = [b'{"a": 1}', b"two\nlines", "\u2028é🌱".encode()]


@given(st.lists(st.integers(1, 20), max_size=40))
def test_any_cutting_gives_the_same_events(cuts: list[int]) -> None:
    parser, data, events = EventParser(), STREAM.encode(), []
    for cut in [*cuts, len(data)]:
        events += parser.feed(data[:cut])
        data = data[cut:]
    assert events == EVENTS


@pytest.mark.parametrize("flood", [b"data: " + b"x" * 200, b"data: 0123456789\n" * 20])
def test_what_never_ends_is_refused(flood: bytes) -> None:
    with pytest.raises(UpstreamFailed, match="too large"):
        list(EventParser(max_bytes=100).feed(flood))
