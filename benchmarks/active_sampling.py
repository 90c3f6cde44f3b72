"""How many votes active pairs save for the same precision, and where the published ratings end up on the way.

    python benchmarks/active_sampling.py [--runs 40] [--models 24]

**Votes saved.** Votes are drawn from a Bradley-Terry truth; every 100 votes the board is fitted, and an active policy
goes by its covariance, as in the house. For each policy, the votes until three things: from nothing, that the mean 95 %
interval is so wide; from nothing, that the win matrix is so exact (root mean square error against the truth); and,
after a few models have joined a board that is settled, that no interval is wider than so.

**On target.** The truth is no Bradley-Terry model: each pair's log-odds are off by N(0, 0.5). The target is the
Bradley-Terry fit of the true win matrix with all pairs alike. Rated from actively drawn votes, plain ratings drift to
what was drawn most; reweighted to uniform pairs they should stay. Told with the Monte-Carlo error.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agon.arena.active import RULES, Active, Estimate
from agon.ratings import PairCells, PairSums, fit, uniform_pairs, win_matrix
from agon.ratings.intervals import SCALE
from agon.ratings.weighting import LEAST_PAIR
from stack import machine, save

STEP = 100
POLICIES = ("uniform", *RULES)
WIDTH = 90.0
"""Rating points: the mean 95 % interval that is waited for, and the widest one after models have joined."""
EXACT = 0.035
"""Root mean square error of the win matrix that is waited for."""
MOST = 40_000
JOINED, SETTLED = 4, 20_000
"""Models that join, and the votes that the others have by then."""
GOALS = ("mean_interval", "win_matrix", "after_joining")


@dataclass
class Board:
    """Counts so far, and how the policy draws."""

    policy: str
    p: Any  # (M, M) true P(row beats column)
    rng: np.random.Generator

    def __post_init__(self) -> None:
        m = len(self.p)
        self.models = tuple(f"m{i:03d}" for i in range(m))
        self.wins = np.zeros((m, m), dtype=np.int64)  # [i, j]: i's wins over j
        self.fitted: Any = None
        self.estimate: Estimate | None = None
        self.i, self.j = np.triu_indices(m, 1)

    def step(self) -> None:
        """Draw `STEP` votes, then fit."""
        if self.fitted is not None:
            votes = (self.wins + self.wins.T).astype(float)
            self.estimate = Estimate(1, self.models, self.fitted.theta, self.fitted.covariance, votes)
        chances = None
        if self.policy != "uniform":
            chances = Active(self.policy, 10, self.estimate).probabilities(self.models)  # type: ignore[arg-type]
        drawn = self.rng.choice(len(self.i), STEP, p=chances)
        i, j = self.i[drawn], self.j[drawn]
        won = self.rng.random(STEP) < self.p[i, j]
        np.add.at(self.wins, (np.where(won, i, j), np.where(won, j, i)), 1)
        try:
            self.fitted = fit(self.cells())
        except Exception:  # not connected yet
            self.fitted = None

    def cells(self) -> PairCells:
        i, j = self.i, self.j
        counts = np.zeros((len(i), 4), dtype=np.int64)
        counts[:, 0], counts[:, 1] = self.wins[i, j], self.wins[j, i]
        return PairCells(self.models, i, j, counts)


def votes_after_joining(policy: str, theta: Any, seed: int) -> int:
    """Votes until no interval is too wide, when the last `JOINED` models are new to a settled board."""
    p = win_matrix(theta)
    board = Board(policy, p, np.random.default_rng(seed))
    inside = board.j < len(theta) - JOINED
    i, j = board.i[inside], board.j[inside]
    n = board.rng.multinomial(SETTLED, np.full(len(i), 1 / len(i)))
    won = board.rng.binomial(n, p[i, j])
    board.wins[i, j], board.wins[j, i] = won, n - won
    settled = fit(board.cells().only(range(len(theta) - JOINED)))
    board.estimate = Estimate(
        1, settled.models, settled.theta, settled.covariance, np.zeros((len(settled.models),) * 2)
    )
    for votes in range(STEP, MOST + 1, STEP):
        board.step()
        if board.fitted is not None and 2 * 1.96 * SCALE * np.sqrt(np.diag(board.fitted.covariance)).max() <= WIDTH:
            return votes
    return MOST


def votes_until(policy: str, theta: Any, seed: int) -> tuple[int, int, int]:
    """Votes until the intervals are narrow, until the win matrix is exact, and after models have joined."""
    p = win_matrix(theta)
    board = Board(policy, p, np.random.default_rng(seed))
    narrow = exact = 0
    for votes in range(STEP, MOST + 1, STEP):
        board.step()
        if board.fitted is None:
            continue
        width = 2 * 1.96 * SCALE * np.sqrt(np.diag(board.fitted.covariance)).mean()
        error = np.sqrt(((win_matrix(board.fitted.theta) - p)[board.i, board.j] ** 2).mean())
        narrow = narrow or (votes if width <= WIDTH else 0)
        exact = exact or (votes if error <= EXACT else 0)
        if narrow and exact:
            break
    return narrow or MOST, exact or MOST, votes_after_joining(policy, theta, seed)


def target(p: Any) -> Any:
    """The Bradley-Terry fit of a win matrix, all pairs alike."""
    m = len(p)
    wins = p * 1e6
    np.fill_diagonal(wins, 0.0)
    nothing = np.zeros((m, m))
    names = tuple(f"m{i:03d}" for i in range(m))
    return fit(PairSums(names, wins, nothing, nothing, wins, nothing, nothing)).theta


def bias(policy: str, p: Any, seed: int, votes: int) -> tuple[Any, Any]:
    """Plain and reweighted ratings less the target, log-odds, after so many votes."""
    board = Board(policy, p, np.random.default_rng(seed))
    for _ in range(0, votes, STEP):
        board.step()
    goal = target(p)
    return board.fitted.theta - goal, fit(uniform_pairs(board.cells())).theta - goal


def savings(runs: int, models: int) -> dict[str, Any]:
    found: dict[str, list[tuple[int, int, int]]] = {policy: [] for policy in POLICIES}
    for run in range(runs):
        theta = np.random.default_rng(1000 + run).normal(0, 0.8, models)
        for policy in POLICIES:
            found[policy].append(votes_until(policy, theta, run))
    told: dict[str, Any] = {}
    base = np.array(found["uniform"], dtype=float)
    for policy, pairs in found.items():
        votes = np.array(pairs, dtype=float)
        saved = 1 - votes / base
        told[policy] = {
            goal: {
                "votes": round(votes[:, at].mean()),
                "saved": round(saved[:, at].mean(), 4),
                "saved_error": round(saved[:, at].std(ddof=1) / np.sqrt(runs), 4),
            }
            for at, goal in enumerate(GOALS)
        }
    return told


def on_target(runs: int, models: int, votes: int) -> dict[str, Any]:
    told: dict[str, Any] = {}
    rng = np.random.default_rng(77)
    theta = rng.normal(0, 0.8, models)
    off = np.triu(rng.normal(0, 0.5, (models, models)), 1)
    p = 1 / (1 + np.exp(-(theta[:, None] - theta[None, :] + off - off.T)))
    for policy in POLICIES:
        both = np.array([bias(policy, p, 500 + run, votes) for run in range(runs)]) * SCALE
        for name, errors in zip(("plain", "reweighted"), both.transpose(1, 0, 2), strict=True):
            mean, error = errors.mean(axis=0), errors.std(axis=0, ddof=1) / np.sqrt(runs)
            square = (mean**2 - error**2).mean()  # less what the Monte-Carlo error alone would give
            told.setdefault(policy, {})[name] = {
                "bias_points": round(float(np.sqrt(max(square, 0.0))), 2),
                "largest_bias_points": round(float(np.abs(mean).max()), 2),
                "monte_carlo_error_points": round(float(error.mean()), 2),
            }
    return told


def picture(told: dict[str, Any]) -> str:
    """Bars of the votes each policy needs."""
    bars, y = [], 30
    most = max(part["votes"] for policy in told.values() for part in policy.values())
    titles = (
        f"mean 95 % interval of {WIDTH:.0f} points",
        f"win matrix within {EXACT}",
        f"no interval above {WIDTH:.0f} points after {JOINED} models have joined",
    )
    for goal, title in zip(GOALS, titles, strict=True):
        bars.append(f'<text x="10" y="{y}" font-weight="bold">Votes until: {title}</text>')
        for policy in POLICIES:
            y += 24
            votes = told[policy][goal]["votes"]
            bars.append(f'<text x="10" y="{y}">{policy}</text>')
            bars.append(f'<rect x="80" y="{y - 13}" width="{votes / most * 420:.0f}" height="16" fill="#3b6ea5"/>')
            bars.append(f'<text x="{88 + votes / most * 420:.0f}" y="{y}">{votes:,}</text>')
        y += 40
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 580 {y - 20}" font-family="sans-serif" font-size="13">'
    )
    return "\n".join([head, *bars, "</svg>"]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="What active pairs save.")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--models", type=int, default=24)
    parser.add_argument("--few-models", type=int, default=12, help="models of the runs that look for bias")
    parser.add_argument("--votes", type=int, default=30_000, help="votes of each run that looks for bias")
    options = parser.parse_args()
    saved = savings(options.runs, options.models)
    figures = {
        "runs": options.runs,
        "models": options.models,
        "waited_for": {"mean_interval_points": WIDTH, "win_matrix_error": EXACT},
        "votes_saved": saved,
        "misspecified": {
            "models": options.few_models,
            "votes": options.votes,
            "least_pair": LEAST_PAIR,
            **on_target(options.runs, options.few_models, options.votes),
        },
    }  # fmt: skip
    print(machine())
    print(json.dumps(figures, indent=2))
    save("active_sampling", figures)
    (Path(__file__).parent / "results" / "active_sampling.svg").write_text(picture(saved))


if __name__ == "__main__":
    main()
