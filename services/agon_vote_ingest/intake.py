"""A batch of votes becomes rows, numbers and ledger entries in one transaction with the offsets."""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from agon.bus.batches import Move
from agon.errors import InvalidRequest, SetupError
from agon.ledger import leaf_hash, vote_entry
from agon.messages import VoteCast, now, rfc3339
from agon.store import votes as store
from agon.store.offsets import Offsets
from agon.store.pool import Connection, Pool
from agon.store.votes import Arena, ArenaState, JudgedRow, Leaf
from agon.telemetry import Metrics
from agon_vote_ingest.judging import History, Rules, Verdict, judge

_log = logging.getLogger(__name__)

_AT_ONCE = 500
"""Votes judged before others on the event loop get their turn: some 10 ms."""


class Intake:
    """Stores batches of votes."""

    def __init__(self, pool: Pool, offsets: Offsets, secret: str, metrics: Metrics) -> None:
        self._pool = pool
        self._offsets = offsets
        self._secret = secret
        self._metrics = metrics

    async def store(self, votes: Sequence[VoteCast], moves: Sequence[Move]) -> None:
        """Judge and append. Raises `InvalidRequest` when a vote names an arena that there is not: without an arena it
        has no number, so it can only be moved aside."""
        judged: list[JudgedRow] = []
        async with self._pool.acquire() as connection, connection.transaction():
            await self._offsets.move(connection, moves)
            if votes:
                judged = await self._judge(connection, votes)
                await store.append(connection, judged, leaf_of)
        self._count(votes, judged)

    async def _judge(self, connection: Connection, votes: Sequence[VoteCast]) -> list[JudgedRow]:
        arenas = await store.lock_arenas(connection, {(vote.tenant, vote.arena) for vote in votes})
        rules = {arena: _rules(arena, state.policy) for arena, state in arenas.items()}
        battles = await store.subjects(
            connection, {(vote.tenant, vote.battle_id) for vote in votes if vote.battle_id is not None}
        )
        history = History(await store.earlier(connection, votes))
        numbers = Numbers(arenas, await connection.fetchval("SELECT clock_timestamp()"))
        judged: list[JudgedRow] = []
        for first in range(0, len(votes), _AT_ONCE):
            for vote in votes[first : first + _AT_ONCE]:
                its_rules = rules.get((vote.tenant, vote.arena))
                if its_rules is None:
                    raise InvalidRequest(f"there is no arena {vote.arena!r}", code="unknown_arena")
                subject = battles.get((vote.tenant, vote.battle_id)) if vote.battle_id is not None else None
                verdict = judge(vote, its_rules, subject, history, self._secret)
                if verdict is not None:
                    history.add(vote, verdict.reason)
                    judged.append(numbers.row(vote, verdict))
            await asyncio.sleep(0)
        return judged

    def _count(self, votes: Sequence[VoteCast], judged: Sequence[JudgedRow]) -> None:
        moment = now()
        for (arena, outcome, counted), many in Counter(
            (row.arena, row.outcome, row.verdict == "counted") for row in judged
        ).items():
            self._metrics.counter("votes").labels(arena, outcome, "yes" if counted else "no").inc(many)
        for row in judged:
            if row.battle_id is not None:  # an import is as old as it is
                self._metrics.histogram("vote_ingest_seconds").observe(max((moment - row.voted_at).total_seconds(), 0))
        self._metrics.counter("duplicates_suppressed").labels("vote_ingest").inc(len(votes) - len(judged))


class Numbers:
    """Gives each judged vote its arena's next seq and its ledger's next leaf."""

    def __init__(self, arenas: Mapping[Arena, ArenaState], at: datetime) -> None:
        """`at` is when all of them are judged."""
        self._next = {arena: [state.seq + 1, state.leaves] for arena, state in arenas.items()}
        self._at = at

    def row(self, vote: VoteCast, verdict: Verdict) -> JudgedRow:
        following = self._next[vote.tenant, vote.arena]
        seq, leaf = following
        following[0] += 1
        following[1] += 1
        said: Literal["excluded", "counted"] = "excluded" if verdict.reason else "counted"
        return JudgedRow(
            vote.tenant, vote.arena, seq, said, verdict.reason, vote.vote_id, vote.battle_id, vote.turn, vote.voter,
            vote.outcome, verdict.model_a, verdict.model_b, verdict.slices, vote.voted_at, self._at, leaf,
        )  # fmt: skip


_of_a_batch = lru_cache(maxsize=1)(rfc3339)  # all votes of a batch are judged at one moment


def leaf_of(row: JudgedRow) -> Leaf:
    """The ledger's line about a vote."""
    (
        tenant, arena, seq, verdict, reason, vote_id, battle_id, turn, voter, outcome, model_a, model_b, slices,
        voted_at, judged_at, leaf,
    ) = row  # fmt: skip
    entry = vote_entry(
        tenant=tenant, arena=arena, seq=seq, vote_id=vote_id, battle_id=battle_id, turn=turn, voter=voter,
        outcome=outcome, verdict=verdict, reason=reason, model_a=model_a, model_b=model_b, slices=slices,
        voted_at=rfc3339(voted_at), judged_at=_of_a_batch(judged_at),
    )  # fmt: skip
    return Leaf(tenant, arena, leaf, "vote", entry.decode(), leaf_hash(entry))


def _rules(arena: Arena, policy: Mapping[str, Any]) -> Rules:
    """What the arena wants; where that can't be followed, votes count without slices of its own."""
    try:
        return Rules.of(policy)
    except SetupError as error:
        _log.error("the policy of %s/%s is wrong, so it has no slices of its own: %s", *arena, error)
        return Rules(policy.get("imports") is True)
