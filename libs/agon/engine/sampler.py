"""Draws one token per row, each row by its own parameters, all rows at once.

A draw is Gumbel-max: the argmax over the vocabulary of `logit / temperature + noise`, which is distributed as the
softmax (Gumbel 1954; Maddison et al., "A* Sampling", NeurIPS 2014, section 2). The noise of a token is a hash of (seed,
choice, position, token id), so it depends neither on the batch nor on chance: the same request gives the same tokens
again, and logits that move in their last bits almost never change a draw.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014), as signed numbers.
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64


@dataclass(frozen=True, slots=True)
class Row:
    """How to draw one token. `position` counts the tokens of the answer before it."""

    temperature: float
    top_k: int
    top_p: float
    seed: int
    choice: int
    position: int


def sample(logits: Tensor, rows: Sequence[Row]) -> Tensor:
    """One token id per row of `logits` (rows x vocabulary); int64, -1 where a row holds no usable number.

    Temperature 0 is the argmax (the lowest id among equals). Top-k comes before top-p, both after the temperature.
    """
    best, tokens = logits.max(dim=-1)
    drawn = [index for index, row in enumerate(rows) if row.temperature > 0]
    if drawn:
        picked = torch.tensor(drawn, device=logits.device)
        chosen = [rows[index] for index in drawn]
        tokens = tokens.index_copy(0, picked, _draw(logits.index_select(0, picked), chosen))
    return torch.where(torch.isfinite(best), tokens, -1)


def _draw(logits: Tensor, rows: Sequence[Row]) -> Tensor:
    temperature = torch.tensor([row.temperature for row in rows], dtype=logits.dtype, device=logits.device)
    # Less the maximum first: a tiny temperature then makes the others -inf, and never the best one infinite.
    scores = (logits - logits.amax(-1, keepdim=True)) / temperature[:, None]
    limited = [index for index, row in enumerate(rows) if row.top_p < 1 or 0 < row.top_k < logits.shape[-1]]
    if limited:
        picked = torch.tensor(limited, device=logits.device)
        kept = _limit(scores.index_select(0, picked), [rows[index] for index in limited])
        scores = scores.index_copy(0, picked, kept)
    return (scores + gumbel(rows, logits.shape[-1], logits.device)).argmax(-1)


def _limit(scores: Tensor, rows: Sequence[Row]) -> Tensor:
    """Scores with -inf outside top-k and top-p. At least the best token stays."""
    width = scores.shape[-1]
    ordered, order = scores.sort(dim=-1, descending=True, stable=True)
    ranks = torch.arange(width, device=scores.device)
    top_k = torch.tensor([row.top_k if row.top_k > 0 else width for row in rows], device=scores.device)
    ordered = ordered.masked_fill(ranks >= top_k[:, None], float("-inf"))
    probabilities = ordered.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    top_p = torch.tensor([row.top_p for row in rows], dtype=scores.dtype, device=scores.device)
    outside = (before >= top_p[:, None]) & (ranks > 0) & (top_p < 1)[:, None]
    ordered = ordered.masked_fill(outside, float("-inf"))
    return torch.full_like(scores, float("-inf")).scatter(-1, order, ordered)


def gumbel(rows: Sequence[Row], vocabulary: int, device: torch.device | str = "cpu") -> Tensor:
    """Standard Gumbel noise, rows x vocabulary, float64: `-log(-log(u))` of 52 hashed bits."""
    state = torch.tensor([row.seed for row in rows], dtype=torch.int64, device=device)
    for part in ([row.choice for row in rows], [row.position for row in rows]):
        state = _mix(state + _GOLDEN) ^ torch.tensor(part, dtype=torch.int64, device=device)
    state = _mix(state + _GOLDEN)
    counter = torch.arange(1, vocabulary + 1, dtype=torch.int64, device=device) * _GOLDEN
    bits = _shift(_mix(state[:, None] + counter[None, :]), 12)
    return (bits.to(torch.float64).add_(0.5).mul_(2.0**-52)).log_().neg_().log_().neg_()


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


def _shift(x: Tensor, by: int) -> Tensor:
    """A logical shift to the right; torch's own keeps the sign."""
    return (x >> by) & ((1 << (64 - by)) - 1)
