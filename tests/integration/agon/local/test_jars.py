"""The cache of the broker's jars: whole without a network, healed where it is damaged, never half."""

import shutil
from pathlib import Path

import pytest

from agon.errors import SetupError
from agon.local import jars
from agon.local.caches import user_cache


@pytest.fixture(scope="module")
def cached() -> list[Path]:
    """The user's own cache, filled."""
    return jars.class_path()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Proxies that nobody answers at, and an empty Maven cache at the path that is returned."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    return tmp_path / "m2"


@pytest.fixture
def copy(cached: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A filled cache of this test only."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = user_cache() / cached[0].parent.name
    shutil.copytree(cached[0].parent, folder)
    return folder


def in_maven_cache(place: Path, jar: jars.Jar, content: Path) -> None:
    folder = place.joinpath(*jar.group.split("."), jar.artifact, jar.version)
    folder.mkdir(parents=True)
    shutil.copy(content, folder / jar.file_name)


def test_a_whole_cache_needs_no_network(cached: list[Path], no_network: Path) -> None:
    said: list[str] = []
    assert jars.class_path(said.append) == cached
    assert said == []


def test_an_empty_cache_without_a_network_is_one_line(
    no_network: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    with pytest.raises(SetupError, match=r"could not be fetched from Maven Central.*check the network"):
        jars.class_path(lambda _: None)
    assert not list((tmp_path / "empty").rglob("*.jar")), "nothing half is left"


def test_what_an_interruption_left_out_is_fetched_and_nothing_else(copy: Path, no_network: Path) -> None:
    missing, damaged = jars.pinned()[0], jars.pinned()[1]
    in_maven_cache(no_network, missing, copy / missing.file_name)
    in_maven_cache(no_network, damaged, copy / damaged.file_name)
    (copy / missing.file_name).unlink()
    (copy / damaged.file_name).write_bytes(b"half")
    said: list[str] = []
    whole = jars.class_path(said.append)
    assert "2 jars" in said[0]
    assert [file.stat().st_size for file in whole[:2]] == [missing.size, damaged.size]
    assert not list(copy.glob(".partial-*"))


def test_a_jar_that_is_not_the_pinned_one_is_refused(copy: Path, no_network: Path) -> None:
    wanted, other = jars.pinned()[0], jars.pinned()[1]
    in_maven_cache(no_network, wanted, copy / other.file_name)
    (copy / wanted.file_name).unlink()
    with pytest.raises(SetupError, match=wanted.artifact):
        jars.class_path(lambda _: None)
    assert not (copy / wanted.file_name).exists()


def test_a_cache_that_cannot_be_written_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(SetupError, match="could not be kept in"):
        jars.class_path(lambda _: None)
