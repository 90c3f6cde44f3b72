"""Which votes count. No I/O: what the tables know is given."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agon.arena import tickets
from agon.arena.votes import vote_id
from agon.messages import VoteCast
from agon.store.votes import StoredVote, Subject, SubjectTurn
from agon_vote_ingest.judging import History, Rules, Verdict, judge

SECRET = "a secret of the house"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
VOTER = "voter-1"

BATTLE = Subject(
    arena="main",
    named=False,
    model_a="left",
    model_b="right",
    language="en",
    voted=None,
    turns={1: SubjectTurn("finished", True, ("maths",), 20, (5, 900)), 2: SubjectTurn("running", True)},
)


def cast(outcome: str = "a", turn: int = 1, **changed: Any) -> VoteCast:
    voter = changed.get("voter", VOTER)
    ticket = tickets.issue(SECRET, tenant="default", battle_id="b1", turn=turn, voter=voter, at=NOON)
    fields = {
        "vote_id": vote_id("default", "b1", turn, voter),
        "battle_id": "b1",
        "turn": turn,
        "voter": voter,
        "outcome": outcome,
        "ticket": ticket,
        "voted_at": NOON + timedelta(minutes=1),
    }
    return VoteCast(**{**fields, **changed})


def stored(vote: VoteCast, reason: str | None = None) -> StoredVote:
    return StoredVote(vote.tenant, vote.vote_id, vote.battle_id, vote.turn, vote.voter, vote.outcome, reason)


def verdict(
    vote: VoteCast,
    subject: Subject | None = BATTLE,
    history: tuple[StoredVote, ...] = (),
    policy: dict[str, Any] | None = None,
) -> Verdict | None:
    return judge(vote, Rules.of(policy or {}), subject, History(history), SECRET)


def reason(*args: Any, **kwargs: Any) -> str | None:
    found = verdict(*args, **kwargs)
    assert found is not None
    return found.reason


def test_a_good_vote_counts_in_the_slices_of_its_battle_and_of_its_turn() -> None:
    assert verdict(cast()) == Verdict(
        None, "left", "right", ("overall", "language-en", "category-maths", "turn-first", "length-short")
    )
    later = ("overall", "language-en", "category-unknown", "turn-later", "length-unknown")
    assert verdict(cast(turn=2)) == Verdict(None, "left", "right", later)


def test_a_vote_counts_in_the_slices_that_its_arena_declares() -> None:
    policy = {"slices": [{"name": "wordy", "where": {"answer_characters": {"least": 900}}}]}
    found = verdict(cast(), policy=policy)
    assert found is not None
    assert "wordy" in found.slices


@pytest.mark.parametrize("failing", [1, 2])
def test_a_vote_that_came_before_a_side_failed_counts_however_late_it_is_judged(failing: int) -> None:
    for seconds, wanted in ((-1, "battle_failed"), (0, "battle_failed"), (1, None)):
        ended = cast().voted_at + timedelta(seconds=seconds)
        turns = {**BATTLE.turns, failing: SubjectTurn("failed", True, ended_at=ended)}
        assert reason(cast(), replace(BATTLE, turns=turns)) == wanted


def test_a_vote_before_the_answers_were_complete_knows_no_length_however_late_it_is_judged() -> None:
    policy = {"slices": [{"name": "wordy", "where": {"answer_characters": {"least": 900}}}]}
    for seconds, known in ((-1, True), (1, False)):
        ended = cast().voted_at + timedelta(seconds=seconds)
        found = verdict(cast(), replace(BATTLE, turns={1: replace(BATTLE.turns[1], ended_at=ended)}), policy=policy)
        assert found is not None
        assert ("wordy" in found.slices) == known


def test_a_vote_while_both_still_run_counts_once_something_was_shown() -> None:
    assert reason(cast(turn=2)) is None
    assert reason(cast(turn=2), replace(BATTLE, turns={2: SubjectTurn("running", False)})) == "not_shown_yet"


def test_a_vote_needs_a_battle_of_its_arena_and_turn() -> None:
    assert reason(cast(), None) == "unknown_battle"
    assert reason(cast(), replace(BATTLE, arena="other")) == "wrong_arena"
    assert reason(cast(turn=3)) == "wrong_turn"


def test_a_failed_side_makes_every_turn_void() -> None:
    assert (
        reason(cast(), replace(BATTLE, turns={1: SubjectTurn("finished", True), 2: SubjectTurn("failed", True)}))
        == "battle_failed"
    )


def test_a_named_battle_never_counts_and_keeps_its_models() -> None:
    assert verdict(cast(), replace(BATTLE, named=True)) == Verdict("named_battle", "left", "right")


def ticket(secret: str = SECRET, battle: str = "b1", turn: int = 1, voter: str = VOTER) -> str:
    return tickets.issue(secret, tenant="default", battle_id=battle, turn=turn, voter=voter, at=NOON)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"ticket": None}, "bad_ticket"),
        ({"ticket": "v1.xx.yy"}, "bad_ticket"),
        ({"ticket": ticket(secret="other")}, "bad_ticket"),
        ({"ticket": ticket(battle="b2")}, "other_battle"),
        ({"ticket": ticket(turn=2)}, "other_turn"),
        ({"ticket": ticket(voter="voter-2")}, "other_session"),
        ({"voted_at": NOON + timedelta(days=2)}, "ticket_expired"),
    ],
)
def test_a_ticket_must_be_ours_fresh_and_for_this_vote(changed: dict[str, Any], why: str) -> None:
    assert reason(cast(**changed)) == why


def test_the_same_vote_again_says_nothing_new() -> None:
    assert verdict(cast(), history=(stored(cast()),)) is None


def test_the_same_vote_again_says_nothing_new_even_when_its_battle_is_gone() -> None:
    assert verdict(cast(), None, history=(stored(cast()),)) is None


def test_a_changed_vote_is_excluded_once() -> None:
    first, second = cast("a"), cast("b")
    assert reason(second, history=(stored(first),)) == "vote_changed"
    assert verdict(second, history=(stored(first), stored(second, "vote_changed"))) is None


def test_one_voter_counts_once_per_turn_whatever_the_vote_ids() -> None:
    assert reason(cast(vote_id="another"), history=(stored(cast()),)) == "duplicate_voter"


def test_after_the_first_vote_the_names_are_known() -> None:
    assert reason(cast(turn=2), history=(stored(cast()),)) == "after_reveal"
    assert reason(cast(turn=2), replace(BATTLE, voted=(1, "a"))) == "after_reveal"
    assert reason(cast("b"), replace(BATTLE, voted=(1, "a"))) == "after_reveal"
    assert reason(cast("a"), replace(BATTLE, voted=(1, "a"))) is None


def test_a_forged_vote_does_not_take_the_place_of_the_real_one() -> None:
    forged = cast(ticket="v1.forged.ticket")
    assert reason(forged) == "bad_ticket"
    assert reason(cast(), history=(stored(forged, "bad_ticket"),)) is None
    assert verdict(forged, history=(stored(forged, "bad_ticket"),)) is None


def test_another_voters_vote_on_the_same_battle_is_judged_by_its_own_ticket() -> None:
    assert reason(cast(voter="voter-2"), history=(stored(cast()),)) is None


def test_imports_count_only_where_the_arena_takes_them() -> None:
    vote = VoteCast(vote_id="i1", voter="v", outcome="tie", model_a="x", model_b="y", voted_at=NOON)
    allowed = {"imports": True}
    assert reason(vote, None) == "imports_not_allowed"
    assert verdict(vote, None, policy=allowed) == Verdict(None, "x", "y", ("overall",))
    assert reason(vote.model_copy(update={"model_b": None}), None, policy=allowed) == "no_models"
    assert reason(vote.model_copy(update={"model_b": "x"}), None, policy=allowed) == "same_model"
