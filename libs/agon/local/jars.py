"""The broker's jars: pinned in `kafka-jars.lock` with their checksums, fetched once from Maven Central by `jgo`.

Each jar is checked against the lock before it gets its place in the cache, and again at each start (0.1 s for all): an
interrupted or damaged cache fetches what is missing, and a whole one needs no network. `python -m agon.local.jars`
fetches them ahead of time.
"""

import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agon.errors import SetupError
from agon.local.caches import user_cache

KAFKA_VERSION = "4.4.0"
_LOCK = Path(__file__).with_name("kafka-jars.lock")
_AT_ONCE = 4
_ABANDONED = 3600.0

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Jar:
    """One pinned artifact: Maven coordinates, SHA-256 in hex, bytes."""

    group: str
    artifact: str
    version: str
    sha256: str
    size: int

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


@cache
def pinned() -> tuple[Jar, ...]:
    """The lock: a broker and all that it needs, and a logging binding."""
    jars = []
    for line in _LOCK.read_text(encoding="utf-8").splitlines():
        coordinates, sha256, size = line.split()
        group, artifact, version = coordinates.split(":")
        jars.append(Jar(group, artifact, version, sha256, int(size)))
    return tuple(jars)


def lock_digest() -> str:
    """Changes whenever a pinned jar does."""
    return hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:12]


def class_path(progress: Progress = print) -> list[Path]:
    """Every jar in the user's cache, fetched where it is missing. Blocks; call it off the event loop.

    Raises `SetupError` when one can't be fetched, is not what was pinned, or can't be written.
    """
    folder = user_cache() / f"kafka-{KAFKA_VERSION}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        missing = [jar for jar in pinned() if not _is_right(folder / jar.file_name, jar)]
        if missing:
            _fetch_all(missing, folder, progress)
    except OSError as error:
        raise SetupError(f"Kafka's jars could not be kept in {folder}: {error.strerror or error}") from error
    return [folder / jar.file_name for jar in pinned()]


def _is_right(file: Path, jar: Jar) -> bool:
    try:
        return file.stat().st_size == jar.size and _sha256(file) == jar.sha256
    except FileNotFoundError:
        return False


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _fetch_all(missing: list[Jar], folder: Path, progress: Progress) -> None:
    for left in folder.glob(".partial-*"):  # of a fetch that was killed
        if time.time() - left.stat().st_mtime > _ABANDONED:
            shutil.rmtree(left, ignore_errors=True)
    total = sum(jar.size for jar in missing) / 1e6
    progress(f"fetching Apache Kafka {KAFKA_VERSION} from Maven Central, once: {len(missing)} jars, {total:.0f} MB")
    done = 0.0
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as partial, ThreadPoolExecutor(_AT_ONCE) as pool:
        fetches = {pool.submit(_fetch, jar, Path(partial), folder): jar for jar in missing}
        try:
            for number, fetch in enumerate(as_completed(fetches), start=1):
                fetch.result()
                done += fetches[fetch].size / 1e6
                if number % 5 == 0 or number == len(missing):
                    progress(f"fetched {number} of {len(missing)} jars, {done:.0f} of {total:.0f} MB")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _fetch(jar: Jar, partial: Path, folder: Path) -> None:
    import requests
    from jgo.maven import MavenContext

    own_maven_cache = Path(os.environ.get("M2_REPO") or Path.home() / ".m2" / "repository")
    context = MavenContext(repo_cache=partial, local_repos=[own_maven_cache], timeout=30)
    artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
    try:
        fetched = artifact.resolve()
        if not _is_right(fetched, jar) and partial not in fetched.parents:  # a damaged file in Maven's own cache
            fetched = context.resolver.download(artifact) or fetched
    except (requests.RequestException, RuntimeError) as error:
        raise SetupError(
            f"{jar.file_name} could not be fetched from Maven Central ({_brief(error)}): check the network and run "
            "this again (what is here stays), or set KAFKA_HOME or AGON_KAFKA_URL"
        ) from error
    if not _is_right(fetched, jar):
        raise SetupError(f"{jar.file_name} as fetched is not the file that is pinned: something on the way changed it")
    waiting = partial / jar.file_name
    waiting.write_bytes(fetched.read_bytes())
    waiting.replace(folder / jar.file_name)


def _brief(error: Exception) -> str:
    text = str(error)
    for reason in (
        "NameResolutionError",
        "ProxyError",
        "ConnectTimeout",
        "SSLError",
        "Connection refused",
        "not found",
    ):
        if reason in text or reason in type(error).__name__:
            return reason
    return type(error).__name__


def main() -> None:
    """Fetch what is missing, unless a Kafka that is there already will be used."""
    if os.environ.get("AGON_KAFKA_URL") or os.environ.get("KAFKA_HOME"):
        return
    try:
        class_path()
    except SetupError as error:
        sys.exit(f"agon: {error}")


if __name__ == "__main__":
    main()
