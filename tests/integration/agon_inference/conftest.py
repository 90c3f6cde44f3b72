"""Workers for these tests: processes that are killed at the end whatever happens, and a client beside them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from agon.bus import topic_admin
from support.workers import Client, Place, StartWorker, WorkerProcess, client_of


@pytest.fixture
async def place(kafka_url: str, redis_url: str, topic_prefix: str, tmp_path: Path) -> Place:
    made = Place(kafka_url, redis_url, topic_prefix.removesuffix("."), tmp_path)
    await topic_admin.apply(kafka_url, made.topics.prefix)
    return made


@pytest.fixture
async def client(place: Place) -> AsyncIterator[Client]:
    async with client_of(place) as made:
        yield made


@pytest.fixture
def start_worker(place: Place) -> Iterator[StartWorker]:
    """`start_worker(name, "MODEL=SOURCE", ..., AGON_X="...")`; `before` as `WorkerProcess` takes it."""
    started: list[WorkerProcess] = []

    def start(name: str, *models: str, **settings: Any) -> WorkerProcess:
        worker = WorkerProcess(place, name, models, **settings)
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.kill()
