"""A plan becomes tensors: one packed row of tokens, and who attends to what."""

from collections.abc import Sequence as Rows
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from agon.engine.attention import Span
from agon.engine.kv import KVCache
from agon.engine.scheduler import Piece
from agon.engine.sequence import Sequence

# Four spans of decodes were the best of 1 to 8 for 64 rows on a CPU; below eight rows each, the calls cost more than
# the padding that they save.
_SPANS = 4
_ROWS_PER_SPAN = 8


@dataclass(frozen=True, slots=True)
class Batch:
    """`tokens` and `positions` are packed: `pieces` in this order, each from its place in `starts` on. Logits are
    wanted at `keep`: one for each of `drawing`, in that order, then for each of `scoring` so many, which tell of the
    tokens that come next in its prompt."""

    pieces: tuple[Piece, ...]
    starts: tuple[int, ...]
    tokens: Tensor
    positions: Tensor
    keep: Tensor
    drawing: tuple[Sequence, ...]
    scoring: tuple[tuple[Sequence, int], ...]
    slots: Tensor
    """Where each token's keys and values go."""
    spans: tuple[Span, ...]

    @property
    def decodes(self) -> bool:
        """Whether all of it are decodes."""
        return len(self.tokens) == len(self.keep) == len(self.drawing)


def build(pieces: Rows[Piece], cache: KVCache) -> Batch:
    """Lay out a step's pieces: decodes by context length, then chunks."""
    decodes = sorted((p for p in pieces if p.count == 1), key=lambda p: p.sequence.computed)
    chunks = [p for p in pieces if p.count > 1]
    tokens: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    keep: list[int] = []
    drawing: list[Sequence] = []
    told: list[int] = []
    scoring: list[tuple[Sequence, int]] = []
    starts: list[int] = []
    size, device = cache.page_size, cache.device
    for piece in (*decodes, *chunks):
        starts.append(len(tokens))
        sequence, begin = piece.sequence, piece.sequence.computed
        span = range(begin, begin + piece.count)
        tokens += sequence.tokens[begin : begin + piece.count]
        positions += span
        slots += [sequence.pages[at // size] * size + at % size for at in span]
        if piece.draws:
            keep.append(len(tokens) - 1)
            drawing.append(sequence)
        if sequence.prompt_scores is not None and sequence.unscored:
            # The logits of a token tell of the one behind it. What was computed before a preemption has been told.
            last = min(begin + piece.count, sequence.prompt_length - 1)
            due = range(max(begin + 1, len(sequence.prompt_scores)), last + 1)
            told += [starts[-1] + at - 1 - begin for at in due]
            scoring.append((sequence, len(due)))
    spans = _decode_spans(decodes)
    spans += [_span([piece], start) for piece, start in zip(chunks, starts[len(decodes) :], strict=True)]
    return Batch(
        (*decodes, *chunks),
        tuple(starts),
        torch.tensor(tokens, device=device),
        torch.tensor(positions, device=device),
        torch.tensor(keep + told, dtype=torch.int64, device=device),
        tuple(drawing),
        tuple(scoring),
        torch.tensor(slots, device=device),
        tuple(spans),
    )


def _decode_spans(decodes: Rows[Piece]) -> list[Span]:
    count = max(1, min(_SPANS, len(decodes) // _ROWS_PER_SPAN))
    bounds = [len(decodes) * i // count for i in range(count + 1)]
    return [_span(decodes[start:end], start) for start, end in pairwise(bounds) if start < end]


def _span(pieces: Rows[Piece], start: int) -> Span:
    begins = tuple(piece.sequence.computed for piece in pieces)
    return Span(start, pieces[0].count, begins, tuple(piece.sequence.pages for piece in pieces))
