"""Intervals, differences, anchors and ranks that hold together."""

import math

import numpy as np
import pytest
from scipy import stats

from agon.errors import InvalidRequest
from agon.ratings import (
    Anchor,
    Fit,
    PairCells,
    difference,
    fit,
    guarded,
    probability_better,
    rank_fit,
    rank_models,
    rank_ranges,
    ratings,
    simultaneous,
)
from agon.ratings.intervals import SCALE
from agon.ratings.quantiles import normal_cdf, two_sided
from support.real_votes import chatbot_arena


def fit_with(theta: list[float], covariance: np.ndarray, degrees: float = np.inf) -> Fit:
    names = tuple("abcdefghij"[: len(theta)])
    return Fit(names, np.array(theta), covariance, covariance, 0.0, 0, degrees)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("degrees", [1, 2, 5, 12, 49, 300, 5000, math.inf])
def test_quantiles_are_those_of_scipy(level: float, degrees: float) -> None:
    wanted = stats.norm.ppf((1 + level) / 2) if math.isinf(degrees) else stats.t.ppf((1 + level) / 2, degrees)
    assert two_sided(level, degrees) == pytest.approx(wanted, rel=1e-9)


def test_the_normal_distribution_is_scipys() -> None:
    x = np.array([[-40.0, -8, -1], [0, 0.3, 8]])
    assert normal_cdf(x) == pytest.approx(stats.norm.cdf(x), rel=1e-12)


@pytest.mark.parametrize(("level", "degrees"), [(0.0, 5), (1.0, 5), (float("nan"), 5), (0.95, 0)])
def test_no_level_and_no_degrees_are_refused(level: float, degrees: float) -> None:
    with pytest.raises(InvalidRequest):
        two_sided(level, degrees)


def test_an_anchor_stands_still_and_the_others_have_the_width_of_a_difference() -> None:
    found = fit(chatbot_arena())
    anchor = found.models[7]
    told = ratings(found, anchor=Anchor(anchor, 1200))
    assert (told.rating[7], told.error[7]) == (1200, 0)
    for i in (0, 40, 128):
        d = difference(found, found.models[i], anchor)
        assert told.rating[i] - 1200 == pytest.approx(d.estimate)
        assert (told.lower[i] - 1200, told.upper[i] - 1200) == pytest.approx((d.lower, d.upper))
        assert d.error == pytest.approx(SCALE * found.difference_error(i, 7))
    assert (np.delete(told.error, 7) > 0).all()


def test_an_anchored_mean_only_shifts() -> None:
    found = fit(chatbot_arena())
    plain, shifted = ratings(found), ratings(found, anchor=Anchor(rating=1500))
    assert shifted.rating.mean() == pytest.approx(1500)
    assert shifted.error == pytest.approx(plain.error)


def test_an_anchor_that_is_not_rated_is_an_error() -> None:
    with pytest.raises(InvalidRequest, match="'gone' is not among the rated"):
        rank_models(chatbot_arena(), anchor=Anchor("gone", 1000))


def test_who_is_better_is_told_by_the_distance_in_errors() -> None:
    found = fit_with([0.3, 0.0, -0.3], np.diag([0.01, 0.02, 0.03]))
    better = probability_better(found)
    assert better[0, 1] == pytest.approx(stats.norm.cdf(0.3 / np.sqrt(0.03)))
    assert better + better.T == pytest.approx(np.ones((3, 3)))
    assert difference(found, "a", "c").better == pytest.approx(better[0, 2])


def test_few_votes_get_the_larger_of_two_variances() -> None:
    cells = PairCells.of([("x", "y", (2, 2, 6, 0)), ("y", "z", (300, 200, 100, 0)), ("z", "w", (200, 300, 100, 0))])
    found = fit(cells)
    raised = guarded(found, cells.votes_per_model().astype(float))
    rated, plain, fisher = (np.diag(v) for v in (raised.covariance, found.covariance, found.information_inverse))
    x, others = 1, [0, 2, 3]
    assert rated[x] == pytest.approx(fisher[x])
    assert fisher[x] > plain[x]
    assert rated[others] == pytest.approx(plain[others])
    assert raised.difference_error(x, 0) > found.difference_error(x, 0)


def test_max_t_of_independent_pairs_is_known() -> None:
    """Two models have one difference: then it is the normal quantile. Ten equal ones: Tukey's studentised range."""
    assert simultaneous(fit_with([0, 0], np.eye(2)), draws=200_000) == pytest.approx(1.96, abs=0.01)
    ten = simultaneous(fit_with([0.0] * 10, np.eye(10)), draws=50_000)
    assert ten == pytest.approx(stats.studentized_range.ppf(0.95, 10, np.inf) / np.sqrt(2), abs=0.02)


def test_max_t_with_clusters_is_wider() -> None:
    ten = simultaneous(fit_with([0.0] * 10, np.eye(10), degrees=20), draws=50_000)
    assert ten == pytest.approx(stats.studentized_range.ppf(0.95, 10, 20) / np.sqrt(2), abs=0.04)


def test_the_same_seed_gives_the_same_value() -> None:
    found = fit(chatbot_arena())
    assert simultaneous(found, draws=500) == simultaneous(found, draws=500)


def test_rank_ranges_follow_from_clear_differences() -> None:
    found = fit_with([2.0, 1.0, 0.9, 0.0], np.eye(4) * 0.01)
    ranges = rank_ranges(found, 1.96)
    assert ranges.best.tolist() == [1, 2, 2, 4]
    assert ranges.worst.tolist() == [1, 3, 3, 4]


def test_ranks_that_hold_together_are_wider_and_hold_the_estimate() -> None:
    found = fit(chatbot_arena())
    single, joint = rank_ranges(found, two_sided(0.95)), rank_ranges(found, simultaneous(found))
    assert (joint.best <= single.best).all()
    assert (joint.worst >= single.worst).all()
    assert (joint.worst - joint.best).sum() > (single.worst - single.best).sum()
    rank = 1 + (found.theta[None, :] > found.theta[:, None]).sum(axis=1)
    assert ((single.best <= rank) & (rank <= single.worst)).all()


def test_a_board_of_any_fit_uses_its_degrees_of_freedom() -> None:
    normal, student = (
        rank_fit(fit_with([0.5, -0.5], np.eye(2) * 0.01, degrees), np.array([100.0, 100.0])) for degrees in (np.inf, 4)
    )
    widths = [ranking.rows[0].upper - ranking.rows[0].lower for ranking in (normal, student)]
    assert widths[1] / widths[0] == pytest.approx(stats.t.ppf(0.975, 4) / stats.norm.ppf(0.975))
    assert normal.votes == 100
