"""One engine, one job, in a process of its own; run by ratings.py with the interpreter that has the engine.

    python ratings_engines.py '{"engine": "agon", "job": "board", "file": "votes.parquet", "times": 3}'

Reads the file first, untimed, then prints a JSON object: seconds of each repetition, peak memory of this process and of
its largest child in MB, and the ratings by model.
"""

import json
import resource
import sys
import time
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

FEATURES = ["length", "headers", "lists", "bold"]
Ratings = Mapping[str, float]
Job = Callable[[], Ratings]


def agon(job: dict[str, Any]) -> Job:
    import numpy as np
    import polars as pl

    from agon.ratings import Covariates, PairCells, PairSums, bootstrap, fit, fit_style, rank_models, ratings
    from agon.ratings.tables import from_frame

    frame = pl.read_parquet(job["file"])
    words = frame.select("model_a", "model_b", "winner")
    cells = from_frame(words).cells()

    def board() -> Ratings:
        return {row.model: row.rating for row in rank_models(from_frame(words).cells()).rows}

    def alone(known: PairCells = cells) -> Ratings:
        fitted = fit(known)
        return dict(zip(fitted.models, ratings(fitted).rating.tolist(), strict=True))

    start = rank_models(cells).log_odds
    more = PairCells(cells.models, cells.left, cells.right, cells.counts + (np.arange(len(cells.left)) < 1)[:, None])

    def refit() -> Ratings:
        return {row.model: row.rating for row in rank_models(more, start).rows}

    def resampled() -> Ratings:
        drawn = bootstrap(PairSums.of(from_frame(words).cells()), job.get("rounds", 100))
        return dict(zip(drawn.fit.models, drawn.ratings().rating.tolist(), strict=True))

    def style() -> Ratings:
        table = from_frame(words)
        styled = fit_style(table.votes, Covariates.of(FEATURES, frame.select(FEATURES).to_numpy()))
        return dict(zip(styled.fit.models, ratings(styled.fit).rating.tolist(), strict=True))

    return {"board": board, "fit": alone, "refit": refit, "bootstrap": resampled, "style": style}[job["job"]]


def arena_rank(job: dict[str, Any]) -> Job:
    import pandas as pd
    from arena_rank.models.bradley_terry import BradleyTerry
    from arena_rank.models.contextual_bradley_terry import ContextualBradleyTerry
    from arena_rank.utils.data_utils import ContextualPairDataset, PairDataset

    frame = pd.read_parquet(job["file"])

    def fitted(data: Any) -> Ratings:
        told = BradleyTerry(n_competitors=len(data.competitors)).compute_ratings_and_cis(data)
        return dict(zip(told["competitors"], told["ratings"].tolist(), strict=True))

    def style() -> Ratings:
        data = ContextualPairDataset.from_pandas(frame, FEATURES, reweighted=False)
        model = ContextualBradleyTerry(n_competitors=len(data.competitors), n_features=len(FEATURES), reg=0.0)
        told = model.compute_ratings_and_cis(data)
        return dict(zip(told["competitors"], told["ratings"].tolist(), strict=True))

    if job["job"] == "fit":
        known = PairDataset.from_pandas(frame)
        return lambda: fitted(known)
    return style if job["job"] == "style" else lambda: fitted(PairDataset.from_pandas(frame))


def fastchat(job: dict[str, Any]) -> Job:
    """The rating module of FastChat's repository: no release has it."""
    sys.path.insert(0, job["fastchat"])
    import pandas as pd
    import rating_systems as module

    frame = pd.read_parquet(job["file"])
    if job["job"] == "bootstrap":
        return lambda: module.compute_bootstrap_bt(frame, job.get("rounds", 100)).median().to_dict()
    return lambda: module.compute_bt(frame).to_dict()


