"""`agon board`: published runs on demand."""

import subprocess
import sys

import click


@click.group()
def board() -> None:
    """Publish boards.

    \b
    Example:
      agon board publish --arena main
    """


@board.command()
@click.option("--tenant", help="Only this tenant's arenas.")
@click.option("--arena", help="Only this arena, such as: main")
def publish(tenant: str | None, arena: str | None) -> None:
    """Fit every slice that has new votes from scratch, by every method, and keep the result in the ledger.

    The rating compute does so by itself once an hour. Needs the settings that it has (AGON_POSTGRES_URL).

    \b
    Example:
      agon board publish --arena main
    """
    command = [sys.executable, "-m", "agon_rating_compute", "publish"]
    for name, value in (("--tenant", tenant), ("--arena", arena)):
        command += [name, value] if value is not None else []
    sys.exit(subprocess.run(command).returncode)
