"""Judged votes into pair cells. `seq` makes it exact: each vote once and none left out, whatever Kafka repeats."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter

from agon.bus.batches import Move, reading
from agon.errors import InvalidRequest
from agon.messages import JudgedVote, VoteExcluded, VoteRetracted
from agon.ratings import CELL
from agon.store import cells
from agon.store.cells import Changes, Key
from agon.store.offsets import Offsets
from agon.store.pool import Connection, Pool
from agon.store.relays import judged_between
from agon.store.votes import Arena
from agon.telemetry import Metrics

read = reading(TypeAdapter[JudgedVote](JudgedVote).validate_json)
"""A record of `arena.votes.accepted.v1`. Raises `InvalidRequest`."""

AT_ONCE = 5000
"""Votes in memory at a time where they are read from the table."""


def changes(votes: Sequence[JudgedVote]) -> dict[Key, list[int]]:
    """What votes add to the cells: (slice, left, right) -> four counts. Pure."""
    found: dict[Key, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for vote in votes:
        if isinstance(vote, VoteExcluded):
            continue
        for slice in vote.slices:
            found[slice, vote.model_a, vote.model_b][CELL[vote.outcome]] += -1 if isinstance(vote, VoteRetracted) else 1
    return dict(found)


@dataclass(frozen=True, slots=True)
class Counted:
    """What a commit has added: an arena's votes behind seq `before`, up to `after`."""

    arena: Arena
    before: int
    after: int
    changes: Changes


class Counting:
    """Stores batches of judged votes; `counted` is called with what each commit has changed."""

    def __init__(
        self, pool: Pool, offsets: Offsets, metrics: Metrics, counted: Callable[[Sequence[Counted]], None]
    ) -> None:
        self._pool = pool
        self._offsets = offsets
        self._metrics = metrics
        self._counted = counted

    async def store(self, votes: Sequence[JudgedVote], moves: Sequence[Move]) -> None:
        by_arena: dict[Arena, dict[int, JudgedVote]] = defaultdict(dict)
        for vote in votes:
            by_arena[vote.tenant, vote.arena][vote.seq] = vote
        done: list[Counted] = []
        async with self._pool.acquire() as connection, connection.transaction():
            await self._offsets.move(connection, moves)
            for arena in sorted(by_arena):
                done += await self._count(connection, arena, by_arena[arena])
        fresh = sum(each.after - each.before for each in done)
        self._metrics.counter("duplicates_suppressed").labels("rating_compute").inc(max(0, len(votes) - fresh))
        if done:
            self._counted(done)

    async def _count(self, connection: Connection, arena: Arena, votes: dict[int, JudgedVote]) -> list[Counted]:
        mark = await cells.lock_mark(connection, arena)
        new = [votes[seq] for seq in sorted(votes) if seq > mark]
        if not new:
            return []
        last = new[-1].seq
        if len(new) != last - mark:
            # Kafka lost some (retention, a topic made anew); the table has them all.
            added = await _changes_between(connection, arena, mark, last)
        else:
            added = changes(new)
        await cells.add(connection, arena, added, last)
        return [Counted(arena, mark, last, added)]


async def _changes_between(connection: Connection, arena: Arena, after: int, to: int) -> dict[Key, list[int]]:
    """What the votes of the table with `after` < seq <= `to` add, however many: they are read block by block."""
    found: dict[Key, list[int]] = {}
    while after < to:
        end = min(after + AT_ONCE, to)
        votes = await judged_between(connection, arena, after, end)
        if len(votes) != end - after:
            raise InvalidRequest(
                f"{arena[0]}/{arena[1]} has {len(votes)} of the votes {after + 1} to {end}: a record of vote {to} is "
                "not of this database",
                code="unknown_vote",
            )
        for key, counts in changes(votes).items():
            found[key] = [a + b for a, b in zip(found.get(key, (0, 0, 0, 0)), counts, strict=True)]
        after = end
    return found
