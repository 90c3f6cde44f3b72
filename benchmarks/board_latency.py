"""From a vote to its place on the live boards: 500 votes a second, 130 models, 30 slices.

    python benchmarks/board_latency.py [--rate 500] [--seconds 30] [--models 130] [--before 50000]

Votes are produced to Kafka at a steady rate; the clock of each starts there. It stops when a board that knows the vote
has been committed and told on the channel that feeds the live stream: for the overall board, and for every slice that
the vote counts in. Before that, a backlog fills all cells.
"""

import argparse
import asyncio
import json
import random
import time
from bisect import bisect_left
from collections import defaultdict
from typing import Any

import asyncpg
from aiokafka import AIOKafkaProducer
from redis.asyncio import Redis

from agon.messages import VoteCast, now
from agon.topics import Keys
from house import House, house, processor_seconds
from stack import machine, percentile, save

LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "ru", "ja", "zh")
OWN = tuple(f"topic-{n}" for n in range(20))  # with `overall` and the languages: 30 slices
OUTCOMES = ("a", "b", "tie", "both_bad")


def votes(models: int, seed: int, prefix: str) -> Any:
    """Imports without end: random pairs, a language and two topics each."""
    rng = random.Random(seed)
    names = [f"provider/model-{n}" for n in range(models)]
    number = 0
    while True:
        left, right = rng.sample(names, 2)
        yield VoteCast(
            vote_id=f"{prefix}-{number}", voter=f"voter-{number % 5000}", model_a=left, model_b=right, voted_at=now(),
            outcome=rng.choices(OUTCOMES, (4, 4, 1, 1))[0], language=rng.choice(LANGUAGES),
            categories=tuple(rng.sample(OWN, 2)),
        )  # fmt: skip
        number += 1


async def fill(house: House, db: Any, many: int, models: int) -> None:
    """A backlog, until every board knows it."""
    producer = AIOKafkaProducer(bootstrap_servers=house.kafka_url, linger_ms=20)
    await producer.start()
    source = votes(models, 1, "before")
    for _ in range(0, many, 1000):
        await asyncio.gather(*[await producer.send(house.topics.votes, next(source).encode()) for _ in range(1000)])
    await producer.stop()
    while await db.fetchval("SELECT coalesce(min(as_of), 0) < $1 FROM agon.leaderboards", many - 1000):  # noqa: ASYNC110
        await asyncio.sleep(0.2)


class Seen:
    """When the boards of each slice were told, and what they knew."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)
        self.known: dict[str, list[int]] = defaultdict(list)

    async def listen(self, house: House) -> None:
        redis = Redis.from_url(house.redis_url)
        channel = redis.pubsub()
        await channel.subscribe(Keys().board)
        async for message in channel.listen():
            if message["type"] == "message":
                told = json.loads(message["data"])
                self.times[told["slice"]].append(time.monotonic())
                self.known[told["slice"]].append(told["as_of"])

    def when(self, slice: str, seq: int) -> float:
        """When the first board of this slice that knows the vote was told."""
        at = bisect_left(self.known[slice], seq)
        return self.times[slice][at] if at < len(self.times[slice]) else float("inf")


async def cast(house: House, rate: int, seconds: int, models: int) -> dict[str, float]:
    """When each vote was produced."""
    producer = AIOKafkaProducer(bootstrap_servers=house.kafka_url, linger_ms=0)
    await producer.start()
    source, sent, began = votes(models, 2, "timed"), {}, time.monotonic()
    pending = []
    for n in range(rate * seconds):
        await asyncio.sleep(max(0.0, began + n / rate - time.monotonic()))
        vote = next(source)
        sent[vote.vote_id] = time.monotonic()
        pending.append(await producer.send(house.topics.votes, vote.encode()))
    await asyncio.gather(*pending)
    await producer.stop()
    return sent


def told(values: list[float]) -> dict[str, float]:
    return {name: round(percentile(values, share), 3) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}


async def measure(rate: int, seconds: int, models: int, before: int) -> dict[str, Any]:
    async with house() as started:
        db = await asyncpg.connect(started.postgres_url)
        policy = json.dumps({"imports": True, "categories": OWN})
        await db.execute("UPDATE agon.arenas SET policy = $1::text::jsonb", policy)
        with started.service("vote_ingest") as ingest, started.service("rating_compute") as compute:
            await fill(started, db, before, models)
            seen = Seen()
            listening = asyncio.create_task(seen.listen(started))
            pids = {**started.server_pids, "vote_ingest": ingest.pid, "rating_compute": compute.pid}
            spent, own = {name: processor_seconds(pid) for name, pid in pids.items()}, time.process_time()
            sent = await cast(started, rate, seconds, models)
            spent = {name: processor_seconds(pid) - spent[name] for name, pid in pids.items()}
            spent["client"] = time.process_time() - own
            last = await db.fetchval("SELECT vote_seq FROM agon.arenas")
            deadline = time.monotonic() + 60
            while not (seen.known["overall"] and seen.known["overall"][-1] >= before + rate * seconds):
                if time.monotonic() > deadline:
                    raise SystemExit(f"the board knows {seen.known['overall'][-1:]} of {last} votes")
                await asyncio.sleep(0.1)
            await asyncio.sleep(2)
            listening.cancel()
            rows = await db.fetch("SELECT seq, vote_id, slices FROM agon.votes WHERE vote_id LIKE 'timed-%'")
        await db.close()
    overall = [seen.when("overall", row["seq"]) - sent[row["vote_id"]] for row in rows]
    each = [seen.when(slice, row["seq"]) - sent[row["vote_id"]] for row in rows for slice in row["slices"]]
    return {
        "rate": rate,
        "models": models,
        "slices": len(seen.known),
        "votes": len(rows),
        "overall_seconds": told(overall),
        "every_slice_seconds": told(each),
        "boards_per_second": round(sum(map(len, seen.times.values())) / seconds, 1),
        "processor_share_of_a_core": {name: round(s / seconds, 2) for name, s in spent.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="From a vote to its place on the live boards.")
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--models", type=int, default=130)
    parser.add_argument("--before", type=int, default=50_000)
    options = parser.parse_args()
    figures = asyncio.run(measure(options.rate, options.seconds, options.models, options.before))
    print(machine())
    print(json.dumps(figures, indent=2))
    save("board_latency", figures)


if __name__ == "__main__":
    main()
