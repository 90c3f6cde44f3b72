"""`agon up`: the whole stack on this machine, in the foreground."""

import asyncio
from pathlib import Path

import click


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the API listens.")
@click.option("--port", type=click.IntRange(0, 65535), help="Its port; 0 for any. [default: 8000, else any free one]")
@click.option("--data", type=click.Path(path_type=Path), default=".agon", show_default=True, help="Where all data is.")
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Inference processes.")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="ID=SOURCE",
    help="Serve this instead of the bundled models: a folder, a hub id, scripted:... or upstream:URL. May be repeated.",
)
@click.option("--insecure", is_flag=True, help="Allow a --host that others can reach although there is no API key.")
def up(host: str, port: int | None, data: Path, workers: int, models: tuple[str, ...], insecure: bool) -> None:
    """Run Kafka, Redis, Postgres and every service of agon, until Ctrl-C.

    Servers of your own are used instead if AGON_KAFKA_URL, AGON_REDIS_URL or AGON_POSTGRES_URL name them. Prints
    `ready URL` once a chat would succeed. Everything stays under --data, and is there again at the next start.

    \b
    Example:
      agon up
      agon up --port 9000 --model qwen=Qwen/Qwen3-0.6B
    """
    from agon.local import up as room
    from agon.local.data import DataFolder
    from agon.local.stack import StackOptions
    from agon.local.terminal import Terminal
    from agon.telemetry import configure_logging

    configure_logging("agon", "WARNING")
    terminal = Terminal()
    specs = tuple(room.model_spec(model) for model in models)
    folder = DataFolder(data)
    room.check_host(host, insecure or room.may_have_keys(folder))
    folder.take()
    try:
        options = StackOptions(host, room.choose_port(host, port), workers, specs, insecure)
        asyncio.run(room.up(folder, options, terminal))
    finally:
        folder.release()
