"""Where an answer stands in its grammar: which tokens may come next, and whether it may end."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agon.errors import EngineFailed, InvalidRequest

_WORD = 32  # tokens per number of a mask


class Matcher:
    """One answer in one grammar. A function of the tokens pushed so far, so that it can be rebuilt from them anywhere.

    A grammar is over bytes: it does not matter how they are cut into tokens.
    """

    def __init__(self, start: Any, tokenizer: Any, end_ids: frozenset[int], vocabulary: int) -> None:
        """`start` is llguidance's matcher at the beginning of the grammar, which is left as it is, `tokenizer` its view
        of the vocabulary. Where the grammar may end, the `end_ids` may come, and nowhere else."""
        self._state = start.deep_copy()
        self._said = start.deep_copy()
        self._tokenizer = tokenizer
        self._ends = [token for token in end_ids if token < vocabulary]
        self._at_end_only = [token for token in {*end_ids, *tokenizer.eos_tokens} if token < vocabulary]

    @property
    def finished(self) -> bool:
        """Whether the answer is complete and nothing can follow it."""
        return bool(self._state.is_stopped()) and not self._state.is_error()

    @property
    def trouble(self) -> InvalidRequest | None:
        """Why no further token can be told to fit: the grammar needs more work per token than is given to one."""
        if not self._state.is_error():
            return None
        what = " ".join(self._state.get_error().split())[:200]
        return InvalidRequest(
            f"the format of the answer cannot be followed any further: {what}", param="response_format"
        )

    def push(self, token: int) -> None:
        """Raises `EngineFailed` for a token that may not come here."""
        if not self._state.consume_token(token):
            raise EngineFailed(f"the token {token} does not fit the answer's format")

    def accepts(self, shown: str, rest: str) -> bool:
        """Whether the answer would be complete as all the text `shown` here so far, and `rest`. The work is that of the
        new text, however long the answer is."""
        said = self._said
        said.consume_tokens(self._tokenizer.greedy_tokenize(shown))
        tokens = self._tokenizer.greedy_tokenize(rest)
        fitting = said.try_consume_tokens(tokens)
        complete = fitting == len(tokens) and said.is_accepting()
        said.rollback(fitting)
        return bool(complete)

    def fill(self, words: NDArray[np.int32]) -> None:
        """Write which tokens the grammar allows next: the bit of each, `_WORD` to a number, the first in the lowest."""
        self._state.unsafe_compute_mask_ptr(words.ctypes.data, words.nbytes)

    def finish(self, marks: NDArray[np.uint8], *, held_open: bool) -> None:
        """Set right, in the marks of all tokens, those that end an answer: they may come where the grammar may end, and
        if it is to be `held_open`, only where nothing else may. In trouble, no mark is left."""
        marks[self._at_end_only] = 0
        if self._state.is_error():
            marks[:] = 0
        elif self._state.is_accepting() and not (held_open and marks.any()):
            marks[self._ends] = 1


def allowed(matchers: Sequence[Matcher], held_open: Sequence[bool], vocabulary: int) -> Tensor:
    """Which tokens may come next: bool, rows x vocabulary. A row whose matcher is in trouble has none."""
    words = np.zeros((len(matchers), -(-vocabulary // _WORD)), dtype=np.int32)
    for matcher, row in zip(matchers, words, strict=True):
        matcher.fill(row)
    marks = np.unpackbits(words.view(np.uint8), axis=1, count=vocabulary, bitorder="little")
    for matcher, row, open_ in zip(matchers, marks, held_open, strict=True):
        matcher.finish(row, held_open=open_)
    return torch.from_numpy(marks.view(np.bool_))
