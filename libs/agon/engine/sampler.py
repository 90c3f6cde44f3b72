"""Draws one token per row, each row by its own parameters, all rows at once.

A draw is Gumbel-max: the argmax over the vocabulary of `logit / temperature + noise`, which is distributed as the
softmax (Gumbel 1954; Maddison et al., "A* Sampling", NeurIPS 2014, section 2). The noise of a token is a hash of (seed,
choice, position, token id), so it depends neither on the batch nor on chance: the same request gives the same tokens
again, and logits that move in their last bits almost never change a draw.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014), as signed numbers.
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64


_CANDIDATES = 128


@dataclass(frozen=True, slots=True)
class Row:
    """How to draw one token. `position` counts the tokens of the answer before it."""

    temperature: float
    top_k: int
    top_p: float
    seed: int
    choice: int
    position: int
    min_p: float = 0.0
    typical_p: float = 1.0

    def limited(self, width: int) -> bool:
        """Whether some tokens of a vocabulary of this width may not be drawn."""
        return self.top_p < 1 or 0 < self.top_k < width or self.min_p > 0 or self.typical_p < 1


def sample(logits: Tensor, rows: Sequence[Row]) -> Tensor:
    """One token id per row of `logits` (rows x vocabulary); int64, -1 where a row holds no usable number.

    Temperature 0 is the argmax (the lowest id among equals). After the temperature come top-k, top-p of what that
    leaves, min-p and typical, in this order.
    """
    best, tokens = logits.amax(-1), _argmax(logits)
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
    width = logits.shape[-1]
    limited = [index for index, row in enumerate(rows) if row.limited(width)]
    if not limited:
        return _best(scores, rows, torch.arange(width, device=logits.device))
    tokens = torch.empty(len(rows), dtype=torch.int64, device=logits.device)
    free = sorted(set(range(len(rows))) - set(limited))
    if free:
        tokens[free] = _best(scores[free], [rows[i] for i in free], torch.arange(width, device=logits.device))
    # Sorting a whole vocabulary is dear, and what is allowed is nearly always among the first few.
    for most in (min(_CANDIDATES, width), width):
        chosen = [rows[index] for index in limited]
        best, ids, complete = _candidates(scores[limited], chosen, most)
        tokens[limited] = _best(best, chosen, ids)
        limited = [index for index, done in zip(limited, complete.tolist(), strict=True) if not done]
        if not limited:
            break
    return tokens


def _argmax(scores: Tensor) -> Tensor:
    """The first of the greatest in each row. On a CPU numpy finds it in a tenth of the time."""
    return torch.from_numpy(scores.numpy().argmax(-1)) if scores.device.type == "cpu" else scores.argmax(-1)


def _best(scores: Tensor, rows: Sequence[Row], ids: Tensor) -> Tensor:
    """The token with the greatest score and noise of each row; `ids` are the tokens of the columns."""
    best = _argmax(scores + gumbel(rows, ids))
    return ids[best] if ids.dim() == 1 else ids.gather(-1, best[:, None])[:, 0]


def _candidates(scores: Tensor, rows: Sequence[Row], most: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `most` best scores, -inf where they may not be drawn, their tokens, and which rows need no more than these.

    At least the best token of a row stays.
    """
    width = scores.shape[-1]
    best, ids = scores.topk(most, dim=-1)
    ranks = torch.arange(most, device=scores.device)

    def each(values: Iterable[float]) -> Tensor:
        return torch.tensor([*values], dtype=scores.dtype, device=scores.device)

    top_k = torch.tensor([row.top_k if 0 < row.top_k < width else width for row in rows], device=scores.device)
    top_p, typical_p = each(row.top_p for row in rows), each(row.typical_p for row in rows)
    # min-p (Nguyen et al., "Turning Up the Heat", 2024) as a distance from the best score
    lowest = each(row.min_p for row in rows).log()
    outside = ranks >= top_k[:, None]
    # The whole that top-p is a share of: what top-k leaves. All of it is here, or else it is the whole vocabulary.
    whole = torch.where(top_k < width, best.masked_fill(outside, float("-inf")).logsumexp(-1), scores.logsumexp(-1))
    probabilities = (best - whole[:, None]).exp()
    reached = probabilities.cumsum(-1)
    outside |= (reached - probabilities >= top_p[:, None]) & (ranks > 0) & (top_p < 1)[:, None]
    distance = best - best[:, :1]
    outside |= distance < lowest[:, None]
    left = best.masked_fill(outside, float("-inf"))
    enough = ((top_p < 1) & (reached[:, -1] >= top_p)) | (distance[:, -1] < lowest)
    complete = ((top_k <= most) | ((top_k == width) & enough)) & (typical_p >= 1)
    if most == width and bool((typical_p < 1).any()):
        left = left.masked_fill(_untypical(left, typical_p), float("-inf"))
    return left, ids, complete | (most == width)


def _untypical(scores: Tensor, mass: Tensor) -> Tensor:
    """Which tokens locally typical sampling leaves out (Meister et al., TACL 2023, section 4): those beyond the ones
    whose surprise is nearest to the entropy and that hold this much probability. None where `mass` is 1."""
    logs = scores.log_softmax(-1)
    probabilities = logs.exp()
    entropy = -(probabilities * logs).nan_to_num(0.0).sum(-1, keepdim=True)
    order = (-logs - entropy).abs().argsort(dim=-1, stable=True)
    ordered = probabilities.gather(-1, order)
    before = ordered.cumsum(-1) - ordered
    out = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, order, before >= mass[:, None])
    return out & (mass < 1)[:, None]


def gumbel(rows: Sequence[Row], ids: Tensor) -> Tensor:
    """Standard Gumbel noise, float64, of the tokens `ids` (columns, or rows x columns): -log(-log(u)), u hashed."""
    state = torch.tensor([row.seed for row in rows], dtype=torch.int64, device=ids.device)
    for part in ([row.choice for row in rows], [row.position for row in rows]):
        state = _mix(state + _GOLDEN) ^ torch.tensor(part, dtype=torch.int64, device=ids.device)
    state = _mix(state + _GOLDEN)
    bits = _shift(_mix(state[:, None] + (ids + 1) * _GOLDEN), 12)
    return bits.to(torch.float64).add_(0.5).mul_(2.0**-52).log_().neg_().log_().neg_()


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


def _shift(x: Tensor, by: int) -> Tensor:
    """A logical shift to the right; torch's own keeps the sign."""
    return (x >> by) & ((1 << (64 - by)) - 1)
