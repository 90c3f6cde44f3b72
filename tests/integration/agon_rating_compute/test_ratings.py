"""Judged votes become boards; whoever dies, each vote is counted once."""

import hashlib
import json
import random
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from agon.errors import InvalidRequest
from agon.ledger import canonical, leaf_hash, root
from agon.messages import VoteCounted, VoteRetracted, now, rfc3339
from agon.ratings import PairCells, rank_models
from agon.store.leaderboard import Board, leaderboard
from agon.store.offsets import Offsets
from agon.telemetry import Metrics
from agon_rating_compute import counting
from agon_rating_compute.counting import Counted, Counting, changes
from support import forked
from support.voting import Place, Processes, eventually, records

pytestmark = pytest.mark.servers

MODELS = ("w", "x", "y", "z")
OUTCOMES = ("a", "b", "tie", "both_bad")


class Arena:
    """Judged votes as the vote ingest leaves them: in the table, in the ledger, and (mostly) on Kafka."""

    def __init__(self, place: Place, producer: AIOKafkaProducer, pool: Any) -> None:
        self.place = place
        self.producer = producer
        self.pool = pool
        self.votes: list[VoteCounted] = []
        self._random = random.Random(4)

    def vote(self) -> VoteCounted:
        left, right = self._random.sample(MODELS, 2)
        seq = len(self.votes) + 1
        outcome: Any = self._random.choice(OUTCOMES)
        vote = VoteCounted(
            seq=seq, vote_id=f"v{seq}", tenant="default", arena="main", judged_at=now(), turn=1, voter=f"voter-{seq}",
            model_a=left, model_b=right, outcome=outcome, voted_at=now(),
            slices=("overall", "language-en") if seq % 3 == 0 else ("overall",),
        )  # fmt: skip
        self.votes.append(vote)
        return vote

    async def store(self, *votes: VoteCounted) -> None:
        entries = [canonical({"type": "vote", "seq": vote.seq, "judged_at": rfc3339(vote.judged_at)}) for vote in votes]
        await self.pool.executemany(
            "INSERT INTO agon.ledger_leaves (tenant, arena, leaf, kind, entry, hash) "
            "VALUES ('default', 'main', $1, 'vote', $2, $3)",
            [(vote.seq - 1, entry.decode(), leaf_hash(entry)) for vote, entry in zip(votes, entries, strict=True)],
        )
        await self.pool.executemany(
            """
            INSERT INTO agon.votes (tenant, arena, seq, verdict, vote_id, turn, voter, outcome, model_a, model_b,
                slices, voted_at, judged_at, leaf)
            VALUES ('default', 'main', $1::bigint, 'counted', $2, 1, $3, $4, $5, $6, $7, $8, $9, $1::bigint - 1)
            """,
            [
                (v.seq, v.vote_id, v.voter, v.outcome, v.model_a, v.model_b, v.slices, v.voted_at, v.judged_at)
                for v in votes
            ],
        )

    async def relay(self, *votes: VoteCounted) -> None:
        for vote in votes:
            await self.producer.send_and_wait(self.place.topics.accepted_votes, vote.encode(), key=b"main")

    async def add(self, count: int) -> None:
        votes = [self.vote() for _ in range(count)]
        await self.store(*votes)
        await self.relay(*votes)

    async def board(self, votes: int, slice: str = "overall") -> Board:
        async def there() -> Board | None:
            try:
                found = await leaderboard(self.pool, slice=slice)
            except Exception:
                return None  # the slice has no vote yet
            return found if found.votes >= votes else None

        return await eventually(f"{votes} votes are on the board of {slice}", there)

    async def check(self) -> None:
        """The boards are what a fit of all votes from scratch says."""
        for slice in ("overall", "language-en"):
            votes = [(v.model_a, v.model_b, v.outcome) for v in self.votes if slice in v.slices]
            wanted = rank_models(PairCells.count(votes))
            board = await self.board(len(votes), slice)
            assert board.votes == len(votes)
            assert [row.model for row in board.rows] == [row.model for row in wanted.rows]
            for row, right in zip(board.rows, wanted.rows, strict=True):
                assert row.rating == pytest.approx(right.rating, abs=1e-6)
                assert (row.lower, row.upper) == pytest.approx((right.lower, right.upper), abs=1e-6)
                assert (row.rank, row.rank_best, row.rank_worst, row.votes) == (
                    right.rank,
                    right.rank_best,
                    right.rank_worst,
                    right.votes,
                )
        matrix = await self.pool.fetch("SELECT * FROM analytics.win_matrix WHERE slice = 'overall'")
        assert sum(row["votes"] for row in matrix) == 2 * len(self.votes)
        for row in matrix:
            mine = [v for v in self.votes if {v.model_a, v.model_b} == {row["model"], row["opponent"]}]
            wins = sum(v.outcome == ("a" if v.model_a == row["model"] else "b") for v in mine)
            assert (row["votes"], row["wins"]) == (len(mine), wins)


@pytest.fixture
async def arena(place: Place, producer: AIOKafkaProducer) -> Any:
    pool = await asyncpg.create_pool(place.database_url, min_size=1, max_size=2)
    yield Arena(place, producer, pool)
    await pool.close()


async def test_boards_follow_the_votes_and_a_restart_recounts_nothing(arena: Arena, services: Processes) -> None:
    first = services.start("rating_compute")
    await arena.add(150)
    await arena.check()
    first.forked.terminate()
    assert await first.exit() == 0
    await arena.relay(*arena.votes[100:])  # what a relay repeats after a crash
    services.start("rating_compute")
    await arena.add(50)
    await arena.check()


async def test_votes_that_kafka_lost_are_read_from_the_table(arena: Arena, services: Processes) -> None:
    lost = [arena.vote() for _ in range(30)]
    await arena.store(*lost)
    services.start("rating_compute")
    await arena.add(10)
    await arena.check()


