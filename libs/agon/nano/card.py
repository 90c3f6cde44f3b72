"""The model card of a nano model: what it is, and what it was measured to do."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from agon.nano.evaluate import ITEMS, Score
from agon.nano.recipes import CONTEXT, VOCABULARY, Recipe
from agon.nano.run import Progress
from agon.nano.skills import SKILLS

GOOD = 0.9


def mean(scores: Mapping[str, Score]) -> float:
    """The mean greedy share over all skills."""
    return sum(score.greedy for score in scores.values()) / len(scores)


def good_at(scores: Mapping[str, Score]) -> int:
    """How many skills are right nine times in ten."""
    return sum(score.greedy >= GOOD for score in scores.values())


def write_card(folder: Path, recipe: Recipe, spent: Progress, scores: Mapping[str, Score], parameters: int) -> None:
    """Write `README.md` for people and `training.json`, the same figures, for programs."""
    rows = "\n".join(
        f"| {name} | {SKILLS[name].title} | {100 * score.greedy:.0f} | {100 * score.sampled:.0f} |"
        for name, score in scores.items()
    )
    ended = sum(score.ended for score in scores.values()) / len(scores)
    (folder / "README.md").write_text(
        f"""---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
---

# {recipe.name}

A toy chat model of {parameters / 1e6:.2f} M parameters for trying out agon: small enough for any CPU, good enough that
answers can be told right from wrong. It knows {len(SKILLS)} small skills in English and nothing of the real world.

- Shape: Llama, {recipe.layers} layers of {recipe.hidden}, {recipe.heads} heads, inner size {recipe.inner}, tied
  embeddings, a vocabulary of {VOCABULARY} (bytes and whole words), context {CONTEXT}. Weights in float16, meant to run
  in float32.
- Trained {f"on from {recipe.grows}, with layers added," if recipe.grows else "from nothing"} on
  {spent.tokens / 1e6:.1f} M tokens of text that `agon.nano.skills` makes, in {spent.seconds / 60:.0f} minutes of
  processor time (`python -m agon.nano.train {recipe.name}`).
- Chat template: `<|im_start|>role`, the text, `<|im_end|>`; the last one ends an answer. Tool calls are
  text, as Hermes models write them.
- Default: temperature 0.3, top-p 0.95.

## How well it does

Share of right answers in percent, on {ITEMS} held-out questions per skill that training never saw, in float32.
Mean {100 * mean(scores):.0f}, at least 90 in {good_at(scores)} of {len(scores)} skills;
{100 * ended:.0f} % of its greedy answers end by themselves.

| skill | what | greedy | temperature 0.3 |
|---|---|---|---|
{rows}

## What it cannot do

Anything else. It says so for many questions, and for others it makes something up. Wordings far from the training data
are often misread. Do not use it for anything but tests and demonstrations.
"""
    )
    figures = {
        "model": recipe.name,
        "parameters": parameters,
        "tokens": spent.tokens,
        "core_seconds": round(spent.seconds),
        "items": ITEMS,
        "mean": round(mean(scores), 4),
        "skills": {
            name: {"greedy": round(score.greedy, 4), "sampled": round(score.sampled, 4)}
            for name, score in scores.items()
        },
    }
    (folder / "training.json").write_text(json.dumps(figures, indent=2) + "\n")


def table(folders: Sequence[Path]) -> str:
    """The greedy shares of several models side by side, in percent, as a Markdown table."""
    figures = [json.loads((folder / "training.json").read_text()) for folder in folders]
    lines = [
        f"| skill | {' | '.join(one['model'] for one in figures)} |",
        f"|---|{'---|' * len(figures)}",
    ]
    for skill in SKILLS:
        shares = " | ".join(f"{100 * one['skills'][skill]['greedy']:.0f}" for one in figures)
        lines.append(f"| {skill} | {shares} |")
    means = " | ".join(f"{100 * one['mean']:.0f}" for one in figures)
    lines.append(f"| mean | {means} |")
    return "\n".join(lines)
