"""Do the intervals hold what they promise? Simulated worlds with a known truth, judged by the library's own functions.

    python benchmarks/rating_studies.py [--runs 4000] [--only NAME ...]

Every study draws its worlds from the seed printed with it; results go to `results/rating_studies.json`. Coverage is the
share of 95 % intervals that hold the truth, with its Monte-Carlo standard error over runs (the models of one run are
not independent, runs are).
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agon.ratings import (
    Anchor,
    Fit,
    PairSums,
    Votes,
    best_of,
    clustered,
    fit,
    guarded,
    rank_ranges,
    ratings,
    simultaneous,
    split,
    uniform_pairs,
)
from agon.ratings.cells import Array, PairCells
from agon.ratings.intervals import SCALE

RESULTS = Path(__file__).parent / "results" / "rating_studies.json"
Ints = npt.NDArray[np.int64]
MODELS = 12
BANDS = {"all": (0, 10**9), "below 30": (0, 30), "30 to 199": (30, 200), "200 and more": (200, 10**9)}


class Tally:
    """Coverage by name, run by run."""

    def __init__(self) -> None:
        self._runs: dict[str, list[tuple[float, float]]] = {}

    def add(self, name: str, held: npt.NDArray[np.bool_]) -> None:
        self._runs.setdefault(name, []).append((float(np.sum(held)), float(np.size(held))))

    def told(self) -> dict[str, dict[str, float]]:
        """For each name: coverage in per cent, its Monte-Carlo error, and the intervals looked at."""
        found = {}
        for name, runs in self._runs.items():
            held, of = np.array(runs).T
            if not of.sum():
                continue
            share = held.sum() / of.sum()
            error = np.std(held - share * of, ddof=1) / of.mean() / np.sqrt(len(runs))
            found[name] = {
                "coverage": round(100 * share, 2),
                "monte_carlo_error": round(100 * error, 2),
                "intervals": int(of.sum()),
            }
        return found


def strengths(rng: np.random.Generator, m: int = MODELS) -> Array:
    theta = rng.normal(0, 0.8, m)
    theta -= theta.mean()
    return theta


def zipf(m: int = MODELS) -> Array:
    """The chance that a model is drawn: the k-th as 1 / k."""
    weight: Array = 1 / np.arange(1, m + 1) / np.sum(1 / np.arange(1, m + 1))
    return weight


def pairs(rng: np.random.Generator, n: int, popularity: Array) -> tuple[Ints, Ints]:
    """n pairs of two different models, drawn by popularity."""
    left = rng.choice(len(popularity), n, p=popularity)
    right = rng.choice(len(popularity), n, p=popularity)
    while (same := left == right).any():
        right[same] = rng.choice(len(popularity), int(same.sum()), p=popularity)
    return left, right


def judge(rng: np.random.Generator, log_odds: Array, ties: float) -> npt.NDArray[np.int8]:
    """Outcomes whose mean point is exactly the logistic; even pairs tie with probability `ties`, uneven ones less."""
    p = 1 / (1 + np.exp(-log_odds))
    tie = ties * 4 * p * (1 - p)
    u = rng.random(len(p))
    outcome = np.where(u < p - tie / 2, 0, np.where(u < p + tie / 2, 2, 1))
    return outcome.astype(np.int8)


def names(m: int) -> tuple[str, ...]:
    return tuple(f"m{i:02}" for i in range(m))


def hold(fitted: Fit, truth: Array) -> npt.NDArray[np.bool_]:
    """(M,) which intervals hold the truth, both with mean 0."""
    told = ratings(fitted)
    at = 1000 + SCALE * (truth - truth.mean())
    held: npt.NDArray[np.bool_] = (told.lower <= at) & (at <= told.upper)
    return held


def rated(cells: PairCells, truth: Array) -> tuple[Fit, Array, Array]:
    """The fit of the models that can be compared, their truth, and their votes."""
    sums = PairSums.of(cells)
    members, _ = split(sums)
    inside = sums.only(members)
    return fit(inside), truth[[int(cells.models[i][1:]) for i in members]], inside.totals.sum(axis=1)


def by_votes(tally: Tally, name: str, fitted: Fit, truth: Array, votes: Array) -> None:
    held = hold(fitted, truth)
    for band, (low, high) in BANDS.items():
        tally.add(f"{name}, {band} votes", held[(low <= votes) & (votes < high)])


def independent(runs: int, ties: float, n: int, seed: int) -> dict[str, Any]:
    """Single votes, Zipf popularity: the sandwich, the information, and the rule for few votes."""
    rng = np.random.default_rng(seed)
    tally = Tally()
    for _ in range(runs):
        theta = strengths(rng)
        left, right = pairs(rng, n, zipf())
        cells = Votes(names(MODELS), left, right, judge(rng, theta[left] - theta[right], ties)).cells()
        fitted, truth, votes = rated(cells, theta)
        by_votes(tally, "sandwich", fitted, truth, votes)
        by_votes(tally, "fisher", replace(fitted, covariance=fitted.information_inverse), truth, votes)
        by_votes(tally, "board", guarded(fitted, votes), truth, votes)
    return {"seed": seed, "runs": runs, "votes": n, "ties": ties} | {"coverage": tally.told()}


def habitual(runs: int, voters: int, taste: float, seed: int) -> dict[str, Any]:
    """Voters with a taste of their own for each model, some of whom vote much more than others.

    The truth is what a board of endless voters would say: Bradley-Terry fitted to the mean of all tastes.
    """
    rng = np.random.default_rng(seed)
    tally = Tally()
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    for _ in range(runs):
        theta = strengths(rng)
        each = np.minimum(rng.lognormal(np.log(40), 0.8, voters), 400).astype(np.int64) + 1
        voter = np.repeat(np.arange(voters), each)
        tastes = rng.normal(0, taste, (voters, MODELS))
        left, right = pairs(rng, len(voter), zipf() ** 0.5 / np.sum(zipf() ** 0.5))
        log_odds = theta[left] - theta[right] + tastes[voter, left] - tastes[voter, right]
        votes = Votes(names(MODELS), left, right, judge(rng, log_odds, 0.2))
        truth = target(theta, zipf() ** 0.5, taste, nodes, weights / weights.sum())
        fitted = fit(votes.cells())
        tally.add("as if independent", hold(fitted, truth))
        for correction in ("CR1", "CR3"):
            tally.add(correction, hold(clustered(fitted, votes, voter, correction=correction), truth))
    return {"seed": seed, "runs": runs, "voters": voters, "taste": taste} | {"coverage": tally.told()}


def target(theta: Array, popularity: Array, taste: float, nodes: Array, weights: Array) -> Array:
    """(M,) the ratings that endless votes of endless voters would have."""
    gap = theta[:, None] - theta[None, :]
    p = np.tensordot(1 / (1 + np.exp(-(gap[..., None] + np.sqrt(2) * taste * nodes))), weights, axes=1)
    popularity = popularity / popularity.sum()
    often = np.outer(popularity, popularity) / (1 - popularity)[:, None]
    wins = (often + often.T) * p * 1e6
    np.fill_diagonal(wins, 0)
    nothing = np.zeros_like(wins)
    return fit(PairSums(names(len(theta)), wins, nothing, nothing, wins, nothing, nothing)).theta


def active(runs: int, seed: int, m: int = 10, n: int = 3000, every: int = 250) -> dict[str, Any]:
    """Pairs drawn by Chatbot Arena's rule (arXiv 2403.04132): by how much one more vote narrows a pair's interval."""
    rng = np.random.default_rng(seed)
    tally = Tally()
    i, j = np.triu_indices(m, 1)
    for _ in range(runs):
        theta = strengths(rng, m)
        left, right, outcome = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int8)
        chance = np.full(len(i), 1 / len(i))
        for _ in range(n // every):
            drawn = rng.choice(len(i), every, p=chance)
            swap = rng.random(every) < 0.5
            left = np.concatenate([left, np.where(swap, j[drawn], i[drawn])])
            right = np.concatenate([right, np.where(swap, i[drawn], j[drawn])])
            outcome = np.concatenate([outcome, judge(rng, theta[left[-every:]] - theta[right[-every:]], 0.2)])
            sums = PairSums.of(Votes(names(m), left, right, outcome).cells())
            count = np.maximum(sums.totals[i, j], 1) if len(sums.models) == m else np.ones(len(i))
            mean = sums.points[i, j] / count if len(sums.models) == m else np.full(len(i), 0.5)
            spread = np.sqrt(np.maximum(mean * (1 - mean), 0.02))
            gain = spread * (1 / np.sqrt(count) - 1 / np.sqrt(count + 1))
            chance = 0.9 * gain / gain.sum() + 0.1 / len(i)
        cells = Votes(names(m), left, right, outcome).cells()
        fitted, truth, votes = rated(cells, theta)
        by_votes(tally, "board", guarded(fitted, votes), truth, votes)
        if len(truth) == m:
            tally.add("uniform pairs", hold(fit(uniform_pairs(cells)), theta))
    return {"seed": seed, "runs": runs, "votes": n} | {"coverage": tally.told()}


def ranks(runs: int, seed: int, n: int = 6000) -> dict[str, Any]:
    """How often every model's true rank lies in its range at once, where models are nearly level."""
    rng = np.random.default_rng(seed)
    tally = Tally()
    for _ in range(runs):
        theta = strengths(rng) / 8
        left, right = pairs(rng, n, zipf())
        fitted, truth, votes = rated(
            Votes(names(MODELS), left, right, judge(rng, theta[left] - theta[right], 0.2)).cells(), theta
        )
        fitted = guarded(fitted, votes)
        rank = 1 + (truth[None, :] > truth[:, None]).sum(axis=1)
        for name, critical in (("one by one", 1.959964), ("together", simultaneous(fitted, draws=1000))):
            ranges = rank_ranges(fitted, critical)
            tally.add(f"all ranks, {name}", np.array([((ranges.best <= rank) & (rank <= ranges.worst)).all()]))
    return {"seed": seed, "runs": runs, "votes": n} | {"coverage": tally.told()}