async def test_however_many_votes_kafka_lost_they_are_read_block_by_block(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "AT_ONCE", 7)
    votes = [arena.vote() for _ in range(30)]
    await arena.store(*votes)
    done: list[Counted] = []
    await Counting(arena.pool, Offsets(arena.pool, "test"), Metrics(), done.extend).store(votes[-1:], [])
    assert [(each.before, each.after) for each in done] == [(0, 30)]
    assert done[0].changes == changes(votes)
    stranger = votes[-1].model_copy(update={"seq": 10**15})
    with pytest.raises(InvalidRequest, match="not of this database"):
        await Counting(arena.pool, Offsets(arena.pool, "test"), Metrics(), done.extend).store([stranger], [])


async def test_a_record_of_another_database_is_moved_aside(arena: Arena, services: Processes) -> None:
    services.start("rating_compute")
    stranger = arena.vote().model_copy(update={"seq": 1000})
    arena.votes.clear()
    await arena.relay(stranger)
    await arena.producer.send_and_wait(arena.place.topics.accepted_votes, b"{}", key=b"main")
    await arena.add(20)
    await arena.check()
    letters = await records(arena.place.kafka_url, arena.place.topics.dead_letters(arena.place.topics.accepted_votes))
    assert {letter.value for letter in letters} == {stranger.encode(), b"{}"}
    assert len(letters) == 2


async def test_a_model_whose_last_vote_is_taken_back_has_no_rating_on_kafka_any_more(
    arena: Arena, services: Processes
) -> None:
    services.start("rating_compute")
    await arena.add(20)
    guest = [
        arena.vote().model_copy(update={"model_a": "guest", "model_b": "w", "outcome": outcome, "slices": ("overall",)})
        for outcome in ("a", "b")
    ]
    arena.votes[-2:] = guest
    await arena.store(*guest)
    await arena.relay(*guest)
    key = b"default/main/overall/guest"

    async def last() -> Any:
        found = [r for r in await records(arena.place.kafka_url, arena.place.topics.ratings) if r.key == key]
        return found[-1] if found else None

    async def rated() -> bool:
        record = await last()
        return record is not None and record.value is not None

    await eventually("the guest's rating is on Kafka", rated)
    for vote in guest:
        taken = VoteRetracted(
            seq=vote.seq + 2, vote_id=vote.vote_id, tenant="default", arena="main", judged_at=now(), reason="a slip",
            model_a=vote.model_a, model_b=vote.model_b, outcome=vote.outcome, slices=vote.slices,
        )  # fmt: skip
        await arena.producer.send_and_wait(arena.place.topics.accepted_votes, taken.encode(), key=b"main")

    async def gone() -> bool:
        record = await last()
        return record is not None and record.value is None

    await eventually("a tombstone follows", gone)
    board = await leaderboard(arena.pool)
    assert "guest" not in {row.model for row in board.rows} | {each.model for each in board.unranked}


@pytest.mark.kill
async def test_a_killed_rating_compute_counts_each_vote_once(arena: Arena, services: Processes) -> None:
    for point in ("while_counting", "after_counting", "before_announcing"):
        victim = services.start("rating_compute", die_at=point)
        await arena.add(25)
        assert await victim.exit() == -9, victim.log
    services.start("rating_compute")
    await arena.check()

    async def announced() -> bool:
        found = [r for r in await records(arena.place.kafka_url, arena.place.topics.ratings) if r.value is not None]
        return any(json.loads(record.value)["as_of"] == 75 for record in found)

    await eventually("the last board is on Kafka", announced)


async def test_a_published_run_is_kept_and_can_be_checked(arena: Arena, services: Processes) -> None:
    service = services.start("rating_compute")
    await arena.add(60)
    await arena.check()
    service.forked.terminate()
    await service.exit()

    def publish() -> str:
        done = forked.run(
            "agon_rating_compute", "publish", "--arena", "main", environment=arena.place.environment("publisher")
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "published main/overall by bradley_terry: 60 votes, 4 models ranked" in publish()
    assert "nothing to publish" in publish()
    history = await arena.pool.fetch(
        "SELECT * FROM analytics.leaderboard_history WHERE slice = 'overall' AND method = 'bradley_terry' ORDER BY rank"
    )
    live = await arena.board(60)
    assert [row["model"] for row in history] == [row.model for row in live.rows]
    assert [row["rating"] for row in history] == pytest.approx([row.rating for row in live.rows], abs=1e-6)

    leaves = await arena.pool.fetch("SELECT * FROM agon.ledger_leaves ORDER BY leaf")
    assert [leaf["leaf"] for leaf in leaves] == list(range(66))  # two slices, three methods
    entries = [json.loads(leaf["entry"]) for leaf in leaves if leaf["kind"] == "leaderboard"]
    assert {entry["method"] for entry in entries} == {"bradley_terry", "reweighted", "voter_clustered"}
    entry = next(e for e in entries if (e["slice"], e["method"]) == ("overall", "bradley_terry"))
    assert (entry["as_of"], entry["votes"], entry["tree_size"], entry["method"]) == (60, 60, 60, "bradley_terry")
    assert entry["root"] == root([leaf["hash"] for leaf in leaves[:60]]).hex()
    result = sorted(
        [*(r[name] for name in ("model", "votes", "rank", "rank_best", "rank_worst")),
         *(repr(r[name]) for name in ("rating", "lower", "upper"))]
        for r in history
    )  # fmt: skip
    assert entry["result_sha256"] == hashlib.sha256(canonical(result)).hexdigest()
    assert history[0]["leaf"] == next(leaf["leaf"] for leaf in leaves if leaf["entry"] == canonical(entry).decode())
