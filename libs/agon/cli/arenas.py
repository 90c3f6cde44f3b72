"""`agon arenas`: the arenas, and what is decided about each of them."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from agon.cli.database import with_pool
from agon.cli.numbers import NumberRange
from agon.cli.stack import of_stack

_LONGEST_DELAY = 10 * 365 * 24.0
"""Hours."""


@click.group()
def arenas() -> None:
    """Show and set the policy of arenas: of the stack that runs here, or of the database at AGON_POSTGRES_URL.

    \b
    Example:
      agon arenas show
      agon arenas set main --policy policy.json --publication-delay 24
    """


@arenas.command()
@of_stack
def show(data: str) -> None:
    """Every arena as a line of JSON.

    \b
    Example:
      agon arenas show
    """
    from agon.store import battles

    async def read(pool: Any) -> list[Any]:
        return await battles.read_arenas(pool)

    for arena in with_pool("agon arenas", data, read):
        hours = arena.publication_delay.total_seconds() / 3600
        said = {"tenant": arena.tenant, "arena": arena.arena, "publication_delay_hours": hours, "policy": arena.policy}
        click.echo(json.dumps(said))


@arenas.command("set")
@click.argument("name")
@click.option("--policy", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A file of JSON.")
@click.option("--publication-delay", type=NumberRange(0, _LONGEST_DELAY), help="Hours until a vote is on the board.")
@click.option("--tenant", default="default", show_default=True)
@of_stack
def set_(name: str, policy: Path | None, publication_delay: float | None, tenant: str, data: str) -> None:
    """Set what an arena does; one that does not exist is made. Nothing is set where any of it is wrong.

    \b
    Example of a policy: active pairs, and a slice of its own:
      {"pairing": {"kind": "active", "rule": "widths"},
       "slices": [{"name": "long-code", "where": {"categories": ["code", "long"]}}]}
    """
    from agon.errors import SetupError
    from agon.messages.base import ID_REGEX
    from agon.store import battles

    for what, given in (("arena", name), ("tenant", tenant)):
        if not ID_REGEX.fullmatch(given):
            raise SetupError(f"the {what} `{given[:80]}` must be 1 to 64 of A-Z a-z 0-9 _ -")
    found = None if policy is None else _checked(policy)
    delay = None if publication_delay is None else timedelta(hours=publication_delay)

    async def write(pool: Any) -> None:
        await battles.set_arena(pool, tenant, name, found, delay)

    with_pool("agon arenas", data, write)
    click.echo(f"{tenant}/{name} is set")


def _checked(path: Path) -> dict[str, Any]:
    """The policy in a file. Raises `SetupError` naming what is wrong with it."""
    from agon.arena.active import from_policy
    from agon.arena.pairing import kind_of
    from agon.arena.sampling import declared_sampling
    from agon.arena.slices import declared_categories, declared_slices
    from agon.errors import SetupError

    try:
        policy = json.loads(path.read_text())
    except ValueError as error:
        raise SetupError(f"{path} is no JSON: {error}") from error
    if not isinstance(policy, dict) or not isinstance(policy.get("pairing", {}), dict):
        raise SetupError(f"{path} must hold an object, and so must its `pairing`")
    if not isinstance(policy.get("imports", False), bool):
        raise SetupError(f"{path}: `imports` must be true or false")
    declared_slices(policy)
    declared_categories(policy)
    declared_sampling(policy)
    if kind_of(policy.get("pairing", {})) == "active":
        from_policy(policy["pairing"], None)
    return policy
