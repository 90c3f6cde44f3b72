"""The votes that the ratings' benchmark measures on: synthetic ones, and real ones written out row by row."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

OUTCOMES = ("model_a", "model_b", "tie", "both_bad")
FEATURES = ("length", "headers", "lists", "bold")


@dataclass(frozen=True)
class Case:
    """A table of votes in a Parquet file: strings, and style features where there are some."""

    name: str
    file: Path
    votes: int
    models: int


def synthetic(folder: Path, votes: int, models: int, *, seed: int = 0) -> Case:
    """Strengths N(0, 0.8), popularity like Zipf's law, three in ten tied, four style features of little weight."""
    rng = np.random.default_rng(seed)
    strength = rng.normal(0, 0.8, models)
    popular = rng.permutation(1 / np.arange(1, models + 1) ** 0.7)
    popular /= popular.sum()
    left = rng.choice(models, votes, p=popular)
    right = rng.choice(models, votes, p=popular)
    while (same := np.flatnonzero(left == right)).size:
        right[same] = rng.choice(models, same.size, p=popular)
    style = rng.normal(0, 1, (votes, len(FEATURES)))
    logit = strength[left] - strength[right] + style @ np.array([0.25, 0.0, 0.02, 0.0])
    won = rng.random(votes) < 1 / (1 + np.exp(-logit))
    tied = rng.random(votes) < 0.3
    word = np.where(tied, np.where(rng.random(votes) < 0.5, 2, 3), np.where(won, 0, 1))
    names = pl.Series([f"model-{i:04d}-instruct" for i in range(models)])
    frame = pl.DataFrame(
        {
            "model_a": names.gather(left),
            "model_b": names.gather(right),
            "winner": pl.Series(OUTCOMES).gather(word),
            **{name: style[:, k] for k, name in enumerate(FEATURES)},
        }
    )
    return _written(f"{votes:.0e}/{models}".replace("e+0", "e"), folder, frame)


def real(folder: Path) -> list[Case]:
    """The real votes, as far as they are here: under AGON_DATA, or beside the checkout in ../shared/data."""
    data = Path(os.environ.get("AGON_DATA", Path(__file__).parents[1].parent / "shared" / "data")) / "votes"
    cases = []
    counts = data / "leaderbot" / "chatbotarena_20240814.json"
    if counts.exists():
        cases.append(_written("Chatbot Arena", folder, _expanded(json.loads(counts.read_text()))))
    crowd = data / "llmfao" / "crowd-comparisons.csv"
    if crowd.exists():
        words = {"left": "model_a", "right": "model_b", "tie": "tie"}
        frame = pl.read_csv(crowd).select(
            model_a="left", model_b="right", winner=pl.col("winner").replace_strict(words, return_dtype=pl.String)
        )
        cases.append(_written("llmfao crowd", folder, frame))
    return cases


def _expanded(counts: dict[str, list[list[int]]]) -> pl.DataFrame:
    """A row for each vote that the counts stand for, in a random order."""
    pairs, numbers = np.array(counts["X"]), np.array(counts["Y"])
    models = pl.Series(counts["models"], dtype=pl.String)
    rng = np.random.default_rng(0)
    row = rng.permutation(np.repeat(np.arange(numbers.size), numbers.ravel()))
    pair, word = row // len(OUTCOMES), row % len(OUTCOMES)
    return pl.DataFrame(
        {
            "model_a": models.gather(pairs[pair, 0]),
            "model_b": models.gather(pairs[pair, 1]),
            "winner": pl.Series(OUTCOMES).gather(word),
        }
    )


def _written(name: str, folder: Path, frame: pl.DataFrame) -> Case:
    file = folder / (name.replace("/", "-").replace(" ", "-") + ".parquet")
    frame.write_parquet(file)
    return Case(name, file, frame.height, pl.concat([frame["model_a"], frame["model_b"]]).n_unique())


def exact(file: Path) -> tuple[dict[str, float], float]:
    """The Bradley-Terry optimum in rating points with mean 0, and the largest slope left, in votes.

    Written apart from what is measured: Newton on all parameters, the singular direction left to least squares.
    """
    frame = pl.read_parquet(file, columns=["model_a", "model_b", "winner"])
    models = sorted(set(frame["model_a"].unique()) | set(frame["model_b"].unique()))
    at = {model: i for i, model in enumerate(models)}
    points = np.zeros((len(models), len(models)))
    for a, b, word, n in frame.group_by("model_a", "model_b", "winner").len().iter_rows():
        share = {"model_a": 1.0, "model_b": 0.0}.get(word, 0.5)
        points[at[a], at[b]] += share * n
        points[at[b], at[a]] += (1 - share) * n
    battles = points + points.T
    theta = np.zeros(len(models))
    for _ in range(30):
        p = 1 / (1 + np.exp(theta[None, :] - theta[:, None]))
        slope = (points - battles * p).sum(axis=1)
        weights = battles * p * (1 - p)
        curvature = np.diag(weights.sum(axis=1)) - weights
        step = np.linalg.lstsq(curvature, slope, rcond=1e-12)[0]
        step *= min(1.0, 2 / max(np.abs(step).max(), 1e-300))
        theta += step - step.mean()
        if np.abs(step).max() < 1e-13:
            break
    rating = 400 / np.log(10) * theta
    return dict(zip(models, rating.tolist(), strict=True)), float(np.abs(slope).max())
