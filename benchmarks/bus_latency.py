"""What the house adds to the time to first token: HTTP + Kafka + Redis + SSE, less the same request straight on the
backend.

    python benchmarks/bus_latency.py [--requests 300]

Runs a stack of its own with one worker and the `scripted` backend (no delay), sends requests one at a time and then at
50 per second, and splits the way by the times that each completion carries. All processes share one clock.

| part           | from                               | to                                                         |
|----------------|------------------------------------|------------------------------------------------------------|
| HTTP           | the client sends its request       | the ingress gives the record to its producer               |
| Kafka, claim   | the record's time                  | the worker's admission: produced, consumed, claimed        |
| first token    | admission                          | the first token leaves the backend                         |
| gate and SSE   | the first token leaves the backend | the client reads it                                        |

A record's time is in whole milliseconds, cut off: HTTP seems up to 1 ms shorter, and what follows as much longer, half
of one on average. The sum is not touched by that. What Kafka takes by itself is measured beside it: a record from a
bare producer to a bare consumer, with the same settings, on the same broker.
"""

import argparse
import asyncio
import json
import logging
import statistics
import time
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from agon.backends import BackendSpec, load
from agon.backends.base import Job, SteppedBackend, Tokens
from agon.messages import GenerationRequest
from agon.topics import Topics
from api_client import Call, Connection, connect
from stack import Stack, machine, percentile, running, save

MODEL = "fast"
WARM = 1500  # requests before any counts: the broker's code is compiled as it runs
BARE_TOPIC, PARTITIONS = "bench.bare", 8  # as many as a model's topic has
SOURCE = "scripted:tokens=16"
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 16}


@dataclass(frozen=True)
class Sample:
    """One request: wall clock when it was sent and when its first token was read, and the id it had."""

    request_id: str
    sent_at: float
    first_token_at: float


def straight(requests: int) -> list[float]:
    """Seconds to the first token on the backend itself, in this process."""
    backend = load(BackendSpec.parse(f"{MODEL}={SOURCE}"))
    assert isinstance(backend, SteppedBackend)
    taken = []
    for number in range(requests):
        request = GenerationRequest.model_validate({**BODY, "request_id": f"r{number}", "seed": 1})
        start = time.perf_counter()
        backend.submit(Job(request))
        while not any(isinstance(event, Tokens) for event in backend.step()):
            pass
        taken.append(time.perf_counter() - start)
        backend.cancel(request.key)
        while backend.load().running:
            backend.step()
    return taken


class Clients:
    """Connections that stay open between requests, as clients keep theirs: as many as are needed at once."""

    def __init__(self, stack: Stack) -> None:
        self._address = stack.address
        self._request = Call("/v1/chat/completions", {**BODY, "stream": True}).encode(self._address[0])
        self._idle: list[Connection] = []

    async def one(self) -> Sample:
        """Send one chat and wait for its end."""
        connection = self._idle.pop() if self._idle else (await connect(self._address, 1))[0]
        sent_at = time.time()
        took = await connection.ask(self._request, b'"content":"word')
        self._idle.append(connection)
        chunk = next(line for line in connection.answer.split(b"\n") if line.startswith(b"data: {"))
        return Sample(json.loads(chunk[6:])["id"], sent_at, sent_at + took)

    def close(self) -> None:
        for connection in self._idle:
            connection.close()


async def one_at_a_time(clients: Clients, requests: int) -> list[Sample]:
    return [await clients.one() for _ in range(requests)]


async def at_a_rate(clients: Clients, requests: int, per_second: float) -> list[Sample]:
    """Open loop: a request leaves each `1 / per_second`, whatever became of the others."""
    start = asyncio.get_running_loop().time()
    running_now = []
    for number in range(requests):
        await asyncio.sleep(max(0.0, start + number / per_second - asyncio.get_running_loop().time()))
        running_now.append(asyncio.create_task(clients.one()))
    return list(await asyncio.gather(*running_now))


