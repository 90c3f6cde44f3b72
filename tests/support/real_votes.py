"""The real votes in `tests/data/votes` (see its README for sources and licences)."""

import csv
import gzip
import json
from functools import cache
from pathlib import Path

import numpy as np

from agon.ratings import PairCells, Votes, codes

FOLDER = Path(__file__).parents[1] / "data" / "votes"


@cache
def chatbot_arena() -> PairCells:
    """1,670,250 votes between 129 models."""
    data = json.loads((FOLDER / "chatbotarena_20240814.json").read_text())
    names = data["models"]
    return PairCells.of((names[i], names[j], counts) for (i, j), counts in zip(data["X"], data["Y"], strict=True))


@cache
def llmfao_rows() -> list[dict[str, str]]:
    with gzip.open(FOLDER / "llmfao.csv.gz", "rt", newline="") as file:
        return list(csv.DictReader(file))


@cache
def llmfao() -> tuple[Votes, np.ndarray, np.ndarray]:
    """8,931 votes between 59 models; workers and prompts (N,) as codes."""
    rows = llmfao_rows()
    word = {"left": "a", "right": "b", "tie": "tie"}
    votes = Votes.encode(
        [row["left"] for row in rows], [row["right"] for row in rows], [word[row["winner"]] for row in rows]
    )
    return votes, codes([row["worker"] for row in rows]), codes([row["prompt"] for row in rows])


@cache
def llmfao_style() -> tuple[np.ndarray, np.ndarray]:
    """(N, 5) each: length, headers, lists, bold and code of the left and the right answer of each vote."""
    with (FOLDER / "llmfao_style.csv").open(newline="") as file:
        counts = {(row[0], row[1]): [float(x) for x in row[2:]] for row in list(csv.reader(file))[1:]}
    rows = llmfao_rows()
    return (
        np.array([counts[row["prompt"], row["left"]] for row in rows]),
        np.array([counts[row["prompt"], row["right"]] for row in rows]),
    )
