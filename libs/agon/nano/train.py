"""`python -m agon.nano.train`: train the bundled models again, measure them, write their cards.

Two models at a time, one core each. Data, split and initial weights depend on `--seed` alone; the exact weights also on
the machine, through its rounding and, where a recipe's minutes end before its tokens, its speed.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from agon.nano.recipes import RECIPES, VOCABULARY

_TEXTS = 6000
"""So many chats make the tokenizer."""


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(tuple(RECIPES)))
@click.option("--out", type=click.Path(path_type=Path), help="Where the folders go; the bundled models if left out.")
@click.option("--work", default=Path(".agon/nano"), type=click.Path(path_type=Path), show_default=True,
              help="Checkpoints: a run that was stopped goes on from here.")  # fmt: skip
@click.option("--minutes", type=click.FloatRange(min=0.1), default=60.0, show_default=True,
              help="At most so many minutes of one core for each model.")  # fmt: skip
@click.option("--seed", default=0, show_default=True)
@click.option("--processes", type=click.IntRange(1, 8), default=2, show_default=True, help="Models at a time.")
def train(names: Sequence[str], out: Path | None, work: Path, minutes: float, seed: int, processes: int) -> None:
    """Train the named models, or all.

    \b
    Example:
      python -m agon.nano.train nano-0.3m --minutes 2 --out /tmp/models
    """
    out = out or Path(__file__).parent / "models"
    # The longest first, so that both cores end at about the same time.
    chosen = sorted(names or RECIPES, key=lambda name: -RECIPES[name].minutes)
    if len(chosen) == 1:
        _train_one(chosen[0], out, work, minutes, seed)
        return
    began = time.monotonic()
    options = ["--out", str(out), "--work", str(work), "--minutes", str(minutes), "--seed", str(seed)]

    def in_process(name: str) -> int:
        command = [sys.executable, "-m", "agon.nano.train", name, *options]
        return subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False).returncode

    with ThreadPoolExecutor(processes) as lanes:
        codes = dict(zip(chosen, lanes.map(in_process, chosen), strict=True))
    _summary(out, [name for name in RECIPES if codes.get(name) == 0])
    click.echo(f"{(time.monotonic() - began) / 60:.0f} minutes")
    if failed := [name for name, code in codes.items() if code]:
        raise click.ClickException(f"{', '.join(failed)} failed; see above")


def _train_one(name: str, out: Path, work: Path, minutes: float, seed: int) -> None:
    """Train, save, measure, describe. What is there already is replaced only when the new one is whole."""
    import torch

    from agon.nano.card import good_at, mean, write_card
    from agon.nano.chat import train_tokenizer
    from agon.nano.corpus import texts
    from agon.nano.evaluate import measure
    from agon.nano.export import export
    from agon.nano.run import Progress, Run

    torch.set_num_threads(1)
    recipe = RECIPES[name]

    def report(progress: Progress) -> None:
        click.echo(
            f"{name:10} {100 * progress.done:3.0f} %  {progress.tokens / 1e6:5.2f} M tokens  "
            f"{progress.seconds / 60:4.1f} min  loss {progress.loss:.3f}"
        )

    tokenizer = train_tokenizer(texts(seed, _TEXTS), VOCABULARY)
    checkpoint = work / f"{name}-{seed}.pt"
    run = Run(recipe, tokenizer, seed, checkpoint)
    spent = run.train(minutes, report)
    parameters = run.model.num_parameters()
    made = work / name
    export(run.model, tokenizer, made)
    click.echo(f"{name:10} trained, measuring")
    scores = measure(made)
    write_card(made, recipe, spent, scores, parameters)
    _replace(out / name, made)
    checkpoint.unlink()
    click.echo(f"{name:10} mean {100 * mean(scores):.0f} %, at least 90 % in {good_at(scores)} skills")


def _replace(folder: Path, made: Path) -> None:
    """Put the files of `made` where `folder` is."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for path in made.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
        path.unlink()
    made.rmdir()


def _summary(out: Path, names: Sequence[str]) -> None:
    """The table of all skills and models."""
    from agon.nano.card import table

    if names:
        click.echo(table([out / name for name in names]))


if __name__ == "__main__":
    train()
