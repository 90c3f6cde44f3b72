"""`agon status`: what runs here, and where it answers."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from agon.local.state import StackState


@click.command()
@click.option("--data", type=click.Path(path_type=Path), default=".agon", show_default=True, help="The stack's folder.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.option("--env", "as_env", is_flag=True, help="The addresses as shell variables.")
def status(data: Path, as_json: bool, as_env: bool) -> None:
    """Show the stack that runs on --data: addresses, processes, states. Exit code 1 when nothing runs there.

    \b
    Example:
      agon status
      agon status --json
      eval "$(agon status --env)" && psql "$AGON_STACK_ANALYST"
    """
    from agon.local.data import DataFolder
    from agon.local.state import running

    state = running(DataFolder(data))
    if state is None:
        click.echo(f"nothing runs on {data}: `agon up` starts it", err=True)
        sys.exit(1)
    if as_env:
        click.echo(_exports(state))
    else:
        click.echo(json.dumps(state.report(), indent=2) if as_json else _table(state))


def _exports(state: "StackState") -> str:
    """Names that are no settings: a shell that knows where this stack is must not tie the next one to its servers."""
    addresses = {"HTTP": state.http, "ANALYST": state.analyst}
    addresses |= {name.upper(): backend.url for name, backend in state.backends.items()}
    return "\n".join(f"export AGON_STACK_{name}={shlex.quote(url)}" for name, url in addresses.items() if url)


def _table(state: "StackState") -> str:
    """What is short comes first: of the lines only those with a long address are longer than a terminal."""
    rows = [("api", "", "", state.http or "")]
    for name, backend in state.backends.items():
        process = backend.process
        rows.append(
            (name, process.state if process else backend.kind, _pid(process.pid if process else None), backend.url)
        )
    for service in state.services:
        again = f"restarts: {service.restarts}" if service.restarts else ""
        rows.append((service.name, service.state, _pid(service.pid), again))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, (*widths, 0), strict=True)).rstrip() for row in rows
    )


def _pid(pid: int | None) -> str:
    return f"process {pid}" if pid else ""
