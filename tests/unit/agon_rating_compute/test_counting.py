"""Judged votes into cells, without tables."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from agon.errors import InvalidRequest
from agon.messages import VoteCounted, VoteExcluded, VoteRetracted
from agon_rating_compute.counting import changes, read

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
COMMON: dict[str, Any] = {"vote_id": "v", "tenant": "default", "arena": "main", "judged_at": NOON}


def counted(seq: int, left: str, right: str, outcome: str, *slices: str) -> VoteCounted:
    return VoteCounted(
        seq=seq, **COMMON, turn=1, voter="x", model_a=left, model_b=right, outcome=outcome, slices=slices, voted_at=NOON
    )  # type: ignore[arg-type]


def test_each_outcome_has_its_column_and_each_slice_its_cell() -> None:
    votes = [
        counted(1, "x", "y", "a", "overall", "language-en"),
        counted(2, "x", "y", "b", "overall"),
        counted(3, "y", "x", "tie", "overall"),
        counted(4, "x", "y", "both_bad", "overall"),
    ]
    assert changes(votes) == {
        ("overall", "x", "y"): [1, 1, 0, 1],
        ("language-en", "x", "y"): [1, 0, 0, 0],
        ("overall", "y", "x"): [0, 0, 1, 0],
    }


def test_an_exclusion_adds_nothing_and_a_retraction_takes_away() -> None:
    votes = [
        VoteExcluded(seq=1, **COMMON, reason="bad_ticket"),
        VoteRetracted(seq=2, **COMMON, model_a="x", model_b="y", outcome="a", slices=("overall",), reason="asked"),
    ]
    assert changes(votes) == {("overall", "x", "y"): [-1, 0, 0, 0]}


def test_a_record_is_read_by_its_type() -> None:
    vote = counted(1, "x", "y", "a", "overall")
    assert read(SimpleNamespace(value=vote.encode())) == vote  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "code", "told"),
    [
        (None, "invalid_json", "the record is empty"),
        (b"{", "invalid_json", "the record: Invalid JSON"),
        (b'{"type":"no"}', "wrong_type", "the record: Input tag 'no'"),
    ],
)
def test_a_record_that_is_no_judged_vote_is_refused_with_a_reason(value: bytes | None, code: str, told: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(SimpleNamespace(value=value))  # type: ignore[arg-type]
    assert refused.value.code == code
    assert refused.value.message.startswith(told)