def variants(runs: int, k: int, seed: int, n: int = 4000) -> dict[str, Any]:
    """One owner enters k equally good variants and shows the best: its plain interval, and the adjusted one."""
    rng = np.random.default_rng(seed)
    tally = Tally()
    bias, adjusted = [], []
    for _ in range(runs):
        theta = np.concatenate([np.full(k, 0.3), rng.normal(0, 0.8, 6)])
        m = len(theta)
        left, right = pairs(rng, n, np.full(m, 1 / m))
        fitted = fit(Votes(names(m), left, right, judge(rng, theta[left] - theta[right], 0.2)).cells())
        anchor = Anchor(names(m)[-1], 0.0)
        chosen = best_of(fitted, names(m)[:k], anchor=anchor)
        truth = SCALE * (0.3 - theta[-1])
        plain = ratings(fitted, anchor=anchor)
        at = fitted.models.index(chosen.model)
        tally.add("plain", np.array([plain.lower[at] <= truth <= plain.upper[at]]))
        tally.add("adjusted", np.array([chosen.lower <= truth <= chosen.upper]))
        bias.append(chosen.plain - truth)
        adjusted.append(chosen.estimate - truth)
    return {
        "seed": seed,
        "runs": runs,
        "votes": n,
        "variants": k,
        "bias_plain_points": round(float(np.mean(bias)), 2),
        "bias_adjusted_points": round(float(np.mean(adjusted)), 2),
        "coverage": tally.told(),
    }


