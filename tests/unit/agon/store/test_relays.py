"""Judged votes as they go out."""

import json
from typing import Any

import pytest

from agon.ledger import vote_entry
from agon.messages import JudgedVote, VoteCounted, VoteExcluded, VoteRetracted
from agon.store.relays import outgoing

AT = "2026-11-27T12:30:01.000005Z"
LOOKS_LIKE_KEYS = '"reason":null,"type":"vote","verdict":"counted" and \u20ac'
TOLD: dict[str, Any] = {
    "seq": 7, "vote_id": "v-7", "tenant": "default", "arena": "main", "judged_at": AT, "battle_id": None, "turn": 2,
    "voter": LOOKS_LIKE_KEYS, "model_a": "x", "model_b": "y", "outcome": "tie",
    "slices": ["overall", "turn-later"], "voted_at": AT,
}  # fmt: skip


def message(told: dict[str, Any]) -> JudgedVote:
    kind = {"counted": VoteCounted, "excluded": VoteExcluded, "retracted": VoteRetracted}[told["verdict"]]
    return kind(**{name: told[name] for name in kind.model_fields if name in told})


@pytest.mark.parametrize(("verdict", "reason"), [("counted", None), ("excluded", "mistake"), ("retracted", "mistake")])
def test_what_the_ledger_says_of_a_vote_goes_out_as_its_message(verdict: str, reason: str | None) -> None:
    told = {**TOLD, "verdict": verdict, "reason": reason}
    found = outgoing(7, vote_entry(**told).decode())
    assert json.loads(found.value) == json.loads(message(told).encode())
    assert (found.seq, found.type) == (7, type(message(told)))
