"""The servers of a test run, and names of its own for each test: isolation by name, not by restarting."""

import os
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis
from hypothesis.internal.conjecture import providers

from support import databases
from support.servers import TestServers

# The same examples in every run, so that a red run says something about the change; with AGON_FUZZ set, new ones.
# No word about time: a machine that is busy elsewhere is no fault.
hypothesis.register_profile(
    "agon",
    deadline=None,
    derandomize="AGON_FUZZ" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
hypothesis.load_profile("agon")
if "AGON_FUZZ" not in os.environ:
    # It draws from the constants of the modules that happen to be imported, which depends on the tests before.
    providers._get_local_constants = lambda: providers._local_constants


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServers]:
    """The servers of this run; each starts when something first asks for it."""
    made = TestServers(tmp_path_factory.mktemp("servers"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def kafka_url(servers: TestServers) -> str:
    """Bootstrap address of a real Kafka, shared by the run: use `topic_prefix`."""
    return servers.kafka_url


@pytest.fixture(scope="session")
def redis_url(servers: TestServers) -> str:
    """URL of a real Redis, shared by the run: use `key_prefix`."""
    return servers.redis_url


@pytest.fixture(scope="session")
def postgres_url(servers: TestServers) -> str:
    """URL of a real Postgres as its superuser, shared by the run: use `database_url`."""
    return servers.postgres_url


@pytest.fixture
def topic_prefix(servers: TestServers) -> Iterator[str]:
    """For `Topics(prefix)`: topics and groups of this test only."""
    prefix = f"t{uuid.uuid4().hex[:10]}."
    yield prefix
    servers.forget_topics(prefix)


@pytest.fixture
def key_prefix() -> str:
    """For `Keys(prefix)`: Redis keys and channels of this test only."""
    return f"t{uuid.uuid4().hex[:10]}:"


@pytest.fixture(scope="session")
def migrated_template(servers: TestServers, postgres_url: str) -> Iterator[str]:
    """Name of a database with every migration applied, that `database_url` copies."""
    name = servers.run(databases.create_migrated(postgres_url))
    yield name
    servers.run(databases.drop(postgres_url, name))


@pytest.fixture
def database_url(servers: TestServers, postgres_url: str, migrated_template: str) -> Iterator[str]:
    """URL of a fresh database of this test only, migrated, as its superuser."""
    url = servers.run(databases.create(postgres_url, migrated_template))
    yield url
    servers.run(databases.drop(postgres_url, urlsplit(url).path.removeprefix("/")))


@pytest.fixture
def empty_database_url(servers: TestServers, postgres_url: str) -> Iterator[str]:
    """URL of a fresh database of this test only with nothing in it."""
    url = servers.run(databases.create(postgres_url))
    yield url
    servers.run(databases.drop(postgres_url, urlsplit(url).path.removeprefix("/")))
