"""Whether a vote counts. Pure decisions: what is known was read before, what follows is written after. A battle is seen
as it was when the vote was cast, however much later it is judged.

| reason                | the vote is excluded because                                                        |
|-----------------------|-------------------------------------------------------------------------------------|
| `unknown_battle`      | there is no such battle                                                             |
| `wrong_arena`         | the battle is in another arena                                                      |
| `bad_ticket`, `ticket_expired`, `other_battle`, `other_turn`, `other_session` | its ticket gives no right to it |
| `named_battle`        | the models were chosen by name, so it was not blind                                 |
| `wrong_turn`          | the battle has no such turn                                                         |
| `battle_failed`       | a side had failed when it was cast, of this turn or of another                      |
| `not_shown_yet`       | nothing of the answers was shown                                                    |
| `after_reveal`        | its voter had voted on this battle before, and knew the names                       |
| `vote_changed`        | it contradicts a vote with the same id                                              |
| `duplicate_voter`     | its voter had voted on this turn under another id                                   |
| `imports_not_allowed` | it has no battle, and the arena's policy takes no imports                           |
| `no_models`           | an import without two models                                                        |
| `same_model`          | an import of a model against itself                                                 |
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from agon.arena import tickets
from agon.arena.slices import Declared, Facts, declared_categories, declared_slices, slices
from agon.errors import Forbidden, Gone
from agon.messages import VoteCast
from agon.store.votes import StoredVote, Subject


@dataclass(frozen=True, slots=True)
class Rules:
    """What an arena's policy says about votes."""

    imports: bool = False
    """whether votes without a battle are taken"""
    declared: tuple[Declared, ...] = ()
    """the slices of its own"""
    categories: tuple[str, ...] = ()
    """what imports may say that a question is about, besides what the house knows"""

    @classmethod
    def of(cls, policy: Mapping[str, Any]) -> "Rules":
        """Raises `SetupError` for a policy that can't be followed."""
        return cls(policy.get("imports") is True, declared_slices(policy), declared_categories(policy))


class Verdict(NamedTuple):
    """A vote counts in `slices`, or is excluded for `reason`. The models are None where nobody knows them."""

    reason: str | None
    model_a: str | None
    model_b: str | None
    slices: tuple[str, ...] = ()


class Known(Protocol):
    """What is known of an earlier vote: a row, or a vote of the same batch."""

    @property
    def tenant(self) -> str: ...
    @property
    def vote_id(self) -> str: ...
    @property
    def battle_id(self) -> str | None: ...
    @property
    def turn(self) -> int: ...
    @property
    def voter(self) -> str: ...
    @property
    def outcome(self) -> str: ...


class History:
    """What was judged before: in the tables, and earlier in the batch."""

    def __init__(self, stored: Iterable[StoredVote]) -> None:
        self._counted: dict[tuple[str, str], Known] = {}
        self._excluded: set[tuple[str, str, str, str]] = set()
        self._turns: dict[tuple[str, str, str], int] = {}
        for vote in stored:
            self.add(vote, vote.reason)

    def add(self, vote: Known, reason: str | None) -> None:
        """`reason` is why it does not count, None where it does."""
        if reason is not None:
            self._excluded.add((vote.tenant, vote.vote_id, vote.outcome, reason))
            return
        self._counted[vote.tenant, vote.vote_id] = vote
        if vote.battle_id is not None:
            self._turns[vote.tenant, vote.battle_id, vote.voter] = vote.turn

    def counted(self, vote: VoteCast) -> Known | None:
        """The vote that counted under this id."""
        return self._counted.get((vote.tenant, vote.vote_id))

    def excluded(self, vote: VoteCast, reason: str) -> bool:
        """Whether the same vote was excluded for the same reason."""
        return (vote.tenant, vote.vote_id, vote.outcome, reason) in self._excluded

    def turn(self, vote: VoteCast) -> int | None:
        """The turn of this battle on which this voter's vote counted."""
        return None if vote.battle_id is None else self._turns.get((vote.tenant, vote.battle_id, vote.voter))


def judge(vote: VoteCast, rules: Rules, subject: Subject | None, history: History, secret: str) -> Verdict | None:
    """The verdict, or None for a vote that was judged before and says nothing new.

    `rules` are the arena's, `subject` the battle that the vote names, None where there is none.
    """
    before = history.counted(vote)
    if before is not None and _same(before, vote):
        return None
    models = (vote.model_a, vote.model_b) if vote.battle_id is None else (None, None)
    if subject is not None:
        models = (subject.model_a, subject.model_b)
    reason = _refusal(vote, rules, subject, secret) or _repetition(before, vote, history)
    if reason is not None:
        return None if history.excluded(vote, reason) else Verdict(reason, *models)
    return Verdict(None, *models, slices(_facts(vote, subject), rules.declared, rules.categories))


def _same(before: Known, vote: VoteCast) -> bool:
    return (before.battle_id, before.turn, before.voter, before.outcome) == (
        vote.battle_id, vote.turn, vote.voter, vote.outcome,
    )  # fmt: skip


def _repetition(before: Known | None, vote: VoteCast, history: History) -> str | None:
    if before is not None:
        return "vote_changed"
    turn = history.turn(vote)
    if turn is None:
        return None
    return "duplicate_voter" if turn == vote.turn else "after_reveal"


def _refusal(vote: VoteCast, rules: Rules, subject: Subject | None, secret: str) -> str | None:
    if vote.battle_id is None:
        return _import_refusal(vote, rules)
    if subject is None:
        return "unknown_battle"
    if subject.arena != vote.arena:
        return "wrong_arena"
    return (
        _ticket_refusal(vote, vote.battle_id, secret)
        or ("named_battle" if subject.named else None)
        or _turn_refusal(vote, subject)
    )


def _import_refusal(vote: VoteCast, rules: Rules) -> str | None:
    if not rules.imports:
        return "imports_not_allowed"
    if vote.model_a is None or vote.model_b is None:
        return "no_models"
    return "same_model" if vote.model_a == vote.model_b else None


def _ticket_refusal(vote: VoteCast, battle_id: str, secret: str) -> str | None:
    """Judged by the time of the vote, not by ours: a vote that waited in Kafka while we were away has not expired."""
    try:
        tickets.verify(
            secret,
            vote.ticket or "",
            tenant=vote.tenant,
            battle_id=battle_id,
            turn=vote.turn,
            voter=vote.voter,
            at=vote.voted_at,
        )
    except (Forbidden, Gone) as error:
        return error.code
    return None


def _turn_refusal(vote: VoteCast, subject: Subject) -> str | None:
    if vote.turn not in subject.turns:
        return "wrong_turn"
    if any(turn.status == "failed" and turn.ended(vote.voted_at) for turn in subject.turns.values()):
        return "battle_failed"
    if not subject.turns[vote.turn].shown:
        return "not_shown_yet"
    if subject.voted is not None and subject.voted != (vote.turn, vote.outcome):
        return "after_reveal"
    return None


def _facts(vote: VoteCast, subject: Subject | None) -> Facts:
    if subject is None:
        models = (vote.model_a or "", vote.model_b or "")
        return Facts(models, vote.turn, True, vote.language, vote.categories)
    turn = subject.turns[vote.turn]
    return Facts(
        (subject.model_a, subject.model_b),
        vote.turn,
        False,
        subject.language,
        turn.categories,
        turn.prompt_characters,
        turn.answer_characters if turn.ended(vote.voted_at) else None,
        subject.voter_kind,
    )
