"""Which tokens a sequence has, and how often: kept as it grows, in arrays that a batch can put end to end."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_LEAST = 64


class TokenCounts:
    """Distinct tokens in the order they first came, with how often they were added."""

    def __init__(self, seen: Iterable[int] = ()) -> None:
        """`seen` are there from the beginning, and were added no times."""
        known = list(dict.fromkeys(seen))
        self._places = {token: place for place, token in enumerate(known)}
        size = max(_LEAST, 2 * len(known))
        self._ids = np.zeros(size, dtype=np.int64)
        self._ids[: len(known)] = known
        self._counts = np.zeros(size, dtype=np.int64)

    def add(self, token: int) -> None:
        place = self._places.setdefault(token, len(self._places))
        if place == len(self._ids):
            self._ids = np.concatenate([self._ids, np.zeros_like(self._ids)])
            self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
        self._ids[place] = token
        self._counts[place] += 1

    @property
    def ids(self) -> NDArray[np.int64]:
        return self._ids[: len(self._places)]

    @property
    def counts(self) -> NDArray[np.int64]:
        """How often each of `ids` was added."""
        return self._counts[: len(self._places)]
