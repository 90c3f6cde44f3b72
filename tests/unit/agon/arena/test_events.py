"""The events on the wire: one size, whatever the script; positions that say what was seen."""

import json

import pytest

from agon.arena.events import BUCKET, delta_event, done_event, end_event, failed_event, position
from agon.arena.pacing import MAX_STEP


@pytest.mark.parametrize("text", ["a", "a" * MAX_STEP, "é" * MAX_STEP, "日" * MAX_STEP, "👍" * MAX_STEP, '"' * MAX_STEP,
                                  "\n" * MAX_STEP, "\x01" * MAX_STEP])  # fmt: skip
def test_every_delta_has_the_same_size(text: str) -> None:
    assert len(delta_event("a", text, 123456, 123456)) == BUCKET


def test_the_other_events_fill_whole_buckets_too() -> None:
    for event in (done_event("stop", "length", 1, 2), failed_event("b", {"message": "m"}), end_event()):
        assert len(event) % BUCKET == 0


def test_an_event_reads_as_one_event_with_id_name_and_json() -> None:
    lines = delta_event("b", 'say "é"\n', 40, 48).decode().removesuffix("\n\n").split("\n")
    comment, event_id, name, data = lines
    assert comment.startswith(":")
    assert (event_id, name) == ("id: 40-48", "event: delta")
    assert json.loads(data.removeprefix("data: ")) == {"side": "b", "text": 'say "é"\n'}


@pytest.mark.parametrize(
    "sent", [None, "", "x", "1", "1-", "-1", "1-x", "1-2-3", "--", "²-1", "9" * 40 + "-1", "-1--1"]
)
def test_a_position_that_is_not_ours_is_the_beginning(sent: str | None) -> None:
    assert position(sent) == (0, 0)


def test_a_position_counts_both_sides() -> None:
    assert position("40-48") == (40, 48)
