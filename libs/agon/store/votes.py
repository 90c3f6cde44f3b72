"""`agon.votes` and `agon.ledger_leaves`: judged votes, appended under their arena's lock."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from agon.messages import Outcome, VoteCast
from agon.store.pool import Connection

Arena = tuple[str, str]
"""tenant, arena"""

CHANNEL = "agon_votes"
"""Postgres notifies it when votes were judged."""

_AT_ONCE = 250
"""Leaves made before others on the event loop have their turn: some 2 ms."""


@dataclass(frozen=True, slots=True)
class ArenaState:
    """An arena, locked by the transaction that read it: nobody else gives out numbers meanwhile."""

    seq: int
    """the last seq given"""
    leaves: int
    """the size of its ledger"""
    policy: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SubjectTurn:
    """A turn as far as votes on it go by it; `shown` once anything of the answers was."""

    status: str
    shown: bool
    categories: tuple[str, ...] | None = None
    prompt_characters: int | None = None
    answer_characters: tuple[int, int] | None = None
    """of a and b, None where one of them is not complete"""
    ended_at: datetime | None = None
    """when both sides had ended; None while one runs, and where nobody has kept it"""

    def ended(self, at: datetime) -> bool:
        """Whether it had, for who looked at that moment."""
        return self.status != "running" and (self.ended_at is None or self.ended_at <= at)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a vote is about: the battle's row and its turns by number."""

    arena: str
    named: bool
    model_a: str
    model_b: str
    language: str | None
    voted: tuple[int, str] | None
    """(turn, outcome) of the vote that the battle's voter saw acknowledged"""
    turns: Mapping[int, SubjectTurn]
    voter_kind: str = "anonymous"


class StoredVote(NamedTuple):
    """An earlier verdict, as far as a later vote may repeat it."""

    tenant: str
    vote_id: str
    battle_id: str | None
    turn: int
    voter: str
    outcome: str
    reason: str | None
    """None: it counted"""


class JudgedRow(NamedTuple):
    """A row of `agon.votes`."""

    tenant: str
    arena: str
    seq: int
    verdict: Literal["counted", "excluded", "retracted"]
    reason: str | None
    vote_id: str
    battle_id: str | None
    turn: int
    voter: str
    outcome: Outcome
    model_a: str | None
    model_b: str | None
    slices: tuple[str, ...]
    voted_at: datetime
    judged_at: datetime
    leaf: int


class Leaf(NamedTuple):
    """A row of `agon.ledger_leaves`: `entry` are the ledger's bytes as text, `hash` their RFC 6962 leaf hash."""

    tenant: str
    arena: str
    leaf: int
    kind: Literal["vote", "leaderboard"]
    entry: str
    hash: bytes


async def lock_arenas(connection: Connection, arenas: Iterable[Arena]) -> dict[Arena, ArenaState]:
    """Lock the arenas' rows until the caller's transaction ends, in one order for everybody. Unknown ones are left out.

    The lock lets battles be written meanwhile: their foreign key needs the key only.
    """
    found = {}
    for tenant, arena in sorted(set(arenas)):
        row = await connection.fetchrow(
            "SELECT vote_seq, policy::text AS policy FROM agon.arenas "
            "WHERE tenant = $1 AND arena = $2 FOR NO KEY UPDATE",
            tenant,
            arena,
        )
        if row is not None:
            # A statement of its own: it sees what the lock's former holder has committed.
            leaves = await connection.fetchval(
                "SELECT coalesce(max(leaf) + 1, 0) FROM agon.ledger_leaves WHERE tenant = $1 AND arena = $2",
                tenant,
                arena,
            )
            found[tenant, arena] = ArenaState(row["vote_seq"], leaves, json.loads(row["policy"]))
    return found


async def subjects(connection: Connection, battles: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Subject]:
    """The battles (tenant, battle id) that exist, in one query."""
    wanted = sorted(set(battles))
    rows = await connection.fetch(
        """
        SELECT b.tenant, b.battle_id, b.arena, b.named, b.model_a, b.model_b, b.language, b.voted_turn, b.voted_outcome,
               b.voter_kind, t.turn, t.status, t.ended_at, t.shown_at IS NOT NULL AS shown, t.categories,
               t.prompt_characters, length(t.answer_a) AS characters_a, length(t.answer_b) AS characters_b
        FROM unnest($1::text[], $2::text[]) AS wanted (tenant, battle_id)
        JOIN agon.battles b USING (tenant, battle_id)
        LEFT JOIN agon.battle_turns t USING (tenant, battle_id)
        """,
        [tenant for tenant, _ in wanted],
        [battle for _, battle in wanted],
    )
    turns: dict[tuple[str, str], dict[int, SubjectTurn]] = {}
    for row in rows:
        of_battle = turns.setdefault((row["tenant"], row["battle_id"]), {})
        if row["turn"] is not None:
            of_battle[row["turn"]] = _turn(row)
    return {
        (row["tenant"], row["battle_id"]): Subject(
            row["arena"],
            row["named"],
            row["model_a"],
            row["model_b"],
            row["language"],
            None if row["voted_turn"] is None else (row["voted_turn"], row["voted_outcome"]),
            turns[row["tenant"], row["battle_id"]],
            row["voter_kind"],
        )
        for row in rows
    }


