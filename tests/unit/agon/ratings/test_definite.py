"""The inverse by halves is the inverse, however large and however badly conditioned."""

import numpy as np
import pytest

from agon.ratings.definite import inverse_of


@pytest.mark.parametrize("m", [1, 2, 63, 65, 130, 301])
def test_it_is_the_inverse(m: int) -> None:
    root = np.random.default_rng(m).normal(size=(m, m))
    matrix = root @ root.T + np.eye(m)
    assert inverse_of(matrix) == pytest.approx(np.linalg.inv(matrix), abs=1e-11)
    assert inverse_of(matrix) @ matrix == pytest.approx(np.eye(m), abs=1e-9)


@pytest.mark.parametrize("condition", [1e4, 1e8, 1e12])
def test_a_badly_conditioned_matrix_loses_no_more_than_by_the_general_way(condition: float) -> None:
    rng = np.random.default_rng(7)
    vectors = np.linalg.qr(rng.normal(size=(150, 150)))[0]
    matrix = (vectors * np.geomspace(1, 1 / condition, 150)) @ vectors.T
    matrix = (matrix + matrix.T) / 2
    off, general = (np.abs(found @ matrix - np.eye(150)).max() for found in (inverse_of(matrix), np.linalg.inv(matrix)))
    assert off < max(10 * general, 1e-9)


def test_a_singular_matrix_is_refused() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        inverse_of(np.zeros((130, 130)))
