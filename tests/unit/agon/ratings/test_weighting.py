"""Pairs that count the same, and voters in declared shares."""

import numpy as np
import pytest

from agon.errors import InvalidRequest
from agon.ratings import (
    Covariates,
    PairCells,
    PairSums,
    clustered,
    fit,
    fit_style,
    pair_weights,
    rank_models,
    uniform_pairs,
    voter_mix,
)
from support.real_votes import chatbot_arena, llmfao


def test_weights_are_one_over_the_pairs_votes_but_never_over_fewer_than_fifty() -> None:
    cells = PairCells.of([("x", "y", (60, 40, 0, 0)), ("y", "z", (5, 5, 0, 0)), ("z", "x", (100, 80, 10, 10))])
    sums, plain = uniform_pairs(cells), PairSums.of(cells)
    weight = np.divide(sums.totals, plain.totals, out=np.zeros((3, 3)), where=plain.totals > 0)
    assert weight[0, 1] / weight[1, 2] == pytest.approx((1 / 100) / (1 / 50))
    assert weight[0, 2] / weight[0, 1] == pytest.approx((1 / 200) / (1 / 100))
    assert np.triu(sums.totals).sum() == pytest.approx(cells.votes)
    assert sums.wins_squared == pytest.approx(plain.wins * weight**2)


def test_uniform_pairs_find_the_same_ratings_whatever_was_drawn_more_often() -> None:
    """A ring that Bradley-Terry can't explain: plain ratings lean to the pair with most votes, weighted ones do not."""

    def ring(often: int) -> PairCells:
        return PairCells.of(
            [("x", "y", (80 * often, 20 * often, 0, 0)), ("y", "z", (80, 20, 0, 0)), ("z", "x", (70, 30, 0, 0))]
        )

    once, often = ring(1), ring(9)
    assert fit(uniform_pairs(often)).theta == pytest.approx(fit(uniform_pairs(once)).theta, abs=1e-9)
    assert np.abs(fit(often).theta - fit(once).theta).max() > 0.1


def test_equal_weights_change_neither_ratings_nor_errors() -> None:
    plain = fit(chatbot_arena())
    scaled = fit(PairSums.of(chatbot_arena()).times(np.full((1, 1), 7.0)))
    assert scaled.theta == pytest.approx(plain.theta, abs=1e-9)
    assert scaled.covariance == pytest.approx(plain.covariance, rel=1e-6, abs=1e-12)


def test_declared_shares_give_what_votes_in_these_shares_would() -> None:
    english = PairCells.of([("x", "y", (60, 20, 10, 0)), ("y", "z", (30, 30, 0, 0)), ("x", "z", (10, 5, 0, 0))])
    german = PairCells.of([("x", "y", (5, 15, 2, 0)), ("y", "z", (12, 4, 0, 1))])
    mixed = voter_mix({"en": english, "de": german}, {"en": 0.5, "de": 0.5})
    n = english.votes + german.votes
    copies = PairSums.of(english).wins * n / english.votes / 2
    copies += np.pad(PairSums.of(german).wins, 0) * n / german.votes / 2
    assert mixed.wins == pytest.approx(copies)
    assert np.triu(mixed.totals).sum() == pytest.approx(n)
    assert rank_models(mixed).votes < n  # as many equal votes as would be worth the same


def test_a_weighted_board_tells_the_votes_that_were_cast() -> None:
    cells = chatbot_arena()
    plain, weighted = rank_models(cells), rank_models(uniform_pairs(cells))
    assert weighted.votes == plain.votes
    assert {row.model: row.votes for row in weighted.rows} == {row.model: row.votes for row in plain.rows}
    apart = [rank_models(sums, both_bad="apart").votes for sums in (cells, uniform_pairs(cells))]
    assert apart[0] == apart[1] < plain.votes


def test_the_shares_that_the_votes_have_change_nothing() -> None:
    parts = {"en": PairCells.of([("x", "y", (6, 2, 0, 0))]), "de": PairCells.of([("x", "y", (1, 1, 0, 0))])}
    mixed = voter_mix(parts, {"en": 8, "de": 2})
    together = fit(PairCells.of([("x", "y", (7, 3, 0, 0))]))
    assert fit(mixed).theta == pytest.approx(together.theta, abs=1e-12)
    assert fit(mixed).covariance == pytest.approx(together.covariance, abs=1e-12)


def test_a_weighted_error_is_the_one_of_weighted_scores() -> None:
    """Two strata of one pair: var = sum w^2 (y - p)^2 / (sum w p (1 - p))^2, by hand."""
    parts = {"en": PairCells.of([("x", "y", (30, 10, 0, 0))]), "de": PairCells.of([("x", "y", (5, 15, 0, 0))])}
    found = fit(voter_mix(parts, {"en": 0.5, "de": 0.5}))
    w = {"en": 0.5 * 60 / 40, "de": 0.5 * 60 / 20}
    p = (w["en"] * 30 + w["de"] * 5) / 60
    meat = sum(w[k] ** 2 * (a * (1 - p) ** 2 + b * p**2) for k, a, b in (("en", 30, 10), ("de", 5, 15)))
    assert found.theta[0] - found.theta[1] == pytest.approx(np.log(p / (1 - p)))
    assert found.difference_error(0, 1) == pytest.approx(np.sqrt(meat) / (60 * p * (1 - p)))


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"en": 1.0}, "'de' has votes and no declared share"),
        ({"en": 0.5, "de": 0.3, "fr": 0.2}, "'fr' has a share and no votes"),
        ({"en": -1.0, "de": 2.0}, "at least 0"),
        ({"en": 0.0, "de": 0.0}, "not all 0"),
        ({"en": float("nan"), "de": 1.0}, "at least 0"),
    ],
)
def test_shares_that_fit_no_votes_are_refused(shares: dict[str, float], message: str) -> None:
    parts = {"en": PairCells.of([("x", "y", (6, 2, 0, 0))]), "de": PairCells.of([("x", "y", (1, 1, 0, 0))])}
    with pytest.raises(InvalidRequest, match=message):
        voter_mix(parts, shares)


def test_a_share_of_nothing_leaves_its_votes_out() -> None:
    parts = {"en": PairCells.of([("x", "y", (6, 2, 0, 0))]), "bot": PairCells.of([("x", "q", (9, 9, 0, 0))])}
    assert voter_mix(parts, {"en": 1, "bot": 0}).models == ("x", "y")


def test_weights_vote_by_vote_are_those_of_the_sums() -> None:
    votes, worker, _ = llmfao()
    weights = pair_weights(votes)
    wanted = fit(uniform_pairs(votes.cells()))
    silent = Covariates.of(["noise"], np.random.default_rng(0).normal(size=(len(votes), 1)))
    assert fit_style(votes, silent, weights=weights, ridge=1e12).fit.theta == pytest.approx(wanted.theta, abs=1e-6)
    n = len(votes)
    of_one = clustered(wanted, votes, np.arange(n), correction="CR1", weights=weights)
    assert of_one.covariance == pytest.approx(wanted.covariance * n / (n - 1), rel=1e-7, abs=1e-12)
    by_worker = clustered(wanted, votes, worker, weights=weights)
    assert np.diag(by_worker.covariance).mean() > np.diag(wanted.covariance).mean()