def _turn(row: Mapping[str, Any]) -> SubjectTurn:
    lengths = (row["characters_a"], row["characters_b"])
    return SubjectTurn(
        row["status"],
        row["shown"],
        None if row["categories"] is None else tuple(row["categories"]),
        row["prompt_characters"],
        None if None in lengths else lengths,
        row["ended_at"],
    )


# `OFFSET 0` keeps Postgres from joining by a scan of the whole table: while a backlog comes in, its idea of how large
# the table is lags behind.
_BY_ID = """
SELECT v.tenant, v.vote_id, v.battle_id, v.turn, v.voter, v.outcome, v.reason
FROM unnest($2::text[]) AS wanted (vote_id), LATERAL (
    (SELECT * FROM agon.votes WHERE tenant = $1 AND vote_id = wanted.vote_id AND verdict = 'counted' OFFSET 0)
    UNION ALL
    (SELECT * FROM agon.votes WHERE tenant = $1 AND vote_id = wanted.vote_id AND verdict = 'excluded' OFFSET 0)) AS v
"""

_BY_BATTLE = """
SELECT v.tenant, v.vote_id, v.battle_id, v.turn, v.voter, v.outcome, v.reason
FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (tenant, battle_id, voter), LATERAL (
    SELECT * FROM agon.votes WHERE tenant = wanted.tenant AND battle_id = wanted.battle_id OFFSET 0) AS v
WHERE v.voter = wanted.voter AND v.verdict = 'counted'
"""


async def earlier(connection: Connection, votes: Sequence[VoteCast]) -> list[StoredVote]:
    """Verdicts that these votes may repeat: about the same vote id, or by the same voter on the same battle. Some may
    come twice."""
    by_tenant: dict[str, list[str]] = {}
    for vote in votes:
        by_tenant.setdefault(vote.tenant, []).append(vote.vote_id)
    rows = [row for tenant, ids in by_tenant.items() for row in await connection.fetch(_BY_ID, tenant, ids)]
    blind = [vote for vote in votes if vote.battle_id is not None]
    if blind:
        tenants, battles = [vote.tenant for vote in blind], [vote.battle_id for vote in blind]
        rows += await connection.fetch(_BY_BATTLE, tenants, battles, [vote.voter for vote in blind])
    return [StoredVote(*row) for row in rows]


async def append(connection: Connection, rows: Sequence[JudgedRow], leaf_of: Callable[[JudgedRow], Leaf]) -> None:
    """Append judged votes with their leaves, in the order of `seq`, and move the arenas' counters; the caller holds the
    arenas' locks. Whoever listens on `CHANNEL` learns of it with the commit.

    Leaves are made while Postgres is busy with the rows: with both done one after the other, whoever else has votes of
    these arenas would wait longer.
    """
    if not rows:
        return
    writing = asyncio.create_task(_copy(connection, "votes", JudgedRow._fields, rows))
    leaves: list[Leaf] = []
    try:
        for first in range(0, len(rows), _AT_ONCE):
            await asyncio.sleep(0)
            leaves += map(leaf_of, rows[first : first + _AT_ONCE])
    finally:
        await writing
    await _copy(connection, "ledger_leaves", Leaf._fields, leaves)
    last = {(row.tenant, row.arena): row.seq for row in rows}
    await connection.executemany(
        "UPDATE agon.arenas SET vote_seq = $3 WHERE tenant = $1 AND arena = $2",
        [(tenant, arena, seq) for (tenant, arena), seq in last.items()],
    )
    await connection.execute(f"NOTIFY {CHANNEL}")


async def _copy(
    connection: Connection, table: str, columns: Sequence[str], records: Sequence[tuple[object, ...]]
) -> None:
    await connection.copy_records_to_table(table, schema_name="agon", columns=columns, records=records)
