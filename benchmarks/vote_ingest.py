"""How many votes per second come from Kafka into Postgres, each once, and out again: a backlog of imports, relay on.

    python benchmarks/vote_ingest.py [--votes 400000] [--models 130] [--processes 2]

The votes lie in Kafka before the services start. The clock runs from the first votes in the table, once the services
have shared the partitions, until all are there and all of them have been relayed to `arena.votes.accepted.v1`. Then
every vote is looked for: once in the table, once in the ledger, once on the topic, in the order of their numbers.
Memory is the first service's, sampled ten times a second.
"""

import argparse
import asyncio
import contextlib
import json
import random
import time
from datetime import timedelta
from typing import Any

import asyncpg
import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from agon.messages import VoteCast, now
from house import House, house, processor_seconds
from stack import machine, save

PARTITIONS = 4
_HOLDERS = "SELECT count(DISTINCT holder) FROM agon.consumer_offsets WHERE consumer = 'vote_ingest'"
OUTCOMES = ("a", "b", "tie", "both_bad")


async def send(house: House, votes: int, models: int) -> None:
    """Imports of random pairs, spread over the partitions as a producer without keys does."""
    rng = random.Random(5)
    names = [f"provider/model-{n}" for n in range(models)]
    producer = AIOKafkaProducer(bootstrap_servers=house.kafka_url)
    await producer.start()
    moment, batch, partition = now(), producer.create_batch(), 0
    for n in range(votes):
        left, right = rng.sample(names, 2)
        vote = VoteCast(
            vote_id=f"import-{n}", voter=f"voter-{n % 5000}", outcome=rng.choices(OUTCOMES, (4, 4, 1, 1))[0],
            model_a=left, model_b=right, voted_at=moment + timedelta(milliseconds=n),
        )  # fmt: skip
        value = vote.encode()
        if batch.append(key=None, value=value, timestamp=None) is None:
            await producer.send_batch(batch, house.topics.votes, partition=partition)
            batch, partition = producer.create_batch(), (partition + 1) % PARTITIONS
            batch.append(key=None, value=value, timestamp=None)
    await producer.send_batch(batch, house.topics.votes, partition=partition)
    await producer.stop()


async def line_up(house: House, processes: int) -> None:
    """Hold the arena until each service has its partitions: how a group settles is no part of what is measured."""
    holding = await asyncpg.connect(house.postgres_url)
    async with holding.transaction():
        await holding.execute("SELECT FROM agon.arenas FOR UPDATE")
        watching = await asyncpg.connect(house.postgres_url)
        deadline = time.monotonic() + 60
        while await watching.fetchval(_HOLDERS) < min(processes, PARTITIONS):
            if time.monotonic() > deadline:
                raise SystemExit("the services have not shared the partitions within a minute")
            await asyncio.sleep(0.1)
        await watching.close()
    await holding.close()


async def take_in(house: House, votes: int, processes: int, db: Any) -> dict[str, Any]:
    """Start the service, so many times, and watch it until everything is through."""
    memory: list[int] = []
    began = 0.0
    with contextlib.ExitStack() as stack:
        services = [stack.enter_context(house.service("vote_ingest")) for _ in range(processes)]
        pids = {**house.server_pids, **{f"vote_ingest-{n + 1}": each.pid for n, each in enumerate(services)}}
        await line_up(house, processes)
        process, before, stored_at = psutil.Process(services[0].pid), {}, 0.0
        while True:
            stored = await db.fetchval("SELECT vote_seq FROM agon.arenas WHERE arena = 'main'")
            relayed = await db.fetchval("SELECT max(published) FROM agon.vote_relays") or 0
            if stored and not began:
                began, first = time.monotonic(), stored
                before = {name: processor_seconds(pid) for name, pid in pids.items()}
            if stored == votes and not stored_at:
                stored_at = time.monotonic()
            if any(service.poll() is not None for service in services):
                raise SystemExit("the vote ingest has ended")
            if relayed == votes:
                break
            if began:
                memory.append(process.memory_info().rss)
            await asyncio.sleep(0.1)
        ended = time.monotonic()
        spent = {name: processor_seconds(pid) - before[name] for name, pid in pids.items()}
    wall = ended - began
    tenth = max(1, len(memory) // 10)
    return {
        "votes": votes,
        "votes_per_second": round((votes - first) / wall),
        "votes_per_second_into_postgres": round((votes - first) / (stored_at - began)),
        "seconds": round(wall, 2),
        "processor_us_per_vote": {name: round(s / (votes - first) * 1e6, 1) for name, s in spent.items()},
        "service_memory_mb": {
            "after_a_tenth": round(memory[tenth] / 1e6, 1),
            "largest": round(max(memory) / 1e6, 1),
        },
    }


async def check(house: House, votes: int, db: Any) -> None:
    """Each vote once, everywhere. Raises `SystemExit` where not."""
    row = await db.fetchrow(
        "SELECT count(*) AS n, count(DISTINCT vote_id) AS ids, min(seq), max(seq), "
        "(SELECT count(*) FROM agon.ledger_leaves) AS leaves FROM agon.votes WHERE verdict = 'counted'"
    )
    if tuple(row) != (votes, votes, 1, votes, votes):
        raise SystemExit(f"not exactly once: {dict(row)}")
    consumer = AIOKafkaConsumer(bootstrap_servers=house.kafka_url, enable_auto_commit=False)
    await consumer.start()
    topic = house.topics.accepted_votes
    partitions = [TopicPartition(topic, n) for n in range(PARTITIONS)]
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    ends = await consumer.end_offsets(partitions)
    seen = 0
    while any([await consumer.position(where) < ends[where] for where in partitions]):
        for records in (await consumer.getmany(timeout_ms=500, max_records=50_000)).values():
            for record in records:
                seen += 1
                if json.loads(record.value)["seq"] != seen:
                    raise SystemExit(f"record {seen} of {topic} is {record.value!r}")
    await consumer.stop()
    if seen != votes:
        raise SystemExit(f"{seen} votes were relayed, {votes} are there")


async def measure(votes: int, models: int, processes: int) -> dict[str, Any]:
    async with house() as started:
        db = await asyncpg.connect(started.postgres_url)
        await db.execute("""UPDATE agon.arenas SET policy = '{"imports": true}'""")
        await send(started, votes, models)
        figures = await take_in(started, votes, processes, db)
        print(figures["processor_us_per_vote"], flush=True)
        await check(started, votes, db)
        await db.close()
    return {"models": models, "processes": processes, **figures}


def main() -> None:
    parser = argparse.ArgumentParser(description="Votes per second from Kafka into Postgres and out again.")
    parser.add_argument("--votes", type=int, default=400_000)
    parser.add_argument("--models", type=int, default=130)
    parser.add_argument("--processes", type=int, default=2, help="vote ingests that share the topic")
    options = parser.parse_args()
    figures = asyncio.run(measure(options.votes, options.models, options.processes))
    print(machine())
    print(json.dumps(figures, indent=2))
    save("vote_ingest", figures)


if __name__ == "__main__":
    main()
