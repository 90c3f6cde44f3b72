"""Battles as the ingress reads them: rows of the store, and the facts that the rules of `agon.arena` go by."""

from collections.abc import Mapping, Sequence
from typing import Any

from agon.arena.battle import Battle, Cast, Turn
from agon.errors import NotFound
from agon.messages.base import ID_REGEX
from agon.store import battles
from agon.store.battles import BattleRow, TurnRow
from agon_ingress.house import House


async def read_battle(house: House, tenant: str, battle_id: str) -> tuple[BattleRow, list[TurnRow]]:
    """A battle and its turns by number. Raises `NotFound`, also of another tenant; `Unavailable` without Postgres."""
    house.health.require("postgres")
    found = await battles.read_battle(house.pool, tenant, battle_id) if ID_REGEX.match(battle_id) else None
    if found is None:
        raise NotFound("There is no such battle.")
    return found


def question(prompt: Sequence[Mapping[str, Any]]) -> str:
    """The text of the last message: what the models are asked."""
    content = prompt[-1]["content"]
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content)


def facts_of(row: BattleRow, turns: list[TurnRow]) -> Battle:
    """The rows, without what no rule asks for."""
    cast = None if row.voted_turn is None else Cast(row.voted_turn, row.voted_outcome)  # type: ignore[arg-type]
    return Battle(row.battle_id, [_turn(turn) for turn in turns], cast)


def _turn(row: TurnRow) -> Turn:
    answers = {"a": row.answer_a, "b": row.answer_b}
    return Turn(row.turn, row.status, row.shown_at is not None, row.done_at is not None, row.prompt, answers)  # type: ignore[arg-type]
