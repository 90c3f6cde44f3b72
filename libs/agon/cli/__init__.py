"""The command line. Commands are imported when they are run, so `agon --help` costs nothing but click.

Whatever goes wrong that a person can do something about is one line on standard error, and exit code 2.
"""

from importlib import import_module

import click

from agon import __version__
from agon.cli.failures import one_line

# name -> (module:attribute, what it does). The help text of `agon` is made from this alone.
COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("agon.cli.up:up", "Run the whole stack on this machine, in the foreground."),
    "status": ("agon.cli.status:status", "What runs here, and where it answers."),
    "chat": ("agon.cli.chat:chat", "A conversation in the terminal, tokens as they come."),
    "models": ("agon.cli.models:models", "What exists, what is served, by which workers, with what capacity."),
    "adapters": ("agon.cli.adapters:adapters", "Load and drop fine-tuned adapters while workers run."),
    "simulate": ("agon.cli.simulate:simulate", "Rule-based voters judge real answers and fill the board."),
    "rank": ("agon.cli.rank.command:rank", "A leaderboard from any table of votes, no services needed."),
    "arenas": ("agon.cli.arenas:arenas", "Show and set what is decided about each arena."),
    "board": ("agon.cli.publishing:board", "Publish boards: fitted from scratch, kept, in the ledger."),
    "export": ("agon.cli.export:export", "Write all votes as Parquet, by arena and day."),
    "votes": ("agon.cli.votes:votes", "Take votes back that were counted, with a reason."),
    "bench": ("agon.cli.bench:bench", "Measure what the documentation claims, on this machine."),
    "keys": ("agon.cli.keys:keys", "Who may ask: make, list, rotate and revoke API keys."),
    "topics": ("agon.cli.topics:topics", "Set up the topics of an existing Kafka."),
    "db": ("agon.cli.db:db", "Set up the tables of an existing Postgres."),
}


class LazyGroup(click.Group):
    """A group whose commands are in `COMMANDS` and imported one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, what) for name, (_, what) in COMMANDS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with one_line():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        with one_line():
            return super().invoke(ctx)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="agon")
def main() -> None:
    """Serve language models, compare them blind, rank them.

    \b
    Example:
      agon up                     everything on this machine; prints `ready URL`
      agon chat                   talk with the best model that is served
      agon simulate --votes 100   fill the leaderboard
      agon rank votes.csv         a leaderboard from a file
    """
