"""The arena path as processes: battles to vote on, votes onto Kafka, services to kill, and what came of it."""

import asyncio
import json
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from agon.arena import tickets
from agon.arena.votes import vote_id
from agon.messages import VoteCast, now
from agon.topics import Keys, Topics
from support import dying
from support.forked import Forked
from support.waiting import PATIENCE

SECRET = "the secret of these tests"
R = TypeVar("R")


@dataclass(frozen=True)
class Place:
    """The servers and names of one test."""

    kafka_url: str
    redis_url: str
    database_url: str
    topic_prefix: str
    key_prefix: str

    @property
    def topics(self) -> Topics:
        return Topics(self.topic_prefix)

    @property
    def keys(self) -> Keys:
        return Keys(self.key_prefix)

    def environment(self, name: str, **more: str) -> dict[str, str]:
        """What a service of this test is told."""
        return {
            "AGON_KAFKA_URL": self.kafka_url,
            "AGON_REDIS_URL": self.redis_url,
            "AGON_POSTGRES_URL": self.database_url,
            "AGON_TOPIC_PREFIX": self.topic_prefix,
            "AGON_KEY_PREFIX": self.key_prefix,
            "AGON_SESSION_SECRET": SECRET,
            # A killed member is missed sooner than after the default of 6 s; the brokers of tests allow it.
            "AGON_SESSION_TIMEOUT": "3",
            "AGON_NAME": name,
            **more,
        }


async def eventually(what: str, ask: Callable[[], Awaitable[R | None]], within: float = PATIENCE) -> R:
    """The answer as soon as it is something; fails by name where it is nothing after `within` seconds."""
    end = time.monotonic() + within
    while True:
        late = time.monotonic() > end
        answer = await ask()
        if answer:
            return answer
        assert not late, f"not within {within} s: {what}"
        await asyncio.sleep(0.02)


@dataclass
class Process:
    """A service in a process of its own; `log` is what it has written."""

    forked: Forked
    path: Path

    @property
    def log(self) -> str:
        return self.path.read_text()

    @property
    def alive(self) -> bool:
        return self.forked.poll() is None

    def send(self, number: signal.Signals) -> None:
        self.forked.send_signal(number)

    async def exit(self, within: float = PATIENCE) -> int:
        """Its exit status, once it has ended."""

        async def ended() -> bool:
            return not self.alive

        await eventually(f"the process ends\n{self.log}", ended, within)
        return self.forked.wait()


@dataclass
class Processes:
    """Starts services and leaves none behind."""

    place: Place
    started: list[Process] = field(default_factory=list)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp()))

    def start(self, service: str, *, die_at: str | None = None, **more: str) -> Process:
        """`python -m agon_<service>`; with `die_at`, one that kills itself there (`support.dying`)."""
        number = len(self.started) + 1
        path = self.folder / f"{number}-{service}.log"
        environment = {**os.environ, **self.place.environment(f"{service}-{number}", **more)}
        before = None if die_at is None else getattr(dying, die_at)
        process = Process(Forked(f"agon_{service}", environment, path, before=before), path)
        self.started.append(process)
        return process

    def stop(self) -> None:
        for process in self.started:
            process.forked.kill()
            process.forked.wait()


@contextmanager
def processes(place: Place) -> Iterator[Processes]:
    made = Processes(place)
    try:
        yield made
    finally:
        made.stop()


async def add_battles(database_url: str, battles: Sequence[tuple[str, str, str]], arena: str = "main") -> None:
    """Battles (id, model a, model b) with one finished turn that was shown."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.executemany(
            """
            INSERT INTO agon.battles (tenant, battle_id, arena, session_hash, model_a, model_b, digest_a, digest_b,
                draw_probability, policy, policy_hash, nonce, commitment, prompt_hash, language)
            VALUES ('default', $1, $4, 's', $2, $3, 'd', 'd', 0.5, '{}', 'p', 'n', 'c', 'h', 'en')
            """,
            [(battle, a, b, arena) for battle, a, b in battles],
        )
        await connection.executemany(
            """
            INSERT INTO agon.battle_turns (tenant, battle_id, turn, prompt, request_a, request_b, seed_a, seed_b,
                status, shown_at, done_at)
            VALUES ('default', $1, 1, '[]', 'ra', 'rb', 1, 2, 'finished', now(), now())
            """,
            [(battle,) for battle, _, _ in battles],
        )
    finally:
        await connection.close()


def cast(battle: str, outcome: str = "a", *, voter: str = "voter-1", turn: int = 1, **changed: Any) -> VoteCast:
    """A vote with its ticket, as an ingress produces it."""
    at = now()
    fields = {
        "vote_id": vote_id("default", battle, turn, voter),
        "battle_id": battle,
        "turn": turn,
        "voter": voter,
        "outcome": outcome,
        "ticket": tickets.issue(
            SECRET, tenant="default", battle_id=battle, turn=turn, voter=voter, at=at - timedelta(minutes=1)
        ),
        "voted_at": at,
    }
    return VoteCast(**{**fields, **changed})


@asynccontextmanager
async def producing(kafka_url: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka_url, enable_idempotence=True)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def send_votes(producer: AIOKafkaProducer, topic: str, votes: Sequence[VoteCast]) -> None:
    """Acknowledged by Kafka when it returns."""
    sent = [await producer.send(topic, vote.encode(), key=(vote.battle_id or "").encode()) for vote in votes]
    await asyncio.gather(*sent)


async def records(kafka_url: str, topic: str) -> list[Any]:
    """Everything that a topic holds now, partition by partition in order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka_url, enable_auto_commit=False)
    await consumer.start()
    try:
        await consumer._client.force_metadata_update()
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found = []
        while any([await consumer.position(where) < ends[where] for where in partitions]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found += batch
        return found
    finally:
        await consumer.stop()


async def check_exactly_once(place: Place, counted: set[str]) -> None:
    """What must hold however often who was killed: every vote once, gap-free, in the ledger, relayed in order, and on
    the board."""
    connection = await asyncpg.connect(place.database_url)
    try:
        rows = await connection.fetch("SELECT * FROM agon.votes ORDER BY seq")
        leaves = await connection.fetchval("SELECT array_agg(leaf ORDER BY leaf) FROM agon.ledger_leaves")
        cells = await connection.fetchval(
            "SELECT sum(left_wins + right_wins + ties + both_bad) FROM agon.pair_cells WHERE slice = 'overall'"
        )
        board = await connection.fetchval("SELECT votes FROM agon.leaderboards WHERE slice = 'overall'")
    finally:
        await connection.close()
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert leaves == list(range(len(rows)))
    votes = [row["vote_id"] for row in rows if row["verdict"] == "counted"]
    assert set(votes) == counted
    assert len(votes) == len(counted)
    assert cells == board == len(counted)
    relayed: list[int] = []
    seen: Counter[int] = Counter()
    for record in await records(place.kafka_url, place.topics.accepted_votes):
        seq = json.loads(record.value)["seq"]
        seen[seq] += 1
        if seen[seq] == 1:
            relayed.append(seq)
    assert relayed == list(range(1, len(rows) + 1)), "first sights are not in the order of seq"
