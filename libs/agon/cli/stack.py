"""The stack that runs on this machine, found through its data folder."""

import os
from pathlib import Path

from agon.errors import SetupError


def find_url(url: str | None, data: str) -> str:
    """`url` if it was given, else where the stack on the folder `data` answers. Raises `SetupError`."""
    return url or _told(data, "http")


def find_internal_url(url: str | None, data: str) -> str:
    """The same for the internal address of its ingress."""
    return url or _told(data, "internal")


def find_kafka_url(data: str) -> str:
    """AGON_KAFKA_URL, else the Kafka of the stack on the folder `data`. Raises `SetupError`."""
    from agon.local.data import DataFolder
    from agon.local.state import running

    if given := os.environ.get("AGON_KAFKA_URL"):
        return given
    state = running(DataFolder(Path(data)))
    if state is None or "kafka" not in state.backends:
        raise SetupError(f"nothing runs on {data}: start it with `agon up`, or set AGON_KAFKA_URL")
    return state.backends["kafka"].url


def _told(data: str, name: str) -> str:
    from agon.local.data import DataFolder
    from agon.local.state import running

    state = running(DataFolder(Path(data)))
    told = getattr(state, name) if state is not None else None
    if not told:
        raise SetupError(f"nothing runs on {data}: start it with `agon up`, or say where with --url")
    return str(told)
