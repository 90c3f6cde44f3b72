"""`agon models`: what exists, what is served, by which workers, with what capacity."""

import json
from collections.abc import Iterator
from typing import Any

import click

from agon.cli.server import get
from agon.cli.stack import find_internal_url

COLUMNS = ("MODEL", "STATE", "BACKEND", "PARAMETERS", "CONTEXT", "RUNNING", "WAITING", "CAPACITY", "WORKERS")
NUMBERS = frozenset(COLUMNS[3:8])


@click.command()
@click.option("--url", help="The internal address of the ingress; found by itself for a stack that runs here.")
@click.option("--data", default=".agon", show_default=True, help="The data folder of the stack, to find its address.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def models(url: str | None, data: str, as_json: bool) -> None:
    """List the registered models: served or not, by which workers, how busy, how much they take.

    \b
    Example:
      agon models
      agon models --json
    """
    rows = get(find_internal_url(url, data), "/admin/models")["models"]
    click.echo(json.dumps(rows, indent=2) if as_json else "\n".join(_table(rows)))


def _table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Columns as wide as they need to be: a table that is piped must not be cut or wrapped."""
    cells = [COLUMNS, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        told = (
            cell.rjust(width) if name in NUMBERS else cell.ljust(width)
            for cell, width, name in zip(row, widths, COLUMNS, strict=True)
        )
        yield "  ".join(told).rstrip()


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    workers = row["workers"]
    state = row["state"] if row["state"] != "active" else "served" if row["served"] else "not served"
    parameters = "" if row["parameters"] is None else f"{row['parameters']:,}"
    load = (str(sum(worker[name] for worker in workers)) for name in ("running", "waiting", "capacity"))
    names = ",".join(worker["worker"] for worker in workers)
    return row["model"], state, row["backend"], parameters, f"{row['context_length']:,}", *load, names
