"""Judged votes as they go out."""

from datetime import UTC, datetime
from typing import Any

import pytest

from agon.messages import JudgedVote, VoteCounted, VoteExcluded, VoteRetracted
from agon.store.relays import outgoing

AT = datetime(2026, 11, 27, 12, 30, 1, 5, tzinfo=UTC)
ROW: dict[str, Any] = {
    "seq": 7, "vote_id": "v-7", "tenant": "default", "arena": "main", "judged_at": AT, "battle_id": None, "turn": 2,
    "voter": 'quote " and \u20ac', "model_a": "x", "model_b": "y", "outcome": "tie",
    "slices": ["overall", "turn-later"], "reason": "mistake", "voted_at": AT,
}  # fmt: skip


def message(row: dict[str, Any]) -> JudgedVote:
    kind = {"counted": VoteCounted, "excluded": VoteExcluded, "retracted": VoteRetracted}[row["verdict"]]
    return kind(**{name: row[name] for name in kind.model_fields if name in row})


@pytest.mark.parametrize("verdict", ["counted", "excluded", "retracted"])
def test_a_row_goes_out_as_its_message_would(verdict: str) -> None:
    row = {**ROW, "verdict": verdict, "type": f"vote_{verdict}"}
    found = outgoing(row)
    assert found.value == message(row).encode()
    assert (found.seq, found.type) == (7, type(message(row)))
