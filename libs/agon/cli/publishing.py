"""`agon board`: published runs on demand."""

import os
import subprocess
import sys

import click

from agon.cli.stack import BackendName, find_backend_url, of_stack


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
@of_stack
def publish(tenant: str | None, arena: str | None, data: str) -> None:
    """Fit every slice that has new votes from scratch, by every method, and keep the result in the ledger.

    The rating compute does so by itself once an hour. Works on the stack that runs here, or with the settings that the
    rating compute has (AGON_POSTGRES_URL, AGON_KAFKA_URL, AGON_REDIS_URL).

    \b
    Example:
      agon board publish --arena main
    """
    command = [sys.executable, "-m", "agon_rating_compute", "publish"]
    for name, value in (("--tenant", tenant), ("--arena", arena)):
        command += [name, value] if value is not None else []
    backends: tuple[BackendName, ...] = ("postgres", "kafka", "redis")
    urls = {f"AGON_{name.upper()}_URL": find_backend_url(name, data) for name in backends}
    sys.exit(subprocess.run(command, env={**os.environ, **urls}).returncode)
