"""`agon db migrate`: the tables of an existing Postgres."""

import asyncio

import click


@click.group()
def db() -> None:
    """Set up the tables of the Postgres at AGON_POSTGRES_URL.

    \b
    Example:
      AGON_POSTGRES_URL=postgresql://agon:secret@db/agon agon db migrate
    """


@db.command()
@click.option(
    "--analyst-password",
    envvar="AGON_ANALYST_PASSWORD",
    help="Lets the role `analyst` log in with it. Better given as AGON_ANALYST_PASSWORD, which `ps` does not show.",
)
def migrate(analyst_password: str | None) -> None:
    """Apply every migration that the database lacks, in order. Safe to repeat, and from several machines at once.

    \b
    Example:
      AGON_POSTGRES_URL=postgresql://agon:secret@db/agon agon db migrate
    """
    from agon.settings import Settings
    from agon.store import migrations
    from agon.telemetry import configure_logging

    configure_logging("agon", "WARNING")
    applied = asyncio.run(migrations.migrate(Settings.load().postgres_url, analyst_password))
    for name in applied:
        click.echo(f"applied {name}")
    if not applied:
        click.echo("nothing to do")
