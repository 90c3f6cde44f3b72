"""What arena-rank says about the votes in `tests/data/votes`, for the tests to compare with.

It brings JAX, so it has an environment of its own:

    python -m venv arena && arena/bin/pip install arena-rank==0.1.1
    arena/bin/python tests/data/arena_rank/make.py

Only the standard library, pandas and arena-rank are imported here; agon is not.
"""

import csv
import gzip
import json
import platform
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from arena_rank.models.bradley_terry import BradleyTerry
from arena_rank.models.contextual_bradley_terry import ContextualBradleyTerry
from arena_rank.utils.data_utils import ContextualPairDataset, PairDataset

HERE = Path(__file__).parent
VOTES = HERE.parent / "votes"
STYLE = ("length", "headers", "lists", "bold", "code")


def main() -> None:
    arena, llmfao = chatbot_arena(), with_style(llmfao_rows())
    found = {
        "versions": {name: version(name) for name in ("arena-rank", "jax", "optax", "pandas", "numpy")}
        | {"python": platform.python_version()},
        "chatbot_arena": plain(arena, reweighted=False),
        "chatbot_arena_reweighted": plain(arena, reweighted=True),
        "llmfao": plain(llmfao, reweighted=False),
        "llmfao_style": contextual(llmfao, reg=0.0),
        "llmfao_style_default": contextual(llmfao, reg=1.0),
    }
    (HERE / "reference.json").write_text(json.dumps(found, indent=1) + "\n")


def chatbot_arena() -> pd.DataFrame:
    data = json.loads((VOTES / "chatbotarena_20240814.json").read_text())
    words = ("model_a", "model_b", "tie", "both_bad")
    cells = [
        (data["models"][i], data["models"][j], word, n)
        for (i, j), counts in zip(data["X"], data["Y"], strict=True)
        for word, n in zip(words, counts, strict=True)
    ]
    frame = pd.DataFrame(cells, columns=["model_a", "model_b", "winner", "n"])
    return frame.loc[frame.index.repeat(frame.n)].drop(columns="n").reset_index(drop=True)


def llmfao_rows() -> pd.DataFrame:
    with gzip.open(VOTES / "llmfao.csv.gz", "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    word = {"left": "model_a", "right": "model_b", "tie": "tie"}
    return pd.DataFrame(
        {
            "model_a": [row["left"] for row in rows],
            "model_b": [row["right"] for row in rows],
            "winner": [word[row["winner"]] for row in rows],
            "prompt": [row["prompt"] for row in rows],
        }
    )


def with_style(frame: pd.DataFrame) -> pd.DataFrame:
    """(left - right) / (left + right) of each count, 0 where both are 0."""
    with (VOTES / "llmfao_style.csv").open(newline="") as file:
        counts = {(row["prompt"], row["model"]): row for row in csv.DictReader(file)}
    for name in STYLE:
        a, b = (
            pd.Series([float(counts[prompt, model][name]) for prompt, model in zip(frame.prompt, side, strict=True)])
            for side in (frame.model_a, frame.model_b)
        )
        frame[name] = ((a - b) / (a + b)).fillna(0.0)
    return frame


def plain(frame: pd.DataFrame, *, reweighted: bool) -> dict[str, object]:
    dataset = PairDataset.from_pandas(frame, reweighted=reweighted)
    model = BradleyTerry(n_competitors=len(dataset.competitors))
    return told(model.compute_ratings_and_cis(dataset))


def contextual(frame: pd.DataFrame, *, reg: float) -> dict[str, object]:
    dataset = ContextualPairDataset.from_pandas(frame, feature_cols=list(STYLE), reweighted=False)
    model = ContextualBradleyTerry(n_competitors=len(dataset.competitors), n_features=len(STYLE), reg=reg)
    return told(model.compute_ratings_and_cis(dataset))


def told(result: dict[str, object]) -> dict[str, object]:
    names = {"ratings": "ratings", "variances": "variances", "coeffs": "effects"}
    columns = {ours: [float(x) for x in result[theirs]] for theirs, ours in names.items() if theirs in result}
    return {"models": list(result["competitors"])} | columns


if __name__ == "__main__":
    main()
