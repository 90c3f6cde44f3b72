"""Where things live that every stack of a user shares and that can be made again."""

import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path


def user_cache() -> Path:
    """`$XDG_CACHE_HOME/agon`, else `~/.cache/agon`. Not made here."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "agon"


def shared_copy(source: Path, parts: Sequence[str], name: str) -> Path:
    """A copy of some folders below `source` that every user of this machine can enter; only root can make it.

    It is complete or not there: it is written beside its place and then moved in one step. Raises `OSError`.
    """
    place = Path("/var/cache/agon") / name
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    place.parent.chmod(0o755)
    partial = place.with_name(f"{name}.partial-{uuid.uuid4().hex[:8]}")
    try:
        for part in parts:
            if (source / part).is_dir():
                shutil.copytree(source / part, partial / part, symlinks=True)
        for folder in (partial, *(p for p in partial.rglob("*") if p.is_dir() and not p.is_symlink())):
            folder.chmod(0o755)
        try:
            partial.rename(place)
        except OSError:
            if not place.is_dir():  # else another process was first, with the same content
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return place
