"""Covariances that know that one voter's votes, or one prompt's, are not independent."""

import numpy as np
import pytest

from agon.errors import InvalidRequest
from agon.ratings import STYLE, Covariates, Votes, clustered, clustered_style, fit, fit_style
from support.real_votes import llmfao, llmfao_style


def test_clusters_of_one_vote_are_the_plain_sandwich() -> None:
    votes, _, _ = llmfao()
    plain = fit(votes.cells())
    n = len(votes)
    single = clustered(plain, votes, np.arange(n), correction="CR1")
    assert single.covariance == pytest.approx(plain.covariance * n / (n - 1), rel=1e-9, abs=1e-15)
    assert single.degrees == n - 1


def test_cr1_is_written_out_cluster_by_cluster() -> None:
    votes, worker, _ = llmfao()
    found = fit(votes.cells())
    m, g = len(found.models), worker.max() + 1
    scores = np.zeros((g, m))
    for left, right, y, c in zip(votes.left, votes.right, votes.points, worker, strict=True):
        residual = y - 1 / (1 + np.exp(found.theta[right] - found.theta[left]))
        scores[c, left] += residual
        scores[c, right] -= residual
    bread = found.information_inverse
    wanted = g / (g - 1) * bread @ scores.T @ scores @ bread
    assert clustered(found, votes, worker, correction="CR1").covariance == pytest.approx(wanted, rel=1e-9, abs=1e-15)


def test_cr3_is_the_jackknife_over_voters() -> None:
    """Leaving each of the 124 workers out and fitting again: the same errors within 1 %, 5 % for the rarest models."""
    votes, worker, _ = llmfao()
    found = fit(votes.cells())
    g = int(worker.max()) + 1
    moved = np.array([fit(votes.take(worker != c).cells(), found.theta).theta - found.theta for c in range(g)])
    jackknife = np.sqrt((g - 1) / g * (moved**2).sum(axis=0))
    ours = np.sqrt(np.diag(clustered(found, votes, worker).covariance))
    assert ours == pytest.approx(jackknife, rel=0.05)
    assert np.median(np.abs(ours / jackknife - 1)) < 0.01


def test_real_crowd_votes_know_less_than_they_seem_to() -> None:
    """Errors by worker are a quarter larger, by prompt two thirds larger, than if votes were independent."""
    votes, worker, prompt = llmfao()
    found = fit(votes.cells())

    def inflation(*ways: np.ndarray) -> float:
        return float(np.median(np.sqrt(np.diag(clustered(found, votes, *ways).covariance) / np.diag(found.covariance))))

    assert 1.15 < inflation(worker) < 1.35
    assert inflation(prompt) > 1.5
    assert inflation(worker, prompt) > inflation(prompt)
    assert clustered(found, votes, worker, prompt).degrees == 12


def test_two_ways_are_the_sum_less_the_overlap() -> None:
    votes, worker, prompt = llmfao()
    found = fit(votes.cells())
    both = worker * 1000 + prompt
    one, other, shared = (clustered(found, votes, way, correction="CR1").covariance for way in (worker, prompt, both))
    together = clustered(found, votes, worker, prompt, correction="CR1").covariance
    values, vectors = np.linalg.eigh(one + other - shared)
    assert together == pytest.approx((vectors * np.maximum(values, 0)) @ vectors.T, abs=1e-12)
    assert np.linalg.eigvalsh(together).min() > -1e-12


@pytest.mark.parametrize("correction", ["CR1", "CR3"])
def test_blocks_of_clusters_change_nothing(correction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    votes, worker, _ = llmfao()
    found = fit(votes.cells())
    once = clustered(found, votes, worker, correction=correction)
    monkeypatch.setattr("agon.ratings.clusters._BLOCK", 500)
    assert clustered(found, votes, worker, correction=correction).covariance == pytest.approx(
        once.covariance, abs=1e-12
    )


def test_order_of_votes_and_names_of_clusters_do_not_matter() -> None:
    votes, worker, _ = llmfao()
    found = fit(votes.cells())
    order = np.random.default_rng(0).permutation(len(votes))
    renamed = 10**12 - worker
    once = clustered(found, votes, worker).covariance
    assert clustered(found, votes.take(order), renamed[order]).covariance == pytest.approx(once, abs=1e-12)


def test_effects_of_style_are_clustered_too() -> None:
    votes, worker, _ = llmfao()
    left, right = llmfao_style()
    covariates = Covariates.of_sides(STYLE, left, right)
    plain = fit_style(votes, covariates)
    n = len(votes)
    single = clustered_style(plain, votes, covariates, np.arange(n), correction="CR1")
    assert single.covariance == pytest.approx(plain.covariance * n / (n - 1), rel=1e-7, abs=1e-12)
    by_worker = clustered_style(plain, votes, covariates, worker)
    assert (by_worker.effect_errors > plain.effect_errors).sum() >= 3
    assert by_worker.fit.covariance == pytest.approx(by_worker.covariance[:-5, :-5])
    assert by_worker.fit.degrees == 123


def test_a_cluster_that_alone_holds_the_graph_together_is_not_blown_up() -> None:
    votes = Votes.encode(
        ["x", "x", "y", "y", "x", "y"] * 3, ["y", "y", "z", "z", "y", "z"] * 3, ["a", "b", "a", "b", "b", "a"] * 3
    )
    bridge = np.array([0, 1, 9, 9, 2, 9] * 3)  # voter 9 alone saw z
    found = clustered(fit(votes.cells()), votes, bridge)
    assert np.isfinite(found.covariance).all()
    assert np.diag(found.covariance).max() < 100


def test_clusters_that_are_none_are_refused() -> None:
    votes, worker, _ = llmfao()
    found = fit(votes.cells())
    with pytest.raises(InvalidRequest, match="at least two clusters"):
        clustered(found, votes, np.zeros(len(votes), dtype=int))
    with pytest.raises(InvalidRequest, match="codes do not fit"):
        clustered(found, votes, worker[:-1])
    with pytest.raises(InvalidRequest, match="one or by two"):
        clustered(found, votes)
    with pytest.raises(InvalidRequest, match="not between the fit's models"):
        clustered(found, votes.between(votes.models[:5])[0], worker)
