"""The compute thread and the event loop on the two sides of what is not written yet."""

import threading
from typing import Any

import pytest

from agon.backends import Tokens
from agon.telemetry import Metrics
from agon_inference import writer as module
from agon_inference.holding import Holding
from agon_inference.writer import Writer

EVENT = Tokens("t/gone", 0, 0, (1,), "x")


class Interleaved(threading.Event):
    """The other side comes in just before it is cleared: later than what led to it was looked at."""

    def __init__(self, between: Any) -> None:
        super().__init__()
        self.set()
        self._between = between

    def clear(self) -> None:
        self._between()
        super().clear()


@pytest.fixture
async def writer(monkeypatch: pytest.MonkeyPatch) -> Writer:
    monkeypatch.setattr(module, "_MOST_EVENTS", 3)
    none: Any = None
    return Writer(none, "w:1", Holding(), none, Metrics(), ended=none, fenced=none)


async def test_above_the_most_events_the_thread_waits_until_they_are_taken(writer: Writer) -> None:
    writer.emit([EVENT] * 4)
    assert not writer._room.is_set()
    writer._take()
    assert writer._room.is_set()


@pytest.mark.parametrize("between", ["_take", "close"])
async def test_the_thread_waits_for_nobody_who_has_taken_all_or_has_closed_just_before(
    writer: Writer, between: str
) -> None:
    writer._room = Interleaved(getattr(writer, between))
    writer.emit([EVENT] * 4)
    assert writer._room.is_set(), "nobody would ever say again that there is room"
