"""The stack that runs on this machine, found through its data folder."""

import os
from pathlib import Path
from typing import Literal

import click

from agon.errors import SetupError

BackendName = Literal["postgres", "redis", "kafka"]

of_stack = click.option(
    "--data", default=".agon", show_default=True, help="The data folder of the stack that runs here."
)
"""The option of commands that work on what `find_backend_url` finds."""


def find_url(url: str | None, data: str) -> str:
    """`url` if it was given, else where the stack on the folder `data` answers. Raises `SetupError`."""
    return url or _told(data, "http")


def find_internal_url(url: str | None, data: str) -> str:
    """The same for the internal address of its ingress."""
    return url or _told(data, "internal")


def find_backend_url(name: BackendName, data: str) -> str:
    """AGON_KAFKA_URL, or as the backend is named, else that of the stack on the folder `data`. Raises `SetupError`."""
    from agon.local.data import DataFolder
    from agon.local.state import running

    variable = f"AGON_{name.upper()}_URL"
    if given := os.environ.get(variable):
        return given
    state = running(DataFolder(Path(data)))
    if state is None or name not in state.backends:
        raise SetupError(f"nothing runs on {data}: start it with `agon up`, or set {variable}")
    return state.backends[name].url


def _told(data: str, name: str) -> str:
    from agon.local.data import DataFolder
    from agon.local.state import running

    state = running(DataFolder(Path(data)))
    told = getattr(state, name) if state is not None else None
    if not told:
        raise SetupError(f"nothing runs on {data}: start it with `agon up`, or say where with --url")
    return str(told)
