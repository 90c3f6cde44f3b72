"""`agon votes`: take votes back, one by one or all of a voter."""

import json
from typing import Any

import click

from agon.cli.database import with_pool
from agon.cli.stack import of_stack


@click.group()
def votes() -> None:
    """Take votes back that were counted. Nothing is deleted: a row of its own says what no longer counts, and why.

    Works on the stack that runs here, or on the database at AGON_POSTGRES_URL with the right to write: it is an
    operator's command. The boards follow within a second.

    \b
    Example:
      agon votes retract vote-1f0c... --reason "the voter asked for it"
      agon votes exclude --voter voter-77ab... --reason "votes of a script"
    """


@votes.command()
@click.argument("vote_id")
@click.option("--reason", required=True, help="Why, in a few words; it is published with the retraction.")
@click.option("--tenant", default="default", show_default=True)
@of_stack
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def retract(vote_id: str, reason: str, tenant: str, data: str, as_json: bool) -> None:
    """Take one vote back, because its voter wants to.

    \b
    Example:
      agon votes retract vote-1f0c... --reason "the voter asked for it"
    """
    _run(data, tenant, None, "vote_id", vote_id, f"retracted: {reason}", as_json)


@votes.command()
@click.option("--voter", help="All counted votes of this pseudonym.")
@click.option("--vote", "vote_id", help="Only this vote.")
@click.option("--reason", required=True, help="Why, in a few words; it is published with the exclusion.")
@click.option("--arena", help="Only in this arena.")
@click.option("--tenant", default="default", show_default=True)
@of_stack
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def exclude(
    voter: str | None, vote_id: str | None, reason: str, arena: str | None, tenant: str, data: str, as_json: bool
) -> None:
    """Take votes out of the count, because the house does not trust them.

    \b
    Example:
      agon votes exclude --voter voter-77ab... --reason "votes of a script"
    """
    if (voter is None) == (vote_id is None):
        raise click.UsageError("give either --voter or --vote")
    column, value = ("voter", voter) if voter is not None else ("vote_id", vote_id)
    _run(data, tenant, arena, column, str(value), f"excluded: {reason}", as_json)


def _run(data: str, tenant: str, arena: str | None, column: str, value: str, reason: str, as_json: bool) -> None:
    async def take(pool: Any) -> list[dict[str, Any]]:
        return await _take_back(pool, tenant, arena, column, value, reason)

    taken = with_pool("agon votes", data, take)
    if as_json:
        click.echo(json.dumps({"taken_back": taken}))
    else:
        click.echo(f"{len(taken)} vote{'' if len(taken) == 1 else 's'} taken back")


async def _take_back(
    pool: Any, tenant: str, arena: str | None, column: str, value: str, reason: str
) -> list[dict[str, Any]]:
    """What was taken back now. Raises `NotFound` where no such vote was ever counted."""
    from agon.errors import NotFound
    from agon.store.retractions import counted_arenas, take_back

    arenas = await counted_arenas(pool, tenant, arena, column, value)
    if not arenas:
        raise NotFound(f"no vote with {column} {value!r} was ever counted in tenant {tenant!r}")
    taken: list[dict[str, Any]] = []
    for each in arenas:
        while some := await take_back(pool, each, column, value, reason, _leaf):
            taken += [{"arena": row.arena, "vote_id": row.vote_id, "seq": row.seq} for row in some]
    return taken


def _leaf(row: Any) -> Any:
    """The ledger's line about a retraction."""
    from agon.ledger import leaf_hash, vote_entry
    from agon.messages import rfc3339
    from agon.store.votes import Leaf

    fields: dict[str, Any] = row._asdict()
    leaf = fields.pop("leaf")
    for name in ("voted_at", "judged_at"):
        fields[name] = rfc3339(fields[name])
    entry = vote_entry(**fields)
    return Leaf(row.tenant, row.arena, leaf, "vote", entry.decode(), leaf_hash(entry))
