"""`agon.vote_relays`: judged votes go out in the order of their numbers, the table being the outbox."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from agon.messages import JudgedVote, Outcome, VoteCounted, VoteExcluded, VoteRetracted
from agon.store.pool import Connection, Pool
from agon.store.votes import Arena

_COLUMNS = """seq, vote_id, tenant, arena, judged_at, verdict, battle_id, turn, voter, model_a, model_b, outcome,
    slices, reason, voted_at"""
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


_DUE = """
WITH next AS (
    SELECT seq, leaf, judged_at > clock_timestamp() - (
        SELECT publication_delay FROM agon.arenas WHERE tenant = $1 AND arena = $2) AS held
    FROM agon.votes WHERE tenant = $1 AND arena = $2 AND seq > $3 AND seq <= $4
)
SELECT max(seq), min(leaf), max(leaf) FROM next
WHERE seq < (SELECT coalesce(min(seq) FILTER (WHERE held), $4 + 1) FROM next)
"""


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
        # Statements with bounds that are known: no plan for them sorts the whole backlog.
        mark = await connection.fetchval(
            "SELECT coalesce(max(published), 0) FROM agon.vote_relays WHERE tenant = $1 AND arena = $2", *arena
        )
        last, first_leaf, last_leaf = await connection.fetchrow(_DUE, *arena, mark, mark + most)
        if last is None:
            return 0
        # Votes get their leaves under the lock under which they get their numbers, so both have one order.
        entries = await connection.fetch(
            "SELECT entry FROM agon.ledger_leaves WHERE tenant = $1 AND arena = $2 AND leaf BETWEEN $3 AND $4 "
            "AND kind = 'vote' ORDER BY leaf",
            *arena,
            first_leaf,
            last_leaf,
        )
        await publish([outgoing(seq, entry) for seq, (entry,) in zip(range(mark + 1, last + 1), entries, strict=True)])
        await connection.execute(
            """
            INSERT INTO agon.vote_relays (tenant, arena, published) VALUES ($1, $2, $3)
            ON CONFLICT (tenant, arena) DO UPDATE SET published = $3, changed_at = now()
            """,
            *arena,
            last,
        )
        return int(last)


async def judged_between(connection: Connection, arena: Arena, after: int, to: int) -> list[JudgedVote]:
    """The judged votes with `after` < seq <= `to`, in order."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM agon.votes WHERE tenant = $1 AND arena = $2 AND seq > $3 AND seq <= $4 ORDER BY seq",
        *arena,
        after,
        to,
    )
    return [_judged_vote(row) for row in rows]


_COUNTED = '"type":"vote","verdict":"counted"'
_KINDS: Mapping[str, Kind] = {"excluded": VoteExcluded, "retracted": VoteRetracted}


def outgoing(seq: int, entry: str) -> Outgoing:
    """The message of the vote that a ledger entry tells of. What counted is sent as the ledger has it, but for its type
    and the reason that there is none: a backlog has millions. Inside a value each quote is escaped, so that what is
    looked for are keys."""
    if _COUNTED in entry:
        message = entry.replace(_COUNTED, '"type":"vote_counted"', 1).replace('"reason":null,', "", 1)
        return Outgoing(seq, VoteCounted, message.encode())
    told = json.loads(entry)
    kind = _KINDS[told["verdict"]]
    return Outgoing(seq, kind, kind.model_validate({**told, "type": f"vote_{told['verdict']}"}).encode())


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
