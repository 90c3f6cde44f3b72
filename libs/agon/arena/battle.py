"""What may happen next in a battle.

turn:    running ──both answered──▶ finished
            └────one did not──────▶ failed        no vote, no further turn

battle:  open ──vote acknowledged──▶ revealed     no other vote, no further turn: nothing after it is blind
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from agon.errors import Conflict, NotFound
from agon.messages.votes import Outcome

Side = Literal["a", "b"]
SIDES: tuple[Side, Side] = ("a", "b")
Status = Literal["running", "finished", "failed"]
MAX_TURNS = 20


@dataclass(frozen=True, slots=True)
class Turn:
    """One question to both. `shown` once both have begun to appear, `done` once all of both was shown, which may be
    long after the answers were complete (`status`); `prompt` are the messages that it added."""

    number: int
    status: Status
    shown: bool
    done: bool
    prompt: Sequence[dict[str, Any]]
    answers: dict[Side, str | None]


@dataclass(frozen=True, slots=True)
class Cast:
    """A vote that was acknowledged."""

    turn: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Battle:
    """A battle as its rows tell it; `turns` by number, at least one."""

    battle_id: str
    turns: Sequence[Turn]
    cast: Cast | None

    def turn(self, number: int | None) -> Turn:
        """This turn, or the last one. Raises `NotFound`."""
        if number is None:
            return self.turns[-1]
        for turn in self.turns:
            if turn.number == number:
                return turn
        raise NotFound(f"This battle has no turn {number}: it has {len(self.turns)}.", param="turn")

    def history(self, side: Side, prompt: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """What one side is asked next: everything it was asked and answered itself, then the new prompt."""
        told: list[dict[str, Any]] = []
        for turn in self.turns:
            told += [*turn.prompt, {"role": "assistant", "content": turn.answers[side] or ""}]
        return told + list(prompt)

    def check_next_turn(self) -> int:
        """The number of the next turn. Raises `Conflict` where there can be none."""
        last = self.turns[-1]
        if self.cast is not None:
            raise Conflict("You know the names of this battle: start a new one.", code="battle_revealed")
        if last.status == "failed":
            raise Conflict("A side of this battle has failed: start a new one.", code="battle_failed")
        if not last.done:  # not its status: that would tell when the slower side was complete
            raise Conflict("The answers to the last turn are still coming: wait for `done`.", code="turn_running")
        if last.number >= MAX_TURNS:
            raise Conflict(f"A battle has at most {MAX_TURNS} turns: vote, or start a new one.", code="too_many_turns")
        return last.number + 1

    def check_vote(self, turn: Turn, outcome: Outcome) -> bool:
        """Whether this vote is new; False where it was acknowledged before, with the same outcome.

        A vote before both answers are complete is allowed, as soon as something of both was shown. Raises `Conflict`.
        """
        if self.cast is not None:
            if self.cast == Cast(turn.number, outcome):
                return False
            if self.cast.turn == turn.number:
                raise Conflict(f"You have voted `{self.cast.outcome}`: a vote can't be changed.", code="already_voted")
            raise Conflict("You know the names of this battle: only a vote before it counts.", code="battle_revealed")
        if any(each.status == "failed" for each in self.turns):
            raise Conflict("A side of this battle has failed, so it can't be voted on.", code="battle_failed")
        if not turn.shown:
            raise Conflict("Nothing of the answers was shown yet: read them first.", code="not_shown_yet")
        return True
