import fcntl
import json
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agon.errors import SetupError
from agon.local.data import DataFolder
from agon.local.state import BackendState, ServiceState, StackState, birth, end_leftovers, read, running


@pytest.fixture
def data(tmp_path: Path) -> Iterator[DataFolder]:
    made = DataFolder(tmp_path / "data")
    made.take()
    yield made
    made.release()


def test_a_second_taker_is_told_who_holds_it(data: DataFolder) -> None:
    with pytest.raises(SetupError, match=f"already runs .*process {os.getpid()}"):
        DataFolder(data.path).take()
    data.release()
    data.take()


def test_who_only_looks_whether_it_is_held_keeps_nobody_from_taking_it(data: DataFolder) -> None:
    data.release()
    looking = (data.path / "lock").open()
    fcntl.flock(looking, fcntl.LOCK_SH)
    looked = threading.Timer(0.1, looking.close)
    looked.start()
    data.take()
    looked.join()


def test_it_is_private_and_stays_out_of_git(data: DataFolder) -> None:
    data.secrets()
    assert stat.S_IMODE(data.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((data.path / "secrets.json").stat().st_mode) == 0o600
    assert (data.path / ".gitignore").read_text() == "*\n"


def test_secrets_are_made_once(data: DataFolder) -> None:
    first = data.secrets()
    assert data.secrets() == first
    assert len({first.postgres, first.redis, first.analyst, first.session, first.keys}) == 5


def test_a_folder_of_an_older_agon_gets_the_secrets_that_it_lacks(data: DataFolder) -> None:
    first = data.secrets()
    place = data.path / "secrets.json"
    kept = json.loads(place.read_text())
    del kept["keys"]
    place.write_text(json.dumps(kept))
    second = data.secrets()
    assert (second.postgres, second.session) == (first.postgres, first.session)
    assert second.keys
    assert data.secrets() == second


def test_damaged_secrets_are_one_line(data: DataFolder) -> None:
    (data.path / "secrets.json").write_text("{")
    with pytest.raises(SetupError, match="damaged"):
        data.secrets()


def test_a_file_in_its_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="no folder"):
        DataFolder(tmp_path / "file").take()


@pytest.mark.parametrize(("name", "mode"), [(".gitignore", 0o755), (".git", 0o755), ("somebody's", 0o1777)])
def test_a_folder_for_other_things_is_left_as_it_is(tmp_path: Path, name: str, mode: int) -> None:
    (tmp_path / name).write_text("build/\n")
    tmp_path.chmod(mode)
    with pytest.raises(SetupError, match="is for other things too"):
        DataFolder(tmp_path).take()
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [(name, "build/\n")]
    assert stat.S_IMODE(tmp_path.stat().st_mode) == mode


def test_a_home_is_no_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "letter").write_text("")
    with pytest.raises(SetupError, match="is for other things too"):
        DataFolder(tmp_path).take()


def test_a_folder_made_for_it_may_hold_a_log_already(tmp_path: Path) -> None:
    (tmp_path / "up.log").write_text("")
    data = DataFolder(tmp_path)
    data.take()
    data.release()
    data.take()
    data.release()


def test_a_start_that_ended_early_has_left_a_folder_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = DataFolder(tmp_path / "data")
    with monkeypatch.context() as full:
        full.setattr("agon.local.data._LEAST_FREE", 1 << 60)
        with pytest.raises(SetupError, match="no space left"):
            data.take()
    data.release()
    data.take()
    data.release()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_user_s_folder_is_one_line(data: DataFolder) -> None:
    data.release()
    os.chown(data.path, 65534, 65534)
    with pytest.raises(SetupError, match="belongs to"):
        DataFolder(data.path).take()


def test_a_disk_without_room_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agon.local.data._LEAST_FREE", 1 << 60)
    with pytest.raises(SetupError, match="no space left"):
        DataFolder(tmp_path / "data").take()


def test_a_long_log_keeps_its_last_part_beside_it(data: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agon.local.data._LOG_LIMIT", 100)
    with data.log("a").open("ab") as writer:
        writer.write(b"x" * 150 + b"y" * 50)
        writer.flush()
        data.trim_logs()
        writer.write(b"z")
    assert data.log("a").read_bytes() == b"z"
    assert (data.logs / "a.log.1").read_bytes() == b"y" * 50


def test_status_is_what_was_written_while_somebody_holds_the_folder(data: DataFolder) -> None:
    state = StackState(http="http://127.0.0.1:1", services=[ServiceState("inference-1", 7, "running")])
    state.backends["kafka"] = BackendState("127.0.0.1:2", "embedded", ServiceState("kafka", 8, "running"))
    state.backends["redis"] = BackendState("redis://r", "external")
    state.write(data)
    assert running(data) == state
    report = json.loads(json.dumps(state.report()))
    assert report["http"] == "http://127.0.0.1:1"
    assert report["kafka"] == {"url": "127.0.0.1:2", "kind": "embedded", "pid": 8, "state": "running"}
    assert report["redis"] == {"url": "redis://r", "kind": "external"}
    assert report["services"] == [{"name": "inference-1", "pid": 7, "state": "running", "restarts": 0}]
    data.release()
    assert running(data) is None
    assert read(data) == state


def test_a_process_that_is_gone_is_not_told_as_running(data: DataFolder) -> None:
    """As where a full disk has kept its end from being written."""
    alive = ServiceState("ingress", os.getpid(), "running", born=birth(os.getpid()))
    gone = ServiceState("kafka", os.getpid(), "running", born=1.0)  # the number is another process' by now
    state = StackState(services=[alive])
    state.backends["kafka"] = BackendState("127.0.0.1:2", "embedded", gone)
    state.write(data)
    told = running(data)
    assert told is not None
    assert told.services == [alive]
    assert told.backends["kafka"].process == ServiceState("kafka", None, "restarting")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_s_stack_is_not_told_as_nothing(data: DataFolder) -> None:
    os.seteuid(65534)
    try:
        with pytest.raises(SetupError, match="not yours to read"):
            running(data)
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("written", ["{", "[]", "{}", '{"backends": {}, "services": [], "of_a_later_version": 1}'])
def test_a_state_that_can_t_be_read_is_none(data: DataFolder, written: str) -> None:
    (data.path / "state.json").write_text(written)
    assert running(data) is None
    assert end_leftovers(data) == []


def test_a_folder_that_nobody_ever_used_has_no_status(tmp_path: Path) -> None:
    assert running(DataFolder(tmp_path / "none")) is None
