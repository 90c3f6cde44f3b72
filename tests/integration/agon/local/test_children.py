"""Children die with their parent, with all that they started, and stop when asked."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from agon.local.accounts import unprivileged
from agon.local.children import Child, last_lines, says
from support.waiting import PATIENCE, eventually

SLEEPER = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)"]

PARENT = """
import asyncio, sys, time
from pathlib import Path
from agon.local.children import Child

async def main():
    code = "import time; time.sleep(600)"
    for n in range(3):
        child = await Child.start([sys.executable, "-c", code], Path(sys.argv[1]) / f"{n}.log")
        print(child.pid, flush=True)
    time.sleep(600)

asyncio.run(main())
"""


def wait_gone(pids: list[int], within: float = PATIENCE) -> list[int]:
    """The processes that are still alive after a while."""
    deadline = time.monotonic() + within
    while alive := [pid for pid in pids if psutil.pid_exists(pid) and not is_zombie(pid)]:
        if time.monotonic() > deadline:
            return alive
        time.sleep(0.02)
    return []


def is_zombie(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def until_says(log: Path, text: str) -> None:
    await eventually(lambda: says(log, text))


@pytest.mark.kill
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start ends what is left")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_child_outlives_a_killed_parent(tmp_path: Path, how: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent, parent.stdout:
        pids = [int(parent.stdout.readline()) for _ in range(3)]
        assert all(psutil.pid_exists(pid) for pid in pids)
        parent.send_signal(how)
        parent.wait(60)
    assert wait_gone(pids) == []


async def test_what_a_child_started_ends_with_it(tmp_path: Path) -> None:
    code = f"import subprocess, time; print(subprocess.Popen({SLEEPER!r}).pid, flush=True); time.sleep(600)"
    log = tmp_path / "log"
    child = await Child.start([sys.executable, "-c", code], log)
    await until_says(log, "here")
    grandchild = int(next(line for line in log.read_text().splitlines() if line.isdigit()))
    await child.stop(signal.SIGTERM)
    assert wait_gone([grandchild]) == []


async def test_a_child_that_ignores_the_request_is_killed_after_its_grace(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    child = await Child.start([sys.executable, "-c", code], tmp_path / "log")
    await until_says(tmp_path / "log", "deaf")
    assert await child.stop(signal.SIGTERM, grace=0.2) == -signal.SIGKILL


async def test_a_stopped_child_has_the_exit_code_it_chose(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); print('up', flush=True); time.sleep(600)"
    )
    child = await Child.start([sys.executable, "-c", code], tmp_path / "log")
    await until_says(tmp_path / "log", "up")
    assert await child.stop() == 7
    assert await child.stop() == 7


async def test_standard_input_folder_and_environment_reach_the_program(tmp_path: Path) -> None:
    code = "import os, sys; print(sys.stdin.read(), os.getcwd(), os.environ['A'], os.environ.get('HOME'))"
    child = await Child.start(
        [sys.executable, "-c", code], tmp_path / "log", stdin=b"hello", cwd=tmp_path, env={"A": "b"}
    )
    assert await child.wait() == 0
    assert last_lines(tmp_path / "log") == f"hello {tmp_path} b None"


async def test_a_program_that_is_not_there_says_so(tmp_path: Path) -> None:
    child = await Child.start(["no-such-program"], tmp_path / "log")
    assert await child.wait() == 1
    assert last_lines(tmp_path / "log") == "no-such-program: No such file or directory"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_root_is_given_up_and_a_closed_working_folder_still_works(tmp_path: Path) -> None:
    account = unprivileged(tmp_path / "none")
    assert account is not None
    closed = tmp_path / "closed"
    (closed / "data").mkdir(parents=True)
    os.chown(closed / "data", account.uid, account.gid)
    closed.chmod(0o700)
    command = ["/bin/sh", "-c", "id -u; id -G; echo content > file; cat /proc/self/cwd/file"]
    child = await Child.start(command, tmp_path / "log", cwd=closed / "data", account=account)
    assert await child.wait() == 0
    assert last_lines(tmp_path / "log", 3) == f"{account.uid} | {account.gid} | content"


def test_the_last_line_that_says_something_is_no_place_in_java_s_code(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        "started\nERROR Exiting\nNo `meta.properties` found\n\tat kafka.Kafka.main(Kafka.scala)\n\t... 3 more\n\n"
    )
    assert last_lines(log) == "No `meta.properties` found"
    assert last_lines(log, 2) == "ERROR Exiting | No `meta.properties` found"
