"""`agon models`: what exists, what is served, by which workers, with what capacity."""

import json
from typing import Any

import click

from agon.cli.server import get
from agon.cli.stack import find_internal_url


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
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        _table(rows)


def _table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("model", "state", "backend", "parameters", "context", "workers", "running", "waiting", "capacity"):
        table.add_column(name, justify="left" if name in ("model", "state", "backend", "workers") else "right")
    for row in rows:
        workers = row["workers"]
        state = row["state"] if row["state"] != "active" else "served" if row["served"] else "not served"
        parameters = "" if row["parameters"] is None else f"{row['parameters']:,}"
        load = [str(sum(worker[name] for worker in workers)) for name in ("running", "waiting", "capacity")]
        names = ", ".join(worker["worker"] for worker in workers)
        table.add_row(row["model"], state, row["backend"], parameters, f"{row['context_length']:,}", names, *load)
    Console().print(table)
