"""`agon.vote_relays`: judged votes go out in the order of their numbers, the table being the outbox."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from pydantic_core import to_json

from agon.messages import JudgedVote, Outcome, VoteCounted, VoteExcluded, VoteRetracted, rfc3339
from agon.store.pool import Connection, Pool
from agon.store.votes import Arena

_COLUMNS = """v.seq, v.vote_id, v.tenant, v.arena, v.judged_at, v.verdict, v.battle_id, v.turn, v.voter, v.model_a,
    v.model_b, v.outcome, v.slices, v.reason, v.voted_at, 'vote_' || v.verdict AS type"""


Kind: TypeAlias = type[VoteCounted] | type[VoteExcluded] | type[VoteRetracted]


class Outgoing(NamedTuple):
    """A judged vote as it travels."""

    seq: int
    type: Kind
    value: bytes


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
    pool: Pool, arena: Arena, publish: Callable[[Sequence[Outgoing]], Awaitable[None]], most: int = 1000
) -> int:
    """Publish the next votes of an arena in the order of `seq`, at most `most`, and move its mark once `publish` has
    returned. The seq of the last one; 0 where there is none, and while another process does the same.

    The arena's publication delay holds votes back here, so that nobody downstream has to know of it; what comes behind
    a vote that is held back waits with it, also where a clock that was set back made it older. A process that dies
    between publishing and moving the mark publishes the same votes again: readers deduplicate by `seq`.
    """
    async with pool.acquire() as connection, connection.transaction():
        if not await connection.fetchval(
            "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))", f"agon relay {arena[0]}/{arena[1]}"
        ):
            return 0
        # Two statements, the second with bounds that are known: no plan for it sorts the whole backlog.
        mark = await connection.fetchval(
            "SELECT published FROM agon.vote_relays WHERE tenant = $1 AND arena = $2", *arena
        )
        rows = await connection.fetch(
            f"""
            SELECT {_COLUMNS} FROM agon.votes v
            WHERE v.tenant = $1 AND v.arena = $2 AND v.seq > $3 AND v.seq <= $4 AND v.seq < (
                SELECT coalesce(min(h.seq), $4 + 1) FROM agon.votes h
                WHERE h.tenant = $1 AND h.arena = $2 AND h.seq > $3 AND h.seq <= $4
                  AND h.judged_at > clock_timestamp() - (
                      SELECT publication_delay FROM agon.arenas WHERE tenant = $1 AND arena = $2))
            ORDER BY v.seq
            """,
            *arena,
            mark or 0,
            (mark or 0) + most,
        )
        if not rows:
            return 0
        await publish([outgoing(row) for row in rows])
        await connection.execute(
            """
            INSERT INTO agon.vote_relays (tenant, arena, published) VALUES ($1, $2, $3)
            ON CONFLICT (tenant, arena) DO UPDATE SET published = $3, changed_at = now()
            """,
            *arena,
            rows[-1]["seq"],
        )
        last: int = rows[-1]["seq"]
        return last


async def judged_between(connection: Connection, arena: Arena, after: int, to: int) -> list[JudgedVote]:
    """The judged votes with `after` < seq <= `to`, in order."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM agon.votes v WHERE tenant = $1 AND arena = $2 AND seq > $3 AND seq <= $4 ORDER BY seq",
        *arena,
        after,
        to,
    )
    return [_judged_vote(row) for row in rows]


_KINDS: dict[str, tuple[Kind, tuple[str, ...]]] = {
    "counted": (VoteCounted, tuple(VoteCounted.model_fields)),
    "excluded": (VoteExcluded, tuple(VoteExcluded.model_fields)),
    "retracted": (VoteRetracted, tuple(VoteRetracted.model_fields)),
}


def outgoing(row: Mapping[str, Any]) -> Outgoing:
    """What `encode` of the row's message gives, without making the message: the table was checked when it was written,
    and a backlog has millions of rows."""
    kind, names = _KINDS[row["verdict"]]
    fields = {name: row[name] for name in names}
    for name in ("judged_at", "voted_at"):
        if name in fields:
            fields[name] = rfc3339(fields[name])
    return Outgoing(row["seq"], kind, to_json(fields))


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
