"""Judged votes into pair cells. `seq` makes it exact: each vote once and none left out, whatever Kafka repeats."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from agon.bus.batches import Move
from agon.bus.clients import Record
from agon.errors import InvalidRequest
from agon.messages import JudgedVote, VoteExcluded, VoteRetracted
from agon.ratings import CELL
from agon.store import cells
from agon.store.offsets import Offsets
from agon.store.pool import Connection, Pool
from agon.store.relays import judged_between
from agon.store.votes import Arena
from agon.telemetry import Metrics

_judged_vote: TypeAdapter[JudgedVote] = TypeAdapter(JudgedVote)


def read(record: Record) -> JudgedVote:
    """A record of `arena.votes.accepted.v1`. Raises `InvalidRequest`."""
    try:
        return _judged_vote.validate_json(record.value or b"")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        code = "invalid_json" if first["type"].startswith("json") else "wrong_type"
        raise InvalidRequest(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", code=code) from error


def changes(votes: Sequence[JudgedVote]) -> dict[tuple[str, str, str], list[int]]:
    """What votes add to the cells: (slice, left, right) -> four counts. Pure."""
    found: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
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
    changes: Mapping[tuple[str, str, str], Sequence[int]]


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
            new = await judged_between(connection, arena, mark, last)
            if len(new) != last - mark:
                raise InvalidRequest(
                    f"{arena[0]}/{arena[1]} has {len(new)} of the votes {mark + 1} to {last}: this record is not of "
                    "this database",
                    code="unknown_vote",
                )
        added = changes(new)
        await cells.add(connection, arena, added, last)
        return [Counted(arena, mark, last, added)]
