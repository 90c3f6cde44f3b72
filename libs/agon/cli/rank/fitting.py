"""A board's ranking by a recipe."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from agon.cli.rank.recipe import TIE_METHODS, Recipe
from agon.cli.rank.report import Finding
from agon.cli.rank.single_votes import cluster, covariates, groups, rows_of, weights
from agon.ratings import (
    Fit,
    PairCells,
    PairSums,
    Ranking,
    Rated,
    Ratings,
    StyleFit,
    bootstrap,
    clustered,
    clustered_style,
    elo_averaged,
    fit,
    fit_style,
    fit_ties,
    rank_fit,
    rank_ranges,
    simultaneous,
    split,
    uniform_pairs,
    voter_mix,
    win_rates,
)
from agon.ratings.bradley_terry import maximise
from agon.ratings.cells import Array
from agon.ratings.intervals import SCALE
from agon.ratings.quantiles import two_sided
from agon.ratings.tables import VoteTable


@dataclass(frozen=True, slots=True)
class Fitted:
    """A ranking, the sums it follows from, and what the fit says besides."""

    ranking: Ranking
    sums: PairSums
    findings: tuple[Finding, ...] = ()
    hidden: int = 0
    """models that are rated and have too few votes to be shown"""


def fitted(table: VoteTable, cells: PairCells, recipe: Recipe) -> Fitted:
    """Rank the models of `cells`, which are counted from the table's votes.

    Models with fewer votes than the recipe wants are left off the board; their votes count all the same.
    """
    made = _made(table, cells, recipe)
    shown = [row for row in made.ranking.rows if row.votes >= recipe.min_votes]
    hidden = len(made.ranking.rows) - len(shown)
    ranking = made.ranking
    if hidden:
        rating, lower, upper, votes = (
            np.array([getattr(row, name) for row in shown]) for name in ("rating", "lower", "upper", "votes")
        )
        ranking = replace(ranking, rows=_rows([row.model for row in shown], rating, lower, upper, votes))
    return replace(made, ranking=_ranges(ranking, recipe), hidden=hidden)


def _made(table: VoteTable, cells: PairCells, recipe: Recipe) -> Fitted:
    if recipe.method == "elo":
        return Fitted(_elo(table, cells, recipe), PairSums.of(cells))
    sums = _sums(table, cells, recipe)
    if recipe.method == "win-rate":
        return Fitted(_win_rate(sums, recipe), sums)
    members, unranked = split(sums)
    counts = PairSums.of(cells) if recipe.both_bad == "tie" else PairSums.of(cells).both_bad_apart()
    total = int(np.rint(np.triu(counts.totals).sum()))
    if not members:
        return Fitted(Ranking((), unranked, total, None, {}), sums)
    inside = sums.only(members)
    votes = counts.totals.sum(axis=1)[members]
    findings: tuple[Finding, ...] = ()
    drawn: Ratings | None = None
    if recipe.by_row:
        made, findings = _by_row(table, cells, inside, recipe)
    elif recipe.method in TIE_METHODS:
        made = fit_ties(inside, TIE_METHODS[recipe.method])  # type: ignore[arg-type]
    else:
        made = maximise(inside)
    if recipe.intervals == "fisher":
        made = replace(made, covariance=made.information_inverse)
    if recipe.intervals == "bootstrap":
        drawn = bootstrap(inside, recipe.rounds, seed=recipe.seed).ratings(anchor=recipe.anchor, level=recipe.level)
    ranking = rank_fit(made, votes, unranked, total=total, anchor=recipe.anchor, level=recipe.level)
    if drawn is not None:
        rows = _rows(made.models, drawn.rating, drawn.lower, drawn.upper, votes)
        ranking = replace(ranking, rows=rows)
    return Fitted(ranking, sums, findings)


def _sums(table: VoteTable, cells: PairCells, recipe: Recipe) -> PairSums:
    """The votes summed up, as weighted as the recipe says."""
    if recipe.mix:
        strata = {}
        for value, keep in groups(table, recipe.mix):
            strata[value] = table.take(keep).cells()
        sums = _among(voter_mix(strata, recipe.shares), cells.models)
    elif recipe.weight:
        votes, at = rows_of(table, cells.models, apart=False)
        sums = PairSums.of_votes(votes, weights(table, cells, votes, at, recipe))
    else:
        sums = uniform_pairs(cells) if recipe.reweight else PairSums.of(cells)
    return sums.both_bad_apart() if recipe.both_bad == "apart" and recipe.method != "grounded" else sums


def _among(sums: PairSums, models: Sequence[str]) -> PairSums:
    kept = set(models)
    return sums.only([i for i, model in enumerate(sums.models) if model in kept])


def _by_row(table: VoteTable, cells: PairCells, inside: PairSums, recipe: Recipe) -> tuple[Fit, tuple[Finding, ...]]:
    """A fit that needs the votes one by one: covariates, clusters, or both."""
    votes, at = rows_of(table, inside.models, apart=recipe.both_bad == "apart")
    weight = weights(table, cells, votes, at, recipe) if recipe.weighted else None
    ways = [cluster(table, name)[at] for name in recipe.cluster] if recipe.intervals == "cluster" else []
    if not recipe.covariates:
        return clustered(fit(inside), votes, *ways, weights=weight), ()
    control = covariates(table, at, recipe)
    styled = fit_style(votes, control, weights=weight)
    if ways:
        styled = clustered_style(styled, votes, control, *ways, weights=weight)
    return styled.fit, (_effects(styled, recipe),)


def _effects(styled: StyleFit, recipe: Recipe) -> Finding:
    """What style and position are worth in rating points."""
    reach = two_sided(recipe.level, styled.fit.degrees)
    lines, data = [], []
    for name, effect, error in zip(styled.names, styled.effects.tolist(), styled.effect_errors.tolist(), strict=True):
        points, half = SCALE * effect, SCALE * reach * error
        what = "standing left" if name == "position" else f"{name}, one standard deviation more"
        lines.append(f"{what}: {points:+.1f} points ({points - half:+.1f} to {points + half:+.1f})")
        data.append({"name": name, "points": points, "lower": points - half, "upper": points + half})
    return Finding("effects", "What is controlled for, and its worth", tuple(lines), data)


def _elo(table: VoteTable, cells: PairCells, recipe: Recipe) -> Ranking:
    """Elo averaged over orders: what it says does not hang on when a vote came."""
    votes, _ = rows_of(table, cells.models, apart=recipe.both_bad == "apart")
    averaged = elo_averaged(votes, permutations=max(recipe.rounds, 2), seed=recipe.seed)
    half = two_sided(recipe.level) * averaged.spread
    rating = averaged.rating
    rows = _rows(votes.models, rating, rating - half, rating + half, votes.cells().votes_per_model().astype(np.float64))
    return Ranking(rows, (), len(votes), None, {})


def _win_rate(sums: PairSums, recipe: Recipe) -> Ranking:
    told = win_rates(sums)
    rate, half = 100 * told.rate, 100 * two_sided(recipe.level) * told.error
    votes = sums.totals.sum(axis=1)
    rows = _rows(sums.models, rate, rate - half, rate + half, votes)
    return Ranking(rows, (), int(np.rint(votes.sum() / 2)), None, {})


def _rows(models: Sequence[str], rating: Array, lower: Array, upper: Array, votes: Array) -> tuple[Rated, ...]:
    """Ranked rows for ratings that do not come with a covariance; ranges from overlapping intervals."""
    best_first = sorted(range(len(models)), key=lambda i: (-rating[i], models[i]))
    return tuple(
        Rated(
            rank=1 + int(np.sum(rating > rating[i])),
            rank_best=1 + int(np.sum(lower > upper[i])),
            rank_worst=len(models) - int(np.sum(upper < lower[i])),
            model=models[i],
            rating=float(rating[i]),
            lower=float(lower[i]),
            upper=float(upper[i]),
            votes=int(np.rint(votes[i])),
        )
        for i in best_first
    )


def _ranges(ranking: Ranking, recipe: Recipe) -> Ranking:
    """With ranges of ranks by another rule than that of overlapping intervals, if so asked."""
    made = ranking.fit
    if recipe.ranks == "overlap" or made is None:
        return ranking
    at = [made.models.index(row.model) for row in ranking.rows]
    shown = replace(
        made,
        models=tuple(row.model for row in ranking.rows),
        theta=made.theta[at],
        covariance=made.covariance[np.ix_(at, at)],
    )
    joint = recipe.ranks == "joint"
    critical = simultaneous(shown, level=recipe.level) if joint else two_sided(recipe.level, made.degrees)
    ranges = rank_ranges(shown, critical)
    rows = (
        row._replace(rank_best=int(best), rank_worst=int(worst))
        for row, best, worst in zip(ranking.rows, ranges.best, ranges.worst, strict=True)
    )
    return replace(ranking, rows=tuple(rows))
