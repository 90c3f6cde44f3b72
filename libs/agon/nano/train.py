"""`python -m agon.nano.train`: train the bundled models again, measure them, write their cards.

Models are trained side by side, one core each; a larger one begins as the next smaller one. Data, split and first
weights depend on `--seed` alone; the exact weights also on the machine, through its rounding and, where a recipe's
minutes end before its tokens, its speed.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agon.nano.recipes import RECIPES, VOCABULARY, Recipe, chains

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

_TEXTS = 6000
"""From so many chats the tokenizer takes its words."""


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
    chosen = set(names or RECIPES)
    if len(chosen) == 1:
        _train_one(chosen.pop(), out, work, minutes, seed)
        return
    began = time.monotonic()
    options = ["--out", str(out), "--work", str(work), "--minutes", str(minutes), "--seed", str(seed)]

    def in_processes(chain: Sequence[str]) -> Sequence[str]:
        """The models that were trained: those behind one that fails have nothing to begin as."""
        for number, name in enumerate(chain):
            command = [sys.executable, "-m", "agon.nano.train", name, *options]
            if subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False).returncode:
                return chain[:number]
        return chain

    with ThreadPoolExecutor(processes) as lanes:
        trained = {name for names in lanes.map(in_processes, chains(chosen)) for name in names}
    _summary(out, [name for name in RECIPES if name in trained])
    click.echo(f"{(time.monotonic() - began) / 60:.0f} minutes")
    if failed := sorted(chosen - trained):
        raise click.ClickException(f"{', '.join(failed)} failed; see above")


def _train_one(name: str, out: Path, work: Path, minutes: float, seed: int) -> None:
    """Train, save, measure, describe. What is there already is replaced only when the new one is whole."""
    import torch

    from agon.nano.card import good_at, mean, write_card
    from agon.nano.chat import make_tokenizer
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

    tokenizer = make_tokenizer(texts(seed, _TEXTS), VOCABULARY)
    checkpoint = work / f"{name}-{seed}.pt"
    run = Run(recipe, tokenizer, seed, checkpoint, _begin_as(recipe, out))
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


def _begin_as(recipe: Recipe, out: Path) -> "LlamaForCausalLM | None":
    """The trained model that this one grows from, if it does."""
    from transformers import LlamaForCausalLM

    if recipe.grows is None:
        return None
    if not (out / recipe.grows / "model.safetensors").is_file():
        raise click.ClickException(f"{recipe.name} begins as {recipe.grows}, which is not in {out}: train it first")
    return LlamaForCausalLM.from_pretrained(out / recipe.grows, dtype="float32")


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
