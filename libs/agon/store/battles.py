"""The tables `agon.arenas`, `agon.battles` and `agon.battle_turns`, written by the ingress.

Every function is one transaction, and raises asyncpg's errors.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from agon.errors import SetupError
from agon.store.pool import Connection, Pool


@dataclass(frozen=True, slots=True)
class ArenaRow:
    """An arena and its policy (see the column's comment for the keys)."""

    tenant: str
    arena: str
    publication_delay: timedelta
    policy: dict[str, Any]


@dataclass(frozen=True, slots=True)
class BattleRow:
    """A battle as it is written before its first request; the last three are set by the vote."""

    tenant: str
    battle_id: str
    arena: str
    named: bool
    session_hash: str
    voter_kind: str
    model_a: str
    model_b: str
    digest_a: str
    digest_b: str
    draw_probability: float
    policy: dict[str, Any]
    policy_hash: str
    nonce: str
    commitment: str
    prompt_hash: str
    sampling: dict[str, Any]
    language: str | None
    created_at: datetime
    voted_turn: int | None = None
    voted_outcome: str | None = None
    revealed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TurnRow:
    """A turn as it is asked; everything from `status` on becomes known later."""

    tenant: str
    battle_id: str
    turn: int
    prompt: list[dict[str, Any]]
    request_a: str
    request_b: str
    seed_a: int
    seed_b: int
    created_at: datetime
    categories: tuple[str, ...] | None
    prompt_characters: int | None
    status: str = "running"
    error_a: str | None = None
    error_b: str | None = None
    answer_a: str | None = None
    answer_b: str | None = None
    finish_a: str | None = None
    finish_b: str | None = None
    pace: float | None = None
    shown_at: datetime | None = None
    done_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SideEnd:
    """How one side of a turn ended: `error` is a code, None where it answered. Times are seconds from the request;
    a process that took over in the middle does not know them."""

    answer: str
    finish: str | None
    error: str | None
    tokens: int | None
    first_token_s: float | None
    finished_s: float | None


_ARENA = "SELECT tenant, arena, publication_delay, policy::text AS policy FROM agon.arenas"

_BATTLE = """
SELECT tenant, battle_id, arena, named, session_hash, voter_kind, model_a, model_b, digest_a, digest_b,
       draw_probability, policy::text AS policy, policy_hash, nonce, commitment, prompt_hash,
       sampling::text AS sampling, language, created_at, voted_turn, voted_outcome, revealed_at
FROM agon.battles WHERE tenant = $1 AND battle_id = $2
"""

_TURNS = """
SELECT tenant, battle_id, turn, prompt::text AS prompt, request_a, request_b, seed_a, seed_b, created_at, categories,
       prompt_characters, status,
       error_a, error_b, answer_a, answer_b, finish_a, finish_b, pace, shown_at, done_at
FROM agon.battle_turns WHERE tenant = $1 AND battle_id = $2 ORDER BY turn
"""

# JSON goes in as text, whatever codecs the caller's pool has set for jsonb.
_ADD_BATTLE = """
INSERT INTO agon.battles (tenant, battle_id, arena, named, session_hash, voter_kind, model_a, model_b, digest_a,
    digest_b, draw_probability, policy, policy_hash, nonce, commitment, prompt_hash, sampling, language, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::text::jsonb, $13, $14, $15, $16, $17::text::jsonb, $18, $19)
"""

_ADD_TURN = """
INSERT INTO agon.battle_turns (tenant, battle_id, turn, prompt, request_a, request_b, seed_a, seed_b, created_at,
    categories, prompt_characters)
VALUES ($1, $2, $3, $4::text::json, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT DO NOTHING RETURNING turn
"""

_FINISH = """
UPDATE agon.battle_turns
SET status = $4, failed_side = $5, ended_at = clock_timestamp(),
    answer_a = $6, finish_a = $7, error_a = $8, tokens_a = $9, first_token_a_s = $10, finished_a_s = $11,
    answer_b = $12, finish_b = $13, error_b = $14, tokens_b = $15, first_token_b_s = $16, finished_b_s = $17
WHERE tenant = $1 AND battle_id = $2 AND turn = $3 AND status = 'running'
RETURNING turn
"""

_SHOW = """
UPDATE agon.battle_turns SET shown_at = coalesce(shown_at, clock_timestamp()), pace = coalesce(pace, $4)
WHERE tenant = $1 AND battle_id = $2 AND turn = $3
RETURNING pace, extract(epoch FROM clock_timestamp() - shown_at)::float8 AS since
"""

_DONE = """
UPDATE agon.battle_turns SET done_at = coalesce(done_at, clock_timestamp())
WHERE tenant = $1 AND battle_id = $2 AND turn = $3
"""

_VOTED = """
UPDATE agon.battles
SET voted_turn = coalesce(voted_turn, $3), voted_outcome = coalesce(voted_outcome, $4),
    revealed_at = coalesce(revealed_at, clock_timestamp())
WHERE tenant = $1 AND battle_id = $2
RETURNING voted_turn, voted_outcome
"""

_UNFINISHED = """
SELECT tenant, battle_id, turn FROM agon.battle_turns
WHERE created_at > $1 AND (status = 'running' OR done_at IS NULL)
ORDER BY created_at DESC LIMIT $2
"""


async def read_arena(db: Pool | Connection, tenant: str, arena: str) -> ArenaRow | None:
    row = await db.fetchrow(f"{_ARENA} WHERE tenant = $1 AND arena = $2", tenant, arena)
    return None if row is None else ArenaRow(**{**row, "policy": json.loads(row["policy"])})


async def read_arenas(db: Pool | Connection) -> list[ArenaRow]:
    rows = await db.fetch(f"{_ARENA} ORDER BY tenant, arena")
    return [ArenaRow(**{**row, "policy": json.loads(row["policy"])}) for row in rows]


async def require_arena(db: Pool | Connection, tenant: str | None, arena: str | None) -> None:
    """Raises `SetupError` where there is no such arena; None for any."""
    query = "SELECT true FROM agon.arenas WHERE tenant = coalesce($1, tenant) AND arena = coalesce($2, arena) LIMIT 1"
    if not await db.fetchval(query, tenant, arena):
        which = " ".join(
            f"{what} `{name[:80]}`" for what, name in (("arena", arena), ("of the tenant", tenant)) if name is not None
        )
        raise SetupError(f"there is no {which}: `agon arenas show` lists them")


async def set_arena(
    db: Pool | Connection, tenant: str, arena: str, policy: dict[str, Any] | None, delay: timedelta | None
) -> None:
    """Make an arena, or change it; None leaves what there is."""
    await db.execute(
        """
        INSERT INTO agon.arenas AS a (tenant, arena, policy, publication_delay)
        VALUES ($1, $2, coalesce($3::text::jsonb, '{}'), coalesce($4, interval '0'))
        ON CONFLICT (tenant, arena) DO UPDATE SET policy = coalesce($3::text::jsonb, a.policy),
            publication_delay = coalesce($4, a.publication_delay)
        """,
        tenant,
        arena,
        None if policy is None else json.dumps(policy),
        delay,
    )


async def add_battle(pool: Pool, battle: BattleRow, turn: TurnRow) -> None:
    """A battle and its first turn, in one transaction."""
    values = [getattr(battle, name) for name in BattleRow.__slots__][:19]
    values[11], values[16] = json.dumps(battle.policy), json.dumps(battle.sampling)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(_ADD_BATTLE, *values)
        await add_turn(connection, turn)


async def add_turn(db: Pool | Connection, turn: TurnRow) -> bool:
    """A further turn; False where somebody else has just added this one."""
    values = [getattr(turn, name) for name in TurnRow.__slots__][:11]
    values[3] = json.dumps(turn.prompt, ensure_ascii=False)
    return await db.fetchval(_ADD_TURN, *values) is not None


async def read_battle(db: Pool | Connection, tenant: str, battle_id: str) -> tuple[BattleRow, list[TurnRow]] | None:
    """A battle with its turns by number."""
    row = await db.fetchrow(_BATTLE, tenant, battle_id)
    if row is None:
        return None
    battle = BattleRow(**{**row, "policy": json.loads(row["policy"]), "sampling": json.loads(row["sampling"])})
    turns = await db.fetch(_TURNS, tenant, battle_id)
    return battle, [_turn_row(turn) for turn in turns]


def _turn_row(row: Mapping[str, Any]) -> TurnRow:
    listed = row["categories"]
    categories = None if listed is None else tuple(listed)
    return TurnRow(**{**row, "prompt": json.loads(row["prompt"]), "categories": categories})


async def finish_turn(db: Pool | Connection, tenant: str, battle_id: str, turn: int, a: SideEnd, b: SideEnd) -> bool:
    """Both sides have ended; True for the one process that says so first."""
    failed = [side for side, end in (("a", a), ("b", b)) if end.error is not None]
    status = "failed" if failed else "finished"
    failed_side = "both" if len(failed) == 2 else failed[0] if failed else None
    sides: list[Any] = []
    for end in (a, b):
        sides += [_without_nul(end.answer), end.finish, end.error, end.tokens, end.first_token_s, end.finished_s]
    return await db.fetchval(_FINISH, tenant, battle_id, turn, status, failed_side, *sides) is not None


async def mark_shown(db: Pool | Connection, tenant: str, battle_id: str, turn: int, pace: float) -> tuple[float, float]:
    """The showing begins. Gives the pace and the seconds since the first showing: those of the process that began,
    where it was another one."""
    row = await db.fetchrow(_SHOW, tenant, battle_id, turn, pace)
    return row["pace"], row["since"]


async def mark_done(db: Pool | Connection, tenant: str, battle_id: str, turn: int) -> None:
    """All of both was shown."""
    await db.execute(_DONE, tenant, battle_id, turn)


async def mark_voted(db: Pool | Connection, tenant: str, battle_id: str, turn: int, outcome: str) -> tuple[int, str]:
    """The vote is acknowledged and the names are told. Gives the (turn, outcome) that stands: the first one."""
    row = await db.fetchrow(_VOTED, tenant, battle_id, turn, outcome)
    return row["voted_turn"], row["voted_outcome"]


async def unfinished_turns(db: Pool | Connection, since: datetime, limit: int) -> list[tuple[str, str, int]]:
    """The (tenant, battle, turn) of recent turns whose answers or whose showing nobody has finished."""
    return [tuple(row) for row in await db.fetch(_UNFINISHED, since, limit)]


def _without_nul(text: str) -> str:
    """Postgres' text holds every character but this one."""
    return text.replace("\0", "\ufffd")
