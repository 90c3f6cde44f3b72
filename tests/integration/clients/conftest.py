"""One ingress, recorder and worker for the tests of all clients: scripted models, a nano model, embeddings."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from openai import OpenAI

from agon import nano
from agon.bus import topic_admin
from agon.local.ports import free_port
from support import databases
from support.forked import Forked
from support.servers import TestServers
from support.workers import UNDISTURBED, WorkerProcess, new_place

SCRIPT, THINKER, BROKEN, NANO, EXACT, MINILM = "script", "org/thinker", "broken", "nano-6m", "nano-exact", "minilm"
MODELS = (
    f"{SCRIPT}=scripted:steered=true",
    f"{THINKER}=scripted:reasoning=Let me think.,steered=true",
    f"{BROKEN}=scripted:fail_at=2",
    f"{NANO}={nano.models()[NANO]}",
    f"{EXACT}={nano.models()['nano-1m']},dtype=float64",
    f"{MINILM}=embedding:",
)


@dataclass(frozen=True, slots=True)
class Api:
    """A running API."""

    url: str
    """Without `/v1`."""
    environment: dict[str, str]
    """Of its services."""
    folder: Path
    """Where their logs go."""

    @property
    def openai(self) -> OpenAI:
        """The official client, which checks each answer against OpenAI's types."""
        return _client(self.url)

    @contextmanager
    def another_ingress(self) -> Iterator[tuple[OpenAI, Forked]]:
        """A second ingress in front of the same servers, for a test that kills it."""
        port = free_port()
        environment = {**self.environment, "AGON_HTTP_PORT": str(port), "AGON_NAME": "ingress-other"}
        process = Forked("agon_ingress", environment, self.folder / "another.log")
        try:
            _wait(f"http://127.0.0.1:{port}", process)
            yield _client(f"http://127.0.0.1:{port}"), process
        finally:
            process.kill()
            process.wait(60)


def _client(url: str) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key="none", _strict_response_validation=True)


@pytest.fixture(scope="session")
def api(
    servers: TestServers,
    kafka_url: str,
    redis_url: str,
    postgres_url: str,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Api]:
    place = new_place(kafka_url, redis_url, tmp_path_factory.mktemp("api"))
    servers.run(topic_admin.apply(kafka_url, place.topics.prefix))
    database = servers.run(databases.create(postgres_url, migrated_template))
    worker = WorkerProcess(place, "worker-api", MODELS, **UNDISTURBED)
    port = free_port()
    environment = place.environment(
        AGON_HTTP_PORT=str(port),
        AGON_POSTGRES_URL=database,
        AGON_TEST_MODE="true",
        AGON_SESSION_SECRET="of these tests",
        AGON_NAME="ingress-api",
    )
    services = [Forked(f"agon_{name}", environment, place.folder / f"{name}.log") for name in ("ingress", "recorder")]
    try:
        _wait(f"http://127.0.0.1:{port}", worker.process, worker.told)
        yield Api(f"http://127.0.0.1:{port}", environment, place.folder)
    finally:
        for service in services:
            service.kill()
            service.wait(60)
        worker.kill()


def _wait(url: str, process: Forked, told: Callable[[], str] = str) -> None:
    """Until every model is served."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            if len(httpx.get(f"{url}/v1/models", timeout=60).json().get("data", ())) == len(MODELS):
                return
        except httpx.HTTPError:
            pass
        assert process.poll() is None, told()
        time.sleep(0.1)
    raise AssertionError(f"not ready in time: {told()[-2000:]} {os.getloadavg()}")


@pytest.fixture(scope="session")
def lenient(api: Api) -> OpenAI:
    """The same without its check, whose types know no base64 vectors, no prompt's first token without a probability,
    and no completion chunk without a finish reason: OpenAI's own answers would not pass it there."""
    return OpenAI(base_url=f"{api.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="session")
def client(api: Api) -> OpenAI:
    return api.openai