async def completions(kafka_url: str, wanted: set[str]) -> dict[str, dict[str, float]]:
    """The times that the completions of these requests carry, as epoch seconds."""
    found: dict[str, dict[str, float]] = {}
    consumer = AIOKafkaConsumer(Topics().completions, bootstrap_servers=kafka_url, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(60):
            async for record in consumer:
                completion: dict[str, Any] = json.loads(record.value)
                request_id = completion["request_id"]
                for sent in (request_id, f"chatcmpl-{request_id}"):
                    if sent in wanted:
                        times = completion["timings"].items()
                        found[sent] = {name: datetime.fromisoformat(at).timestamp() for name, at in times}
                if len(found) == len(wanted):
                    return found
    finally:
        await consumer.stop()
    return found


async def bare_kafka(kafka_url: str, records: int) -> dict[str, list[float]]:
    """Seconds until a record is acknowledged, and until it is consumed, with nothing of agon around it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_url)
    await admin.start()
    await admin.create_topics([NewTopic(BARE_TOPIC, num_partitions=PARTITIONS, replication_factor=1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=kafka_url, enable_idempotence=True, linger_ms=0)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka_url, fetch_max_wait_ms=250)
    consumer.assign([TopicPartition(BARE_TOPIC, number) for number in range(PARTITIONS)])
    seconds: dict[str, list[float]] = {"acknowledged": [], "consumed": []}
    async with producer, consumer:
        await consumer.seek_to_end()
        for number in range(WARM + records):
            sent_at = time.perf_counter()
            arriving = asyncio.create_task(consumer.getone())
            await producer.send_and_wait(BARE_TOPIC, b"{}")
            acknowledged_at = time.perf_counter()
            await arriving
            if number >= WARM:
                seconds["acknowledged"].append(acknowledged_at - sent_at)
                seconds["consumed"].append(time.perf_counter() - sent_at)
    return seconds


def table(title: str, samples: list[Sample], times: dict[str, dict[str, float]], base: float) -> dict[str, Any]:
    """Print what was added, as a whole and by part, in milliseconds; return it."""
    rows: dict[str, list[float]] = {"added in all": [s.first_token_at - s.sent_at - base for s in samples]}
    for sample in samples:
        at = times[sample.request_id]
        points = [sample.sent_at, at["accepted_at"], at["admitted_at"], at["first_token_at"], sample.first_token_at]
        names = ("HTTP", "Kafka, claim", "first token", "gate and SSE")
        for name, (start, end) in zip(names, pairwise(points), strict=True):
            rows.setdefault(name, []).append(end - start)
    return show(f"{title}, {len(samples)} requests", rows)


def show(title: str, rows: dict[str, list[float]]) -> dict[str, Any]:
    """Print percentiles of seconds as milliseconds; return them."""
    print(f"\n{title}\n{'milliseconds':20}{'p50':>8}{'p95':>8}{'p99':>8}")
    figures = {}
    for name, values in rows.items():
        marks = {f"p{int(share * 100)}": percentile(values, share) * 1000 for share in (0.5, 0.95, 0.99)}
        print(f"{name:20}" + "".join(f"{mark:8.2f}" for mark in marks.values()))
        figures[name] = {mark: round(value, 3) for mark, value in marks.items()}
    return figures


async def measure(stack: Stack, requests: int) -> dict[str, Any]:
    clients = Clients(stack)
    await one_at_a_time(clients, WARM)
    base = statistics.median(straight(requests))
    alone = await one_at_a_time(clients, requests)
    steady = await at_a_rate(clients, requests, 50)
    clients.close()
    kafka_url = stack.status()["kafka"]["url"]
    times = await completions(kafka_url, {s.request_id for s in alone + steady})
    kafka = await bare_kafka(kafka_url, requests)
    print(f"{machine()}\nstraight on the backend: {base * 1e6:.0f} microseconds to the first token")
    return {
        "straight_us": round(base * 1e6, 1),
        "one at a time": table("one at a time", alone, times, base),
        "50 per second": table("50 per second", steady, times, base),
        "Kafka alone": show(f"Kafka alone, {requests} records one at a time", kafka),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Time to first token that the house adds.")
    parser.add_argument("--requests", type=int, default=300, help="requests per part (default 300)")
    requests = parser.parse_args().requests
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it complains of a new topic that has no leader yet
    with running(f"{MODEL}={SOURCE}") as stack:
        save("bus_latency", uvloop.run(measure(stack, requests)))


if __name__ == "__main__":
    main()
