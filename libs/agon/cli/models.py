"""`agon models`: what exists, what is served, by which workers, with what capacity."""

import json
import math
from typing import Any

import click

from agon.cli.columns import in_columns
from agon.cli.database import with_pool
from agon.cli.server import get
from agon.cli.stack import find_internal_url, of_stack

COLUMNS = ("MODEL", "STATE", "BACKEND", "PARAMETERS", "CONTEXT", "RUNNING", "WAITING", "CAPACITY", "WORKERS")
NUMBERS = frozenset(COLUMNS[3:8])


class Price(click.ParamType[float | None]):
    """A number of at least 0, or `none`."""

    name = "price"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        if value == "none":
            return None
        try:
            found = float(value)
        except ValueError:
            found = math.nan
        if not 0 <= found < math.inf:
            self.fail(f"{value!r} is no price: a number of at least 0, or none", param, ctx)
        return found


@click.group(invoke_without_command=True)
@click.option("--url", help="The internal address of the ingress; found by itself for a stack that runs here.")
@of_stack
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.pass_context
def models(context: click.Context, url: str | None, data: str, as_json: bool) -> None:
    """List the registered models: served or not, by which workers, how busy, how much they take.

    \b
    Example:
      agon models
      agon models --json
      agon models price acme/large 0.6
    """
    if context.invoked_subcommand is not None:
        return
    rows = get(find_internal_url(url, data), "/admin/models")["models"]
    click.echo(json.dumps(rows, indent=2) if as_json else in_columns(COLUMNS, map(_cells, rows), NUMBERS))


@models.command()
@click.argument("model")
@click.argument("per_million", type=Price(), metavar="PRICE|none")
@click.option("--tenant", default="default", show_default=True)
@of_stack
def price(model: str, per_million: float | None, tenant: str, data: str) -> None:
    """Say what a million generated tokens of a model cost, in your currency; `none` takes it back.

    Tables of costs (`analytics.model_costs`) then tell what a win costs. Works on the stack that runs here, or on
    the database at AGON_POSTGRES_URL.

    \b
    Example:
      agon models price acme/large 0.6
      agon models price acme/large none
    """
    from agon.store.models import set_price

    async def write(pool: Any) -> None:
        await set_price(pool, tenant, model, per_million)

    with_pool("agon models", data, write)
    click.echo(f"{model} has no price" if per_million is None else f"{model} costs {per_million:g} per million tokens")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    workers = row["workers"]
    state = row["state"] if row["state"] != "active" else "served" if row["served"] else "not served"
    parameters = "" if row["parameters"] is None else f"{row['parameters']:,}"
    load = (str(sum(worker[name] for worker in workers)) for name in ("running", "waiting", "capacity"))
    names = ",".join(worker["worker"] for worker in workers)
    return row["model"], state, row["backend"], parameters, f"{row['context_length']:,}", *load, names
