"""`agon bench`: the figures of the README and docs, measured on this machine."""

import subprocess
import sys
from pathlib import Path

import click

from agon.errors import SetupError

_CHECKOUT = Path(__file__).parents[3]


@click.group()
def bench() -> None:
    """Measure what the documentation claims. The scripts live in a checkout of the repository.

    \b
    Example:
      agon bench engine --workload tiny
    """


@bench.command(context_settings={"ignore_unknown_options": True, "help_option_names": []}, add_help_option=False)
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def engine(options: tuple[str, ...]) -> None:
    """The engine and its peers on the same requests. Options go to benchmarks/engine.py; --help lists them."""
    script = _CHECKOUT / "benchmarks" / "engine.py"
    if not script.is_file():
        raise SetupError(f"there is no {script}: this agon was installed without its checkout; clone it and run there")
    sys.exit(subprocess.run([sys.executable, str(script), *options]).returncode)
