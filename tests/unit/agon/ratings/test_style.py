"""Covariates: what they are, and ratings with them held equal."""

import numpy as np
import pytest
from scipy.optimize import minimize

from agon.errors import InvalidRequest
from agon.ratings import STYLE, Covariates, PairCells, Votes, fit, fit_style, style_of
from support.real_votes import llmfao, llmfao_style


def biased_votes(n: int, effects: np.ndarray, seed: int, m: int = 6) -> tuple[Votes, np.ndarray, np.ndarray]:
    """Votes moved by covariates that go with the model: stronger models also write longer."""
    print("seed", seed)
    rng = np.random.default_rng(seed)
    theta = np.linspace(-1, 1, m)
    left = rng.integers(0, m, n)
    right = (left + rng.integers(1, m, n)) % m
    z = rng.normal(size=(n, len(effects))) + 0.5 * (theta[left] - theta[right])[:, None]
    p = 1 / (1 + np.exp(-(theta[left] - theta[right] + z @ effects)))
    outcome = np.where(rng.random(n) < p, 0, 1)
    return Votes(tuple(f"m{i}" for i in range(m)), left, right, outcome), z, theta


def test_scipy_finds_the_same_joint_maximum_and_the_sandwich_is_written_out() -> None:
    votes, z, _ = biased_votes(600, np.array([0.5, -0.3]), seed=1, m=4)
    votes = Votes(votes.models, votes.left, votes.right, np.where(np.arange(600) % 5 == 0, 2, votes.outcome))
    covariates = Covariates.of(["u", "v"], z)
    weights = np.linspace(0.5, 2, 600)
    ours = fit_style(votes, covariates, weights=weights, ridge=3.0)
    design = np.zeros((600, 4))
    design[np.arange(600), votes.left] += 1
    design[np.arange(600), votes.right] -= 1
    design = np.hstack([design[:, 1:], covariates.values])

    def loss(b: np.ndarray) -> tuple[float, np.ndarray]:
        d = design @ b
        p = 1 / (1 + np.exp(-d))
        value = np.sum(weights * (np.logaddexp(0, d) - votes.points * d)) + 1.5 * np.sum(b[3:] ** 2)
        slope = design.T @ (weights * (p - votes.points))
        slope[3:] += 3.0 * b[3:]
        return float(value), slope

    found = minimize(loss, np.zeros(5), jac=True, method="BFGS", options={"gtol": 1e-9}).x
    theta = np.concatenate([[0.0], found[:3]])
    assert ours.fit.theta == pytest.approx(theta - theta.mean(), abs=1e-8)
    assert ours.effects == pytest.approx(found[3:], abs=1e-8)
    p = 1 / (1 + np.exp(-design @ found))
    bread = (design * (weights * p * (1 - p))[:, None]).T @ design + np.diag([0, 0, 0, 3.0, 3.0])
    meat = (design * ((weights * (votes.points - p)) ** 2)[:, None]).T @ design
    covariance = np.linalg.inv(bread) @ meat @ np.linalg.inv(bread)
    assert ours.effect_errors == pytest.approx(np.sqrt(np.diag(covariance)[3:]), rel=1e-8)
    v = ours.fit.covariance
    assert v[1, 1] + v[0, 0] - 2 * v[0, 1] == pytest.approx(covariance[0, 0], rel=1e-8)
    assert ours.fit.gradient < 1e-9


def test_style_that_strong_models_share_no_longer_counts_for_them() -> None:
    votes, z, theta = biased_votes(40_000, np.array([0.8]), seed=2)
    plain = fit(votes.cells()).theta
    ours = fit_style(votes, Covariates.of(["length"], z, centre=np.zeros(1), spread=np.ones(1)))
    assert ours.effects[0] == pytest.approx(0.8, abs=0.06)
    assert ours.fit.theta == pytest.approx(theta, abs=0.1)
    assert plain[-1] - plain[0] > theta[-1] - theta[0] + 0.3


def test_a_mirrored_table_has_the_opposite_position_effect_and_the_same_ratings() -> None:
    votes, _, _ = llmfao()
    here = fit_style(votes, Covariates.position(len(votes)))
    swapped = Votes(votes.models, votes.right, votes.left, np.array([1, 0, 2, 3])[votes.outcome])
    there = fit_style(swapped, Covariates.position(len(votes)))
    assert here.effects == pytest.approx(-there.effects, abs=1e-9)
    assert here.fit.theta == pytest.approx(there.fit.theta, abs=1e-9)
    assert here.effects[0] > 4 * here.effect_errors[0] > 0  # the left answer did gain from its place


def test_position_bias_is_found_and_removed() -> None:
    rng = np.random.default_rng(3)
    n, theta = 60_000, np.array([-0.5, 0.0, 0.5])
    left = rng.integers(0, 3, n)
    right = (left + 1 + (rng.random(n) < 0.2)) % 3  # x mostly stands left of y: bias does not average out
    p = 1 / (1 + np.exp(-(theta[left] - theta[right] + 0.4)))
    votes = Votes(("x", "y", "z"), left, right, np.where(rng.random(n) < p, 0, 1))
    ours = fit_style(votes, Covariates.position(n))
    assert ours.effects[0] == pytest.approx(0.4, abs=0.05)
    assert ours.fit.theta == pytest.approx(theta, abs=0.05)


