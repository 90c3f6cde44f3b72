"""`python -m agon.nano.train`: train the bundled models again, measure them, write their cards.

Smaller ones first, because a larger one begins as the next smaller one; each on several cores (`lanes`). Data, split
and first weights depend on `--seed` and `--lanes` alone; the exact weights also on the machine, through its rounding
and, where a recipe's minutes end before its tokens, its speed.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agon.nano.recipes import RECIPES, VOCABULARY, Recipe

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from agon.nano.run import Progress, Run

_TEXTS = 6000
"""From so many chats the tokenizer takes its words."""


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(tuple(RECIPES)))
@click.option("--out", type=click.Path(path_type=Path), help="Where the folders go; the bundled models if left out.")
@click.option("--work", default=Path(".agon/nano"), type=click.Path(path_type=Path), show_default=True,
              help="Checkpoints: a run that was stopped goes on from here.")  # fmt: skip
@click.option("--minutes", type=click.FloatRange(min=0.1), default=60.0, show_default=True,
              help="At most so many minutes of processor time for each model.")  # fmt: skip
@click.option("--seed", default=0, show_default=True)
@click.option("--lanes", type=click.IntRange(1, 64), default=2, show_default=True, help="Cores for each model.")
def train(names: Sequence[str], out: Path | None, work: Path, minutes: float, seed: int, lanes: int) -> None:
    """Train the named models, or all.

    \b
    Example:
      python -m agon.nano.train nano-0.3m --minutes 2 --out /tmp/models
    """
    from torch.multiprocessing.spawn import ProcessException, spawn

    out = out or Path(__file__).parent / "models"
    chosen = [name for name in RECIPES if name in (names or RECIPES)]
    os.environ["OMP_NUM_THREADS"] = "1"
    began = time.monotonic()
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            options = (lanes, Path(folder) / "meeting", name, out, work, minutes, seed)
            try:
                spawn(_train_one, options, nprocs=lanes)  # type: ignore[no-untyped-call]
            except ProcessException as error:
                raise click.ClickException(f"{name} failed: {error}") from None
    _summary(out, chosen)
    click.echo(f"{(time.monotonic() - began) / 60:.0f} minutes")


def _train_one(
    number: int, lanes: int, meeting: Path, name: str, out: Path, work: Path, minutes: float, seed: int
) -> None:
    """One lane of a model's training. The first one also saves, measures and describes it; what is there already is
    replaced only when the new one is whole."""
    import torch

    from agon.nano.chat import make_tokenizer
    from agon.nano.corpus import texts
    from agon.nano.lanes import Lanes
    from agon.nano.run import Progress, Run

    torch.set_num_threads(1)
    recipe = RECIPES[name]

    def report(progress: Progress) -> None:
        if number == 0:
            click.echo(
                f"{name:10} {100 * progress.done:3.0f} %  {progress.tokens / 1e6:5.2f} M tokens  "
                f"{progress.seconds / 60:4.1f} min  loss {progress.loss:.3f}"
            )

    tokenizer = make_tokenizer(texts(seed, _TEXTS), VOCABULARY)
    checkpoint = work / f"{name}-{seed}.pt"
    together = Lanes(number, lanes)
    together.meet(meeting)
    run = Run(recipe, tokenizer, seed, checkpoint, _begin_as(recipe, out), together)
    spent = run.train(minutes, report)
    together.part()
    if number == 0:
        _finish(run, tokenizer, spent, work / name, out / name)
        checkpoint.unlink()


def _finish(run: "Run", tokenizer: "PreTrainedTokenizerFast", spent: "Progress", made: Path, place: Path) -> None:
    """Save, measure and describe what was trained, and put it in its place."""
    from agon.nano.card import good_at, mean, write_card
    from agon.nano.evaluate import measure
    from agon.nano.export import export

    name = run.recipe.name
    export(run.model, tokenizer, made)
    click.echo(f"{name:10} trained, measuring")
    scores = measure(made)
    write_card(made, run.recipe, spent, scores, run.model.num_parameters())
    _replace(place, made)
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

    click.echo(table([out / name for name in names]))


if __name__ == "__main__":
    train()
