"""The floors of the house: imports go down, never up, and never sideways between rooms of the second floor."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VOCABULARY = {"api_keys", "dialects", "messages", "topics", "settings", "errors", "tasks", "telemetry"}
CAPABILITIES = {"bus", "stream", "store", "backends", "arena", "ratings", "ledger"}
THIRD = {"local", "training", "nano"}
# What else a room may import of agon, and why.
ALLOWED = {
    "engine": {"errors"},
    "ratings": {"errors"},
    "ledger": {"errors"},
    "backends": VOCABULARY | {"engine"},  # one of them is our engine
    "stream": VOCABULARY | {"engine"},  # frames carry what an engine's events say
}
HEAVY = {"torch", "transformers"}
HEAVY_ROOMS = {"engine", "backends", "training", "nano", "agon_inference"}


def rooms() -> dict[str, list[Path]]:
    """The modules of each room: a part of agon, or a service."""
    found: dict[str, list[Path]] = {}
    for floor in (ROOT / "libs" / "agon", ROOT / "services"):
        for file in sorted(floor.rglob("*.py")):
            found.setdefault(file.relative_to(floor).parts[0].removesuffix(".py"), []).append(file)
    return found


ROOMS = rooms()


@cache
def imported(file: Path) -> set[str]:
    """Full names of all modules that a file imports, anywhere in it; `from agon import x` counts as `agon.x`."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide where they go"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms_of(names: set[str]) -> set[str]:
    """The rooms of agon among imported names, and the services."""
    rooms = {name.split(".")[1] for name in names if name.startswith("agon.")}
    return (rooms - {"__version__"}) | {name.split(".")[0] for name in names if name.startswith("agon_")}


def may_import(room: str) -> set[str] | None:
    """The rooms that a room may import besides itself; None for all that are no service."""
    if room in ALLOWED:
        return ALLOWED[room]
    if room in VOCABULARY | {"__init__"}:
        return VOCABULARY
    if room in CAPABILITIES | {"health"}:
        return VOCABULARY
    if room in THIRD or room.startswith("agon_"):
        return VOCABULARY | CAPABILITIES | {"engine", "health", "nano"}
    return None


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_down(room: str) -> None:
    allowed = may_import(room)
    for file in ROOMS[room]:
        used = rooms_of(imported(file)) - {room}
        if allowed is None:
            assert room == "cli", f"{room} is on no floor: give it one here and in the design"
            assert not {name for name in used if name.startswith("agon_")}, f"{file}: the library imports no services"
        else:
            assert used <= allowed, f"{file.relative_to(ROOT)} may not import {sorted(used - allowed)}"


@pytest.mark.parametrize("room", sorted(ROOMS.keys() - HEAVY_ROOMS))
def test_torch_stays_where_models_run(room: str) -> None:
    heavy = {file for file in ROOMS[room] if {name.split(".")[0] for name in imported(file)} & HEAVY}
    assert heavy == set()


@pytest.mark.parametrize("room", ROOMS)
def test_a_module_fits_in_a_head(room: str) -> None:
    assert {file for file in ROOMS[room] if len(file.read_text(encoding="utf-8").splitlines()) > 400} == set()
    assert not [file for file in ROOMS[room] if file.name == "utils.py"]


@pytest.mark.parametrize("service", sorted(path.name for path in (ROOT / "services").iterdir() if path.is_dir()))
def test_every_service_has_the_same_doors(service: str) -> None:
    names = {path.name for path in (ROOT / "services" / service).iterdir()}
    assert {"__main__.py", "app.py", "settings.py"} <= names
    assert len((ROOT / "services" / service / "app.py").read_text().splitlines()) <= 150, "a composition root"
