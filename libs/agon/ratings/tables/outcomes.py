"""The words that data sets use for the four outcomes."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from agon.errors import InvalidRequest
from agon.ratings.cells import CELL

WORDS: Mapping[str, tuple[str, ...]] = {
    "a": ("a", "model_a", "left", "leftvote", "x", "model_x", "first", "win", "1", "1.0"),
    "b": ("b", "model_b", "right", "rightvote", "y", "model_y", "second", "loss", "0", "0.0"),
    "tie": ("tie", "tievote", "draw", "equal", "0.5"),
    "both_bad": ("both_bad", "bothbad", "both bad", "tie (bothbad)", "tie_bothbad", "bothbad_vote"),
}
"""Outcome to words, compared without case. `1`, `0.5` and `0` are the points of the left model."""

UNKNOWN = -1


def told_words(pairs: Sequence[str]) -> dict[str, str]:
    """Words that a user explains, each `WORD=OUTCOME`. Raises `InvalidRequest` for what is no such pair."""
    told = {}
    for pair in pairs:
        word, _, outcome = pair.rpartition("=")
        if not word or outcome not in CELL:
            raise InvalidRequest(f"{pair!r} should be WORD=OUTCOME, with an outcome of {', '.join(CELL)}", param="word")
        told[word.strip().lower()] = outcome
    return told


def columns_of(words: Sequence[str], told: Mapping[str, str]) -> npt.NDArray[np.int8]:
    """(W,) the column of each word in the pair cells; `UNKNOWN` where nobody knows it."""
    known = {word: outcome for outcome, synonyms in WORDS.items() for word in synonyms} | dict(told)
    found = (known.get(word.strip().lower()) for word in words)
    return np.array([UNKNOWN if outcome is None else CELL[outcome] for outcome in found], dtype=np.int8)
