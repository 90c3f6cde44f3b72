"""Votes: as voters cast them (`arena.votes.v1`), and as they were judged (`arena.votes.accepted.v1`)."""

from typing import Annotated, Literal

from pydantic import Field

from agon.messages.base import Id, Message, ModelName, Time

Outcome = Literal["a", "b", "tie", "both_bad"]
OUTCOMES: tuple[Outcome, ...] = ("a", "b", "tie", "both_bad")


class VoteCast(Message):
    """ "I prefer this one." The models come from the battle's row; an import carries them instead of a battle."""

    vote_id: Id
    tenant: Id = "default"
    arena: Id = "main"
    battle_id: Id | None = None
    turn: Annotated[int, Field(ge=1)] = 1
    voter: Annotated[str, Field(min_length=1, max_length=128)]
    outcome: Outcome
    ticket: Annotated[str, Field(max_length=512)] | None = None
    model_a: ModelName | None = None
    model_b: ModelName | None = None
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")] | None = None
    """Of an import: the question's language, ISO 639. A battle knows its own."""
    categories: Annotated[tuple[Id, ...], Field(max_length=16)] | None = None
    """Of an import: what the question is about. Those that the arena does not know make no slice."""
    voted_at: Time


class _Judged(Message):
    seq: Annotated[int, Field(ge=1)]
    """Gap-free within the arena."""
    vote_id: Id
    tenant: Id
    arena: Id
    judged_at: Time


class VoteCounted(_Judged):
    """A vote counts, in the slices named."""

    type: Literal["vote_counted"] = "vote_counted"
    battle_id: Id | None = None
    turn: int
    voter: str
    model_a: ModelName
    model_b: ModelName
    outcome: Outcome
    slices: tuple[str, ...]
    voted_at: Time


class VoteExcluded(_Judged):
    """A vote does not count; `reason` says why, and the vote itself is kept."""

    type: Literal["vote_excluded"] = "vote_excluded"
    reason: str


class VoteRetracted(_Judged):
    """A vote that counted no longer does."""

    type: Literal["vote_retracted"] = "vote_retracted"
    model_a: ModelName
    model_b: ModelName
    outcome: Outcome
    slices: tuple[str, ...]
    reason: str


JudgedVote = Annotated[VoteCounted | VoteExcluded | VoteRetracted, Field(discriminator="type")]