STUDIES: Mapping[str, Callable[[int], dict[str, Any]]] = {
    "independent, no ties": lambda runs: independent(runs, 0.0, 4000, 11),
    "independent, 20 % ties": lambda runs: independent(runs, 0.2, 4000, 12),
    "independent, 40 % ties": lambda runs: independent(runs, 0.4, 4000, 13),
    "independent, few votes": lambda runs: independent(runs, 0.2, 400, 14),
    "habits, 15 voters": lambda runs: habitual(runs, 15, 0.7, 21),
    "habits, 30 voters": lambda runs: habitual(runs, 30, 0.7, 22),
    "habits, 50 voters": lambda runs: habitual(runs, 50, 0.7, 23),
    "habits, 100 voters": lambda runs: habitual(runs, 100, 0.7, 24),
    "active sampling": lambda runs: active(runs, 31),
    "ranks": lambda runs: ranks(runs, 41),
    "best of 2 variants": lambda runs: variants(runs, 2, 51),
    "best of 10 variants": lambda runs: variants(runs, 10, 52),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4000)
    parser.add_argument("--only", nargs="*", choices=STUDIES, default=list(STUDIES))
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    found = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    for name in arguments.only:
        began = time.perf_counter()
        found[name] = STUDIES[name](arguments.runs)
        print(f"{name} (seed {found[name]['seed']}, {arguments.runs} runs, {time.perf_counter() - began:.0f} s)")
        for what, told in found[name]["coverage"].items():
            print(f"  {what:36} {told['coverage']:6.2f} % +- {told['monte_carlo_error']:.2f}")
        ordered = {study: found[study] for study in STUDIES if study in found}
        arguments.out.write_text(json.dumps(ordered, indent=1) + "\n")


if __name__ == "__main__":
    main()