def test_the_order_of_rows_changes_nothing_that_can_be_seen() -> None:
    """Sums of floats depend on their order in the last digits: 1e-9 log-odds are promised."""
    votes, _, _ = llmfao()
    left, right = llmfao_style()
    order = np.random.default_rng(0).permutation(len(votes))
    once = fit_style(votes, Covariates.of_sides(STYLE, left, right))
    again = fit_style(votes.take(order), Covariates.of_sides(STYLE, left[order], right[order]))
    assert again.fit.theta == pytest.approx(once.fit.theta, abs=1e-9)
    assert again.effects == pytest.approx(once.effects, abs=1e-9)
    assert again.covariance == pytest.approx(once.covariance, abs=1e-9)


def test_normalisation_is_the_fields_and_can_be_kept() -> None:
    left, right = np.array([[3.0, 0], [1, 0], [5, 2]]), np.array([[1.0, 0], [1, 4], [0, 2]])
    made = Covariates.of_sides(["length", "lists"], left, right)
    raw = np.array([[0.5, 0], [0, -1], [1, 0]])
    assert made.values == pytest.approx((raw - raw.mean(axis=0)) / raw.std(axis=0))
    kept = Covariates.of_sides(["length", "lists"], left[:1], right[:1], centre=made.centre, spread=made.spread)
    assert kept.values == pytest.approx(made.values[:1])
    both = made.beside(Covariates.position(3))
    assert both.names == ("length", "lists", "position")
    assert both.values[:, 2].tolist() == [1, 1, 1]


def test_what_can_not_be_controlled_for_is_named() -> None:
    with pytest.raises(InvalidRequest, match="row 1: v is nan"):
        Covariates.of(["u", "v"], np.array([[1, 2], [2, np.nan]]))
    with pytest.raises(InvalidRequest, match="column u is the same in every vote"):
        Covariates.of(["u"], np.ones((3, 1)))
    with pytest.raises(InvalidRequest, match="do not fit"):
        Covariates.of(["u", "v"], np.ones((3, 1)))
    votes, z, _ = biased_votes(300, np.array([0.1]), seed=5)
    twice = Covariates.of(["u", "v"], np.hstack([z, z]))
    with pytest.raises(InvalidRequest, match="say the same"):
        fit_style(votes, twice)
    bad = np.ones(300)
    bad[7] = np.nan
    with pytest.raises(InvalidRequest, match="row 7: the weight nan"):
        fit_style(votes, Covariates.of(["u"], z), weights=bad)
    with pytest.raises(InvalidRequest, match="weights of shape"):
        fit_style(votes, Covariates.of(["u"], z), weights=bad[1:])
    with pytest.raises(InvalidRequest, match="299 rows of covariates do not fit 300 votes"):
        fit_style(votes, Covariates.position(299))
    with pytest.raises(InvalidRequest, match="no finite ratings"):
        fit_style(Votes.encode(["x"], ["y"], ["a"]), Covariates.position(1))


def test_style_is_read_from_markdown() -> None:
    text = (
        "# Title\n\nSome **bold** and __more__ `code`.\n\n* one\n- two\n1. three\n   2) four\n"
        "```py\n# no header\n* no item **no bold**\n```\n## Second\n2 ** 3 ** 4 snake__case__name #no\n"
    )
    counts = dict(zip(STYLE, style_of([text])[0].tolist(), strict=True))
    assert counts == {"length": len(text), "headers": 2, "lists": 4, "bold": 2, "code": 2}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", (0, 0, 0, 0)),
        ("```\n# inside, never closed\n- item", (0, 0, 0, 1)),
        ("~~~\n- x\n~~~\n- y", (0, 1, 0, 1)),
        ("**two**, **words**", (0, 0, 2, 0)),
        ("-no item\n#no header\n1.no item", (0, 0, 0, 0)),
        ("`**code**`", (0, 0, 0, 1)),
    ],
)
def test_small_texts(text: str, wanted: tuple[int, ...]) -> None:
    assert tuple(style_of([text])[0][1:].astype(int)) == wanted


def test_no_texts_are_no_rows() -> None:
    assert style_of([]).shape == (0, 5)


def test_a_fit_over_cells_and_one_over_rows_agree() -> None:
    """With a covariate that says nothing the ratings are those of the cells."""
    votes, _, _ = llmfao()
    silent = Covariates.of(["noise"], np.random.default_rng(0).normal(size=(len(votes), 1)))
    ours = fit_style(votes, silent)
    cells: PairCells = votes.cells()
    assert ours.fit.theta == pytest.approx(fit(cells).theta, abs=0.02)
    assert np.diag(ours.fit.covariance) == pytest.approx(np.diag(fit(cells).covariance), rel=0.02)
