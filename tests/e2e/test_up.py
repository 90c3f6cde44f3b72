"""`agon up` as a person meets it: on a clean folder, a second time, after hard kills, and where something is wrong."""

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from openai import OpenAI

from support.stack import AGON, Up, agon, environment, up
from support.waiting import PATIENCE

pytestmark = [pytest.mark.servers, pytest.mark.stack, pytest.mark.timeout(300)]

SCRIPT = "demo=scripted:text=Hello there"


def chat(url: str) -> str:
    with OpenAI(base_url=f"{url}/v1", api_key="none", timeout=PATIENCE) as client:
        answer = client.chat.completions.create(model="demo", messages=[{"role": "user", "content": "Hi"}])
    return answer.choices[0].message.content or ""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("up") / "data"


@pytest.fixture(scope="module")
def stack(data: Path) -> Iterator[Up]:
    """One stack for the tests that only look at it, or restart a part."""
    with up(data, "--port", "0", "--workers", "2", "--model", SCRIPT) as started:
        yield started


def test_a_chat_is_answered_as_soon_as_it_is_ready(stack: Up) -> None:
    assert chat(stack.url) == "Hello there"


def test_status_names_every_part(stack: Up) -> None:
    deadline = time.monotonic() + PATIENCE
    while any(service["state"] != "running" for service in stack.status()["services"]):
        assert time.monotonic() < deadline, stack.status()
        time.sleep(0.1)
    told = stack.status()
    assert told["http"] == stack.url
    assert told["kafka"]["kind"] == "embedded"
    assert told["redis"]["url"].startswith("redis://:")
    assert told["postgres"]["url"].startswith("postgresql://agon:")
    names = [service["name"] for service in told["services"]]
    assert names == ["inference-1", "inference-2", "ingress", "recorder", "vote_ingest", "rating_compute"]
    assert all(psutil.pid_exists(service["pid"]) for service in told["services"])


def test_every_server_listens_on_loopback_only(stack: Up) -> None:
    for process in stack.family:
        with contextlib.suppress(psutil.NoSuchProcess):  # such as one that served a connection to Postgres
            for connection in process.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    assert connection.laddr.ip in ("127.0.0.1", "::1", "::ffff:127.0.0.1"), process.cmdline()


def test_a_second_one_on_the_same_folder_says_so(stack: Up) -> None:
    second = agon("up", "--data", str(stack.data))
    assert second.returncode == 2
    assert second.stderr.count("\n") == 1
    assert f"already runs on {stack.data} (process {stack.process.pid})" in second.stderr


def test_other_commands_find_it_by_its_folder(stack: Up) -> None:
    listed = agon("models", "--data", str(stack.data))
    assert listed.returncode == 0, listed.stderr
    assert "demo" in listed.stdout


def test_the_analyst_reads_the_views_and_nothing_else(stack: Up) -> None:
    import asyncio

    import asyncpg

    async def look() -> None:
        connection = await asyncpg.connect(stack.status()["postgres"]["analyst_url"])
        try:
            await connection.fetch("SELECT * FROM analytics.leaderboard_current")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch("SELECT * FROM agon.consumer_offsets")
        finally:
            await connection.close()

    asyncio.run(look())


@pytest.mark.kill
def test_a_killed_service_is_started_again_and_status_shows_it(stack: Up) -> None:
    before = stack.service("recorder")
    psutil.Process(before["pid"]).kill()
    deadline = time.monotonic() + PATIENCE
    while (now := stack.service("recorder"))["state"] != "running" or now["pid"] == before["pid"]:
        assert now["state"] in ("running", "restarting", "starting")
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert now["restarts"] == before["restarts"] + 1
    assert "was killed by signal 9; starting it again" in stack.said()


@pytest.mark.kill
def test_a_killed_supervisor_takes_everything_with_it_and_the_next_start_goes_on(stack: Up) -> None:
    """Last on the shared stack, because it ends it."""
    stack.family = [stack.family[0], *stack.family[0].children(recursive=True)]
    stack.process.kill()
    stack.process.wait()
    assert stack.left() == []
    assert agon("status", "--data", str(stack.data)).returncode == 1
    with up(stack.data, "--port", "0", "--workers", "1", "--model", SCRIPT) as again:
        assert chat(again.url) == "Hello there"
        again.process.send_signal(signal.SIGINT)
        assert again.process.wait(PATIENCE) == 0, again.said()
        assert again.left() == []
        assert again.said().rstrip().splitlines()[-1].endswith(f"stays in {stack.data}")
    assert agon("status", "--data", str(stack.data)).returncode == 1


@pytest.mark.kill
def test_stopped_while_it_starts_it_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with out.open("wb") as file:
        process = subprocess.Popen(
            [*AGON, "up", "--data", str(tmp_path / "data"), "--port", "0", "--model", SCRIPT],
            env=environment(),
            stdout=file,
            stderr=file,
        )
    deadline = time.monotonic() + PATIENCE
    while "redis" not in out.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0, out.read_text()
    _, left = psutil.wait_procs(family, PATIENCE)
    assert [process for process in left if process.status() != psutil.STATUS_ZOMBIE] == []


def one_line(told: "subprocess.CompletedProcess[str]") -> str:
    assert told.returncode == 2, told.stdout + told.stderr
    assert "Traceback" not in told.stderr
    assert told.stderr.count("\n") == 1, told.stderr
    return told.stderr


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert f"port {port} is taken" in one_line(agon("up", "--data", str(tmp_path / "d"), "--port", port))


def test_a_host_for_everybody_is_one_line(tmp_path: Path) -> None:
    assert "--insecure" in one_line(agon("up", "--data", str(tmp_path / "d"), "--host", "0.0.0.0"))


def test_a_kafka_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    told = agon("up", "--data", str(tmp_path / "d"), "--port", "0", AGON_KAFKA_URL="127.0.0.1:9")
    assert "AGON_KAFKA_URL" in one_line(told)


def test_a_model_that_is_not_there_ends_the_stack_with_the_reason(tmp_path: Path) -> None:
    model = f"ghost={tmp_path / 'no-such-folder'}"
    told = agon("up", "--data", str(tmp_path / "d"), "--port", "0", "--workers", "1", "--model", model)
    assert "ghost" in one_line(told)


@pytest.mark.parametrize("command", [("topics", "apply"), ("db", "migrate")])
def test_commands_without_their_server_are_one_line(command: tuple[str, str]) -> None:
    urls = {"AGON_KAFKA_URL": "127.0.0.1:9", "AGON_POSTGRES_URL": "postgresql://agon@127.0.0.1:9/agon"}
    assert "AGON_" in one_line(agon(*command, **urls))


def test_set_up_commands_are_safe_to_repeat(
    kafka_url: str, topic_prefix: str, empty_database_url: str, tmp_path: Path
) -> None:
    for last_line in ("", "were right already"):
        told = agon("topics", "apply", AGON_KAFKA_URL=kafka_url, AGON_TOPIC_PREFIX=topic_prefix)
        assert told.returncode == 0, told.stderr
        assert last_line in told.stdout
    assert "created" not in told.stdout
    assert "applied" in agon("db", "migrate", AGON_POSTGRES_URL=empty_database_url).stdout
    assert agon("db", "migrate", AGON_POSTGRES_URL=empty_database_url).stdout == "nothing to do\n"
