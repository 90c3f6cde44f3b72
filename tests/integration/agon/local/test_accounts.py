import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agon.local.accounts import may_enter
from agon.local.children import Account

STRANGER = Account("stranger", 54321, 54321)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody can reach, unlike `tmp_path`."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize(("mode", "allowed"), [(0o700, False), (0o750, False), (0o711, True), (0o755, True)])
def test_one_closed_folder_on_the_way_is_enough(open_folder: Path, mode: int, allowed: bool) -> None:
    inner = open_folder / "outer" / "inner"
    inner.mkdir(parents=True)
    (open_folder / "outer").chmod(mode)
    assert may_enter(inner, STRANGER) is allowed


def test_the_owner_s_own_bit_counts_for_the_owner(open_folder: Path) -> None:
    open_folder.chmod(0o700)
    owner = Account("owner", open_folder.stat().st_uid, open_folder.stat().st_gid)
    assert may_enter(open_folder, owner)
    assert not may_enter(open_folder, STRANGER)
