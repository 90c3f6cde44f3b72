"""`agon.votes` and `agon.ledger_leaves`: judged votes, appended under their arena's lock, and relayed in order."""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from agon.messages import JudgedVote, Outcome, VoteCast, VoteCounted, VoteExcluded, VoteRetracted
from agon.store.pool import Connection, Pool

Arena = tuple[str, str]
"""tenant, arena"""

CHANNEL = "agon_votes"
"""Postgres notifies it when votes were judged."""


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


@dataclass(frozen=True, slots=True)
class StoredVote:
    """An earlier verdict, as far as a later vote may repeat it."""

    tenant: str
    vote_id: str
    battle_id: str | None
    turn: int
    voter: str
    outcome: str
    reason: str | None
    """None: it counted"""


@dataclass(frozen=True, slots=True)
class Judged:
    """A row to append. `entry` are the ledger's bytes as text, `leaf_hash` their RFC 6962 leaf hash."""

    vote: VoteCast
    seq: int
    leaf: int
    reason: str | None
    model_a: str | None
    model_b: str | None
    slices: tuple[str, ...]
    judged_at: datetime
    entry: str
    leaf_hash: bytes


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
               b.voter_kind, t.turn, t.status, t.shown_at IS NOT NULL AS shown, t.categories, t.prompt_characters,
               length(t.answer_a) AS characters_a, length(t.answer_b) AS characters_b
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
    )


async def earlier(connection: Connection, votes: Sequence[VoteCast]) -> list[StoredVote]:
    """Verdicts that these votes may repeat: about the same vote id, or by the same voter on the same battle."""
    rows = await connection.fetch(
        """
        SELECT v.tenant, v.vote_id, v.battle_id, v.turn, v.voter, v.outcome, v.reason
        FROM unnest($1::text[], $2::text[]) AS wanted (tenant, vote_id) JOIN agon.votes v USING (tenant, vote_id)
        WHERE v.verdict <> 'retracted'
        UNION
        SELECT v.tenant, v.vote_id, v.battle_id, v.turn, v.voter, v.outcome, v.reason
        FROM unnest($1::text[], $3::text[], $4::text[]) AS wanted (tenant, battle_id, voter)
        JOIN agon.votes v USING (tenant, battle_id, voter)
        WHERE v.verdict = 'counted'
        """,
        [vote.tenant for vote in votes],
        [vote.vote_id for vote in votes],
        [vote.battle_id for vote in votes],
        [vote.voter for vote in votes],
    )
    return [StoredVote(**dict(row)) for row in rows]


async def append(connection: Connection, rows: Sequence[Judged]) -> None:
    """Append judged votes with their leaves and move the arenas' counters; the caller holds the arenas' locks. Whoever
    listens on `CHANNEL` learns of it with the commit."""
    if not rows:
        return
    await connection.copy_records_to_table(
        "ledger_leaves",
        schema_name="agon",
        columns=("tenant", "arena", "leaf", "kind", "entry", "hash"),
        records=[(r.vote.tenant, r.vote.arena, r.leaf, "vote", r.entry, r.leaf_hash) for r in rows],
    )
    await connection.copy_records_to_table(
        "votes",
        schema_name="agon",
        columns=(
            "tenant", "arena", "seq", "verdict", "reason", "vote_id", "battle_id", "turn", "voter", "outcome",
            "model_a", "model_b", "slices", "voted_at", "judged_at", "leaf",
        ),
        records=[
            (r.vote.tenant, r.vote.arena, r.seq, "excluded" if r.reason else "counted", r.reason, r.vote.vote_id,
             r.vote.battle_id, r.vote.turn, r.vote.voter, r.vote.outcome, r.model_a, r.model_b, r.slices,
             r.vote.voted_at, r.judged_at, r.leaf)
            for r in rows
        ],
    )  # fmt: skip
    last = {(r.vote.tenant, r.vote.arena): r.seq for r in rows}
    await connection.executemany(
        "UPDATE agon.arenas SET vote_seq = $3 WHERE tenant = $1 AND arena = $2",
        [(tenant, arena, seq) for (tenant, arena), seq in last.items()],
    )
    await connection.execute(f"NOTIFY {CHANNEL}")


async def unrelayed(pool: Pool) -> list[Arena]:
    """Arenas with judged votes that have not gone out to Kafka."""
    rows = await pool.fetch(
        """
        SELECT a.tenant, a.arena FROM agon.arenas a LEFT JOIN agon.vote_relays r USING (tenant, arena)
        WHERE a.vote_seq > coalesce(r.published, 0) ORDER BY a.tenant, a.arena
        """
    )
    return [(row["tenant"], row["arena"]) for row in rows]


async def relay(
    pool: Pool, arena: Arena, publish: Callable[[Sequence[JudgedVote]], Awaitable[None]], most: int = 1000
) -> int:
    """Publish the next votes of an arena in the order of `seq`, at most `most`, and move its mark once `publish` has
    returned. How many there were; 0 also while another process does the same.

    The arena's publication delay holds votes back here, so that nobody downstream has to know of it. A process that
    dies between publishing and moving the mark publishes the same votes again: readers deduplicate by `seq`.
    """
    async with pool.acquire() as connection, connection.transaction():
        if not await connection.fetchval(
            "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))", f"agon relay {arena[0]}/{arena[1]}"
        ):
            return 0
        rows = await connection.fetch(
            """
            SELECT v.* FROM agon.arenas a
            LEFT JOIN agon.vote_relays r USING (tenant, arena)
            JOIN agon.votes v USING (tenant, arena)
            WHERE a.tenant = $1 AND a.arena = $2 AND v.seq > coalesce(r.published, 0)
              AND v.judged_at <= clock_timestamp() - a.publication_delay
            ORDER BY v.seq LIMIT $3
            """,
            *arena,
            most,
        )
        if not rows:
            return 0
        await publish([_judged_vote(row) for row in rows])
        await connection.execute(
            """
            INSERT INTO agon.vote_relays (tenant, arena, published) VALUES ($1, $2, $3)
            ON CONFLICT (tenant, arena) DO UPDATE SET published = $3, changed_at = now()
            """,
            *arena,
            rows[-1]["seq"],
        )
        return len(rows)


async def judged_between(connection: Connection, arena: Arena, after: int, to: int) -> list[JudgedVote]:
    """The judged votes with `after` < seq <= `to`, in order."""
    rows = await connection.fetch(
        "SELECT * FROM agon.votes WHERE tenant = $1 AND arena = $2 AND seq > $3 AND seq <= $4 ORDER BY seq",
        *arena,
        after,
        to,
    )
    return [_judged_vote(row) for row in rows]


def _judged_vote(row: Mapping[str, Any]) -> JudgedVote:
    common: dict[str, Any] = {key: row[key] for key in ("seq", "vote_id", "tenant", "arena", "judged_at")}
    verdict: Literal["counted", "excluded", "retracted"] = row["verdict"]
    if verdict == "excluded":
        return VoteExcluded(**common, reason=row["reason"])
    outcome: Outcome = row["outcome"]
    pair: dict[str, Any] = {"model_a": row["model_a"], "model_b": row["model_b"], "slices": tuple(row["slices"])}
    if verdict == "retracted":
        return VoteRetracted(**common, **pair, outcome=outcome, reason=row["reason"])
    about: dict[str, Any] = {key: row[key] for key in ("battle_id", "turn", "voter", "voted_at")}
    return VoteCounted(**common, **pair, **about, outcome=outcome)
