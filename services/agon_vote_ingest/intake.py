"""A batch of votes becomes rows, numbers and ledger entries in one transaction with the offsets."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from agon.bus.batches import Move
from agon.errors import InvalidRequest, SetupError
from agon.ledger import canonical, leaf_hash
from agon.messages import VoteCast, now, rfc3339
from agon.store import votes as store
from agon.store.offsets import Offsets
from agon.store.pool import Pool
from agon.store.votes import Arena, ArenaState, Judged, StoredVote
from agon.telemetry import Metrics
from agon_vote_ingest.judging import History, Rules, Verdict, judge

_log = logging.getLogger(__name__)


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
        async with self._pool.acquire() as connection, connection.transaction():
            await self._offsets.move(connection, moves)
            judged: list[Judged] = []
            if votes:
                arenas = await store.lock_arenas(connection, {(vote.tenant, vote.arena) for vote in votes})
                for vote in votes:
                    if (vote.tenant, vote.arena) not in arenas:
                        raise InvalidRequest(f"there is no arena {vote.arena!r}", code="unknown_arena")
                battles = await store.subjects(
                    connection, {(vote.tenant, vote.battle_id) for vote in votes if vote.battle_id is not None}
                )
                history = History(await store.earlier(connection, votes))
                at = await connection.fetchval("SELECT clock_timestamp()")
                numbers = Numbers(arenas)
                rules = {arena: _rules(arena, state.policy) for arena, state in arenas.items()}
                for vote in votes:
                    subject = battles.get((vote.tenant, vote.battle_id)) if vote.battle_id is not None else None
                    verdict = judge(vote, rules[vote.tenant, vote.arena], subject, history, self._secret)
                    if verdict is not None:
                        history.add(_stored(vote, verdict))
                        judged.append(numbers.append(vote, verdict, at))
                await store.append(connection, judged)
        self._count(votes, judged)

    def _count(self, votes: Sequence[VoteCast], judged: Sequence[Judged]) -> None:
        moment = now()
        for row in judged:
            counted = "no" if row.reason else "yes"
            self._metrics.counter("votes").labels(row.vote.arena, row.vote.outcome, counted).inc()
            waited = (moment - row.vote.voted_at).total_seconds()
            self._metrics.histogram("vote_ingest_seconds").observe(max(waited, 0.0))
        self._metrics.counter("duplicates_suppressed").labels("vote_ingest").inc(len(votes) - len(judged))


class Numbers:
    """Gives each judged vote its arena's next seq and its ledger's next leaf."""

    def __init__(self, arenas: dict[Arena, ArenaState]) -> None:
        self._next = {arena: [state.seq + 1, state.leaves] for arena, state in arenas.items()}

    def append(self, vote: VoteCast, verdict: Verdict, at: datetime) -> Judged:
        following = self._next[vote.tenant, vote.arena]
        seq, leaf = following
        following[0] += 1
        following[1] += 1
        entry = canonical(ledger_entry(vote, verdict, seq, at))
        return Judged(
            vote,
            seq,
            leaf,
            verdict.reason,
            verdict.model_a,
            verdict.model_b,
            verdict.slices,
            at,
            entry.decode(),
            leaf_hash(entry),
        )


def _rules(arena: Arena, policy: Mapping[str, Any]) -> Rules:
    """What the arena wants; where that can't be followed, votes count without slices of its own."""
    try:
        return Rules.of(policy)
    except SetupError as error:
        _log.error("the policy of %s/%s is wrong, so it has no slices of its own: %s", *arena, error)
        return Rules(policy.get("imports") is True)


def ledger_entry(vote: VoteCast, verdict: Verdict, seq: int, at: datetime) -> dict[str, object]:
    """What the ledger says about a vote: all that a recount needs, and no ticket."""
    return {
        "type": "vote",
        "tenant": vote.tenant,
        "arena": vote.arena,
        "seq": seq,
        "vote_id": vote.vote_id,
        "battle_id": vote.battle_id,
        "turn": vote.turn,
        "voter": vote.voter,
        "outcome": vote.outcome,
        "verdict": "excluded" if verdict.reason else "counted",
        "reason": verdict.reason,
        "model_a": verdict.model_a,
        "model_b": verdict.model_b,
        "slices": list(verdict.slices),
        "voted_at": rfc3339(vote.voted_at),
        "judged_at": rfc3339(at),
    }


def _stored(vote: VoteCast, verdict: Verdict) -> StoredVote:
    return StoredVote(
        vote.tenant, vote.vote_id, vote.battle_id, vote.turn, vote.voter, vote.outcome, verdict.reason
    )  # fmt: skip
