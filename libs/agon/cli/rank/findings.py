"""Answers to questions beside the board: who is better, what the first place hangs on, whose votes to look at."""

from collections.abc import Sequence
from itertools import islice

import numpy as np

from agon.cli.rank.fitting import Fitted
from agon.cli.rank.recipe import Recipe
from agon.cli.rank.report import Finding
from agon.cli.rank.single_votes import rows_of
from agon.errors import InvalidRequest
from agon.ratings import (
    Fit,
    PairCells,
    best_of,
    difference,
    guarded,
    voter_abilities,
    votes_to_dethrone,
    votes_to_separate,
)
from agon.ratings.tables import VoteTable

MOST_LISTED = 20


def comparison(fitted: Fitted, recipe: Recipe, model: str, other: str) -> Finding:
    """How far one model is above another, and how sure that is."""
    made = _fit(fitted, "--compare")
    told = difference(made, model, other, level=recipe.level)
    needed = votes_to_separate(made, fitted.sums, model, other, level=recipe.level)
    interval = f"{told.lower:+.1f} to {told.upper:+.1f}"
    lines = [
        f"{model} is {abs(told.estimate):.1f} points {'above' if told.estimate >= 0 else 'below'} {other} ({interval})",
        f"P({model} is better) = {told.better:.3f}, a posterior with a flat prior",
    ]
    if needed is None:
        lines.append("they are level: no number of votes tells them apart")
    elif needed:
        lines.append(f"{needed:,} more votes between the two would tell them apart, if the difference stays")
    data = {
        "model": model, "other": other, "difference": told.estimate, "lower": told.lower, "upper": told.upper,
        "better": told.better, "votes_needed": needed,
    }  # fmt: skip
    return Finding("comparisons", f"{model} and {other}", tuple(lines), data)


def influence(cells: PairCells, fitted: Fitted, recipe: Recipe) -> Finding:
    """The fewest votes found whose removal changes the first place."""
    if recipe.method != "bt" or recipe.weighted or recipe.covariates or recipe.both_bad == "apart":
        raise InvalidRequest("--influence removes plain votes from a plain board: no weights, style or other methods")
    made = _fit(fitted, "--influence")
    at = {model: i for i, model in enumerate(cells.models)}
    found = votes_to_dethrone(cells.only([at[model] for model in made.models]))
    if found is None:
        return Finding("influence", "What the first place hangs on", ("no removal of votes changes it",), None)
    lines = [f"without {found.votes:,} votes ({100 * found.share:.3f} %) {found.successor} is before {found.first}"]
    lines += [
        f"{removed.count:,} of {removed.left} (left) against {removed.right}: {removed.outcome}"
        for removed in islice(found.removed, MOST_LISTED)
    ]
    if len(found.removed) > MOST_LISTED:
        lines.append(f"and {len(found.removed) - MOST_LISTED} more kinds (--json has all)")
    kinds = [{"left": r.left, "right": r.right, "outcome": r.outcome, "votes": r.count} for r in found.removed]
    data = {
        "first": found.first,
        "successor": found.successor,
        "votes": found.votes,
        "share": found.share,
        "removed": kinds,
    }
    return Finding("influence", "What the first place hangs on", tuple(lines), data)


def voters(table: VoteTable, fitted: Fitted, recipe: Recipe) -> Finding:
    """Voters who agree less with the board than chance explains: a list to look at, nobody is left out."""
    made = _fit(fitted, "--voters")
    votes, at = rows_of(table, made.models, apart=recipe.both_bad == "apart")
    names, codes = np.unique(
        table.carried["voter"].cast(str).fill_null("").to_numpy()[at].astype(str), return_inverse=True
    )
    told = voter_abilities(votes, codes)
    flagged = np.flatnonzero(told.flagged)
    lines = [
        f"{len(told.voter):,} voters with enough votes; {len(flagged)} agree with the board less than chance explains"
    ]
    data = [
        {
            "voter": str(names[told.voter[i]]),
            "votes": int(told.votes[i]),
            "ability": float(told.ability[i]),
            "error": float(told.error[i]),
            "p_value": float(told.p_value[i]),
            "flagged": bool(told.flagged[i]),
        }
        for i in range(len(told.voter))
    ]
    listed = [row for row in data if row["flagged"]][:MOST_LISTED]
    lines += [
        f"{r['voter']}: ability {r['ability']:.2f} ± {r['error']:.2f}, {r['votes']} votes, p = {r['p_value']:.1e}"
        for r in listed
    ]
    if len(flagged) > MOST_LISTED:
        lines.append(f"and {len(flagged) - MOST_LISTED} more (--json has all)")
    return Finding("voters", "Voters to look at (ability 1 is the average)", tuple(lines), data)


def best_variant(fitted: Fitted, recipe: Recipe, variants: Sequence[str]) -> Finding:
    """The best of one owner's variants, not favoured for having been picked."""
    told = best_of(_fit(fitted, "--best-of"), variants, anchor=recipe.anchor, level=recipe.level, seed=recipe.seed)
    lines = (
        f"{told.model} is the best of {len(variants)}: {told.plain:.0f} on the board",
        f"{told.estimate:.0f} ({told.lower:.0f} to {told.upper:.0f}) when the picking is allowed for",
    )
    data = {
        "model": told.model, "plain": told.plain, "estimate": told.estimate, "lower": told.lower, "upper": told.upper,
    }  # fmt: skip
    return Finding("best_of", f"The best of {', '.join(variants)}", lines, data)


def _fit(fitted: Fitted, option: str) -> Fit:
    made = fitted.ranking.fit
    if made is None:
        raise InvalidRequest(
            f"{option} needs a fitted board: at least two models that can be compared, not elo or win-rate"
        )
    at = {model: i for i, model in enumerate(fitted.sums.models)}
    votes = fitted.sums.totals.sum(axis=1)
    return guarded(made, np.array([votes[at[model]] for model in made.models]))
