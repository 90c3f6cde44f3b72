"""What a request does to its logits before a token is drawn: penalties, bias, and tokens that may not come.

A `Shape` belongs to one sequence and follows from its parameters and its tokens so far; most sequences have none, and
cost nothing here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from agon.engine.counts import TokenCounts
from agon.engine.guided import Matcher, allowed
from agon.errors import InvalidRequest

_NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Penalties:
    """As in `SamplingParams`."""

    repetition: float = 1.0
    presence: float = 0.0
    frequency: float = 0.0


class Shape:
    """One sequence's logits: what is done to them for its next token."""

    __slots__ = ("answered", "bias", "counts", "end_ids", "matcher", "min_tokens", "penalties")

    def __init__(
        self,
        prompt: Iterable[int],
        penalties: Penalties,
        bias: Mapping[int, float],
        min_tokens: int,
        end_ids: frozenset[int],
        matcher: Matcher | None,
    ) -> None:
        self.penalties = penalties
        self.bias = bias
        self.min_tokens = min_tokens
        self.end_ids = tuple(end_ids)
        self.matcher = matcher
        self.answered = 0
        self.counts: TokenCounts | None = None
        if penalties != Penalties():
            self.counts = TokenCounts(prompt if penalties.repetition != 1 else ())

    def push(self, token: int) -> None:
        """A token of the answer was drawn. Raises `EngineFailed` for one that the guide does not allow."""
        self.answered += 1
        if self.counts is not None:
            self.counts.add(token)
        if self.matcher is not None and token not in self.end_ids:
            self.matcher.push(token)

    @property
    def held_open(self) -> bool:
        """Whether nothing may end the answer yet, for want of tokens."""
        return self.answered < self.min_tokens

    @property
    def complete(self) -> bool:
        """Whether the answer has its form, and nothing can follow."""
        return self.matcher is not None and self.matcher.finished

    @property
    def trouble(self) -> InvalidRequest | None:
        """Why its grammar allows no token at all."""
        return None if self.matcher is None else self.matcher.trouble

    def may_end(self, shown: str, rest: str) -> bool:
        """Whether the answer may end behind all text `shown` here so far and `rest`."""
        return (self.matcher is None or self.matcher.accepts(shown, rest)) and not self.held_open


def shaped(logits: Tensor, shapes: Sequence[Shape | None]) -> Tensor:
    """The logits (rows x vocabulary) that tokens are drawn from, one shape or None a row; `logits` stay as they are."""
    rows = [(row, shape) for row, shape in enumerate(shapes) if shape is not None]
    if not rows:
        return logits
    logits = logits.clone()
    _penalise(logits, [(row, shape.penalties, shape.counts) for row, shape in rows if shape.counts is not None])
    biased = [(row, token, value) for row, shape in rows for token, value in shape.bias.items()]
    if biased:
        at, tokens, values = zip(*biased, strict=True)
        logits.index_put_(_places(logits, at, tokens), logits.new_tensor(values), accumulate=True)
    guided = [(row, shape.matcher, shape.held_open) for row, shape in rows if shape.matcher is not None]
    if guided:
        at, matchers, held_open = zip(*guided, strict=True)
        mask = allowed(matchers, held_open, logits.shape[-1]).to(logits.device)
        picked = torch.tensor(at, device=logits.device)
        logits[picked] = logits[picked].masked_fill_(~mask, _NEVER)
    open_ = [(row, shape) for row, shape in rows if shape.held_open and shape.matcher is None]
    early = [(row, token) for row, shape in open_ for token in shape.end_ids]
    if early:
        at, tokens = zip(*early, strict=True)
        logits[_places(logits, at, tokens)] = _NEVER
    return logits


def _penalise(logits: Tensor, rows: Sequence[tuple[int, Penalties, TokenCounts]]) -> None:
    """Repetition as in Keskar et al., "CTRL", 2019, section 4.1, made symmetric for negative logits as `transformers`
    does; presence and frequency as OpenAI's API defines them, of the answer's tokens only."""
    if not rows:
        return
    lengths = [len(counts.ids) for _, _, counts in rows]

    def each(values: Sequence[float]) -> Tensor:
        return logits.new_tensor(values).repeat_interleave(torch.tensor(lengths, device=logits.device))

    at = _places(
        logits,
        np.repeat([row for row, _, _ in rows], lengths),
        np.concatenate([counts.ids for _, _, counts in rows]),
    )
    times = torch.as_tensor(np.concatenate([counts.counts for _, _, counts in rows]), device=logits.device)
    repetition = each([penalties.repetition for _, penalties, _ in rows])
    values = logits[at]
    values = torch.where(values > 0, values / repetition, values * repetition)
    values -= each([penalties.frequency for _, penalties, _ in rows]) * times
    values -= each([penalties.presence for _, penalties, _ in rows]) * (times > 0)
    logits[at] = values


def _places(logits: Tensor, rows: ArrayLike, tokens: ArrayLike) -> tuple[Tensor, Tensor]:
    return torch.as_tensor(rows, device=logits.device), torch.as_tensor(tokens, device=logits.device)
