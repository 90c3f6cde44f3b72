"""Blind battles on `arena.battles.v1`, keyed by battle id."""

from typing import Annotated, Literal

from pydantic import Field

from agon.messages.base import Id, Message, Time

Side = Literal["a", "b"]


class BattleCommitted(Message):
    """A pair was drawn and bound before any token was generated.

    `commitment` is SHA-256 over the pair and a nonce that the battle's row keeps: it proves later that the pair was
    not changed, and tells nobody today who plays.
    """

    type: Literal["battle_committed"] = "battle_committed"
    battle_id: Id
    tenant: Id
    arena: Id
    commitment: str
    policy_hash: str
    prompt_hash: str
    committed_at: Time


class BattleTurnFinished(Message):
    """Both answers of a turn have ended, well (`finished`) or not."""

    type: Literal["battle_turn_finished"] = "battle_turn_finished"
    battle_id: Id
    tenant: Id
    arena: Id
    turn: Annotated[int, Field(ge=1)]
    status: dict[Side, Literal["finished", "failed"]]
    finished_at: Time
