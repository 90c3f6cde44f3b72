"""The two quantiles that intervals need, without scipy."""

import math
from statistics import NormalDist

import numpy as np

from agon.errors import InvalidRequest
from agon.ratings.cells import Array

_NORMAL = NormalDist()


def normal_cdf(x: Array) -> Array:
    """The standard normal distribution function, for an array of any shape."""
    flat = [0.5 * math.erfc(-value / math.sqrt(2)) for value in np.ravel(x).tolist()]
    return np.array(flat).reshape(np.shape(x))


def tail_of(level: float) -> float:
    """What an interval of this level leaves out on either side. Raises `InvalidRequest` outside (0, 1)."""
    if not 0 < level < 1:
        raise InvalidRequest(f"an interval's level lies between 0 and 1: {level}", param="level")
    return (1 - level) / 2


def two_sided(level: float, degrees: float = math.inf) -> float:
    """How many standard errors an interval of this level reaches to either side.

    Student's t with `degrees` of freedom, normal for infinitely many. Raises `InvalidRequest` for a level outside
    (0, 1), and for fewer than one degree of freedom.
    """
    tail = tail_of(level)
    if not degrees >= 1:
        raise InvalidRequest(f"an interval needs at least two clusters: {degrees:g} degrees of freedom")
    z = -_NORMAL.inv_cdf(tail)
    if math.isinf(degrees):
        return z
    low, high = z, 2 * z + 1
    while _t_tail(high, degrees) > tail:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_tail(middle, degrees) > tail else (low, middle)
    return (low + high) / 2


def _t_tail(t: float, degrees: float) -> float:
    """P(T > t), t > 0: half of the regularised incomplete beta function I_x(n/2, 1/2), x = n / (n + t^2)."""
    x = degrees / (degrees + t * t)
    return _incomplete_beta(x, degrees / 2, 0.5) / 2


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """I_x(a, b) by its continued fraction (Lentz; Numerical Recipes, 3rd ed., section 6.4)."""
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 300):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / (1 + term * d)
            c = 1 + term / c
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * fraction / a