def fastchat_released(job: dict[str, Any]) -> Job:
    """The rating module of FastChat's last release, 0.2.36, slower than its repository's. Its neighbours, which
    read logs and draw, are left out: they want torch and a browser's plots."""
    for name in (
        "plotly.express",
        "fastchat.model.model_registry",
        "fastchat.serve.monitor.basic_stats",
        "fastchat.serve.monitor.clean_battle_data",
    ):
        left_out = types.ModuleType(name)
        left_out.__getattr__ = lambda _: None  # type: ignore[method-assign]
        sys.modules[name] = left_out
    sys.modules["plotly"] = types.ModuleType("plotly")
    import pandas as pd
    from fastchat.serve.monitor import elo_analysis as module

    frame = pd.read_parquet(job["file"])
    frame["winner"] = frame["winner"].replace("both_bad", "tie (bothbad)")
    if job["job"] == "bootstrap":
        return lambda: (
            module.get_bootstrap_result(frame, module.compute_elo_mle_with_tie, job["rounds"]).median().to_dict()
        )
    return lambda: module.compute_elo_mle_with_tie(frame).to_dict()


def evalica(job: dict[str, Any]) -> Job:
    import evalica as library
    import numpy as np
    import pandas as pd

    frame = pd.read_parquet(job["file"])
    words = {"model_a": library.Winner.X, "model_b": library.Winner.Y}

    def board() -> Ratings:
        winners = [words.get(word, library.Winner.Draw) for word in frame["winner"]]
        scores = library.bradley_terry(frame["model_a"], frame["model_b"], winners).scores
        return dict(zip(scores.index, (400 * np.log10(scores)).tolist(), strict=True))

    return board


def choix(job: dict[str, Any]) -> Job:
    import choix as library
    import numpy as np
    import pandas as pd

    frame = pd.read_parquet(job["file"])

    def board() -> Ratings:
        codes, models = pd.factorize(pd.concat([frame["model_a"], frame["model_b"]]))
        left, right = codes[: len(frame)], codes[len(frame) :]
        share = frame["winner"].map({"model_a": 1.0, "model_b": 0.0}).fillna(0.5).to_numpy()
        m = len(models)
        points = np.bincount(left * m + right, share, m * m) + np.bincount(right * m + left, 1 - share, m * m)
        theta = library.ilsr_pairwise_dense(points.astype(np.float64).reshape(m, m))
        return dict(zip(models, (400 / np.log(10) * theta).tolist(), strict=True))

    return board


def leaderbot(job: dict[str, Any]) -> Job:
    import leaderbot as library
    import numpy as np
    import pandas as pd

    frame = pd.read_parquet(job["file"])

    def board() -> Ratings:
        models = sorted(set(frame["model_a"]) | set(frame["model_b"]))
        at = {model: i for i, model in enumerate(models)}
        pairs: dict[tuple[int, int], list[int]] = {}
        for (a, b, word), n in frame.groupby(["model_a", "model_b", "winner"]).size().items():
            i, j = at[a], at[b]
            cell = pairs.setdefault((min(i, j), max(i, j)), [0, 0, 0, 0])
            place = {"model_a": 0, "model_b": 1, "tie": 2, "both_bad": 3}[word]
            cell[1 - place if i > j and place < 2 else place] += int(n)
        kept = sorted(pairs)
        outcomes = np.array([[*pairs[pair][:2], sum(pairs[pair][2:])] for pair in kept])
        model = library.models.BradleyTerry({"X": np.array(kept), "Y": outcomes, "models": models}, k_cov=None)
        model.train()
        return dict(zip(models, (400 / np.log(10) * np.asarray(model.param)[: len(models)]).tolist(), strict=True))

    return board


ENGINES: dict[str, Callable[[dict[str, Any]], Job]] = {
    "agon": agon,
    "arena-rank": arena_rank,
    "fastchat": fastchat,
    "fastchat 0.2.36": fastchat_released,
    "evalica": evalica,
    "choix": choix,
    "leaderbot": leaderbot,
}


def main() -> None:
    job = json.loads(sys.argv[1])
    run = ENGINES[job["engine"]](job)
    seconds = []
    ratings: Ratings = {}
    for _ in range(job.get("times", 1)):
        start = time.perf_counter()
        ratings = run()
        seconds.append(time.perf_counter() - start)
        if sum(seconds) > job.get("longest", 60):
            break
    # The high-water mark of this program alone; getrusage's would begin at that of the process that started it.
    status = Path("/proc/self/status").read_text()
    own = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
    peak = (own + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024
    told = {"seconds": seconds, "peak_mb": round(peak, 1), "ratings": dict(ratings)}
    Path(job["answer"]).write_text(json.dumps(told))


if __name__ == "__main__":
    main()
