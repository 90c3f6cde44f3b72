"""Where commands find the stack that they work on."""

from pathlib import Path

import pytest

from agon.cli.stack import BackendName, find_backend_url
from agon.errors import SetupError
from agon.local.data import DataFolder
from agon.local.state import BackendState, StackState


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("POSTGRES", "KAFKA", "REDIS"):
        monkeypatch.delenv(f"AGON_{name}_URL", raising=False)
    return str(tmp_path / "data")


@pytest.mark.parametrize("name", ["postgres", "kafka", "redis"])
def test_where_nothing_runs_it_is_said_what_to_do(data: str, name: BackendName) -> None:
    with pytest.raises(SetupError, match=rf"start it with `agon up`, or set AGON_{name.upper()}_URL"):
        find_backend_url(name, data)


def test_a_running_stack_is_found_by_its_folder_and_the_environment_goes_before_it(
    data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = DataFolder(Path(data))
    folder.take()
    try:
        state = StackState()
        state.backends["postgres"] = BackendState("postgresql://here/agon", "embedded")
        state.write(folder)
        assert find_backend_url("postgres", data) == "postgresql://here/agon"
        monkeypatch.setenv("AGON_POSTGRES_URL", "postgresql://there/agon")
        assert find_backend_url("postgres", data) == "postgresql://there/agon"
    finally:
        folder.release()
