"""What may happen next in a battle."""

from typing import Any

import pytest

from agon.arena.battle import MAX_TURNS, Battle, Cast, Status, Turn
from agon.errors import Conflict, NotFound


def turn(number: int = 1, status: Status = "finished", shown: bool = True, done: bool | None = None) -> Turn:
    prompt = [{"role": "user", "content": f"question {number}"}]
    done = status != "running" if done is None else done
    return Turn(number, status, shown, done, prompt, {"a": f"a{number}", "b": f"b{number}"})


def refusal(what: Any, *args: Any) -> str | None:
    with pytest.raises(Conflict) as caught:
        what(*args)
    return caught.value.code


def test_a_finished_turn_can_be_voted_on_or_followed_by_another() -> None:
    battle = Battle("b", [turn()], None)
    assert battle.check_vote(battle.turn(None), "a") is True
    assert battle.check_next_turn() == 2


def test_a_vote_may_come_before_both_are_done_but_not_before_they_are_shown() -> None:
    early, running = turn(status="running", shown=False), turn(status="running")
    assert refusal(Battle("b", [early], None).check_vote, early, "a") == "not_shown_yet"
    assert Battle("b", [running], None).check_vote(running, "a") is True


def test_a_failed_battle_is_over() -> None:
    battle = Battle("b", [turn(), turn(2, "failed")], None)
    assert refusal(battle.check_vote, battle.turn(1), "a") == "battle_failed"
    assert refusal(battle.check_next_turn) == "battle_failed"


def test_the_same_vote_again_is_no_new_vote_and_another_is_refused() -> None:
    battle = Battle("b", [turn()], Cast(1, "tie"))
    assert battle.check_vote(battle.turn(1), "tie") is False
    assert refusal(battle.check_vote, battle.turn(1), "a") == "already_voted"


def test_nothing_after_the_reveal_is_blind() -> None:
    battle = Battle("b", [turn(), turn(2)], Cast(2, "a"))
    assert refusal(battle.check_vote, battle.turn(1), "a") == "battle_revealed"
    assert refusal(battle.check_next_turn) == "battle_revealed"


def test_a_turn_waits_for_the_one_before_and_turns_have_an_end() -> None:
    assert refusal(Battle("b", [turn(status="running")], None).check_next_turn) == "turn_running"
    assert refusal(Battle("b", [turn(done=False)], None).check_next_turn) == "turn_running", "complete, not all shown"
    many = [turn(number) for number in range(1, MAX_TURNS + 1)]
    assert refusal(Battle("b", many, None).check_next_turn) == "too_many_turns"


def test_a_side_is_told_its_own_answers_only() -> None:
    battle = Battle("b", [turn(), turn(2)], None)
    told = battle.history("b", [{"role": "user", "content": "and now?"}])
    assert [message["content"] for message in told] == ["question 1", "b1", "question 2", "b2", "and now?"]


def test_a_turn_that_is_not_there() -> None:
    with pytest.raises(NotFound):
        Battle("b", [turn()], None).turn(2)
