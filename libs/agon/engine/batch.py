"""A plan becomes tensors: one packed row of tokens, and who attends to what."""

from collections.abc import Sequence as Rows
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from agon.engine.attention import Span
from agon.engine.lanes import Lane, Lanes
from agon.engine.scheduler import Piece
from agon.engine.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a forward pass is given. `tokens` and `positions` are packed; logits are wanted at `keep`."""

    tokens: Tensor
    positions: Tensor
    keep: Tensor
    slots: Tensor
    """Where each token's keys and values go."""
    lanes: tuple[Lane, ...]
    """The decodes, in this order; none where they are one of the spans."""
    spans: tuple[Span, ...]
    """The rest of the pieces."""
    decodes: bool
    """Whether all of it are decodes, and none is adapted."""

    def on(self, device: torch.device) -> Self:
        """The same with its tensors there."""
        tensors = {name: getattr(self, name).to(device) for name in ("tokens", "positions", "keep", "slots")}
        return replace(self, **tensors)


@dataclass(frozen=True, slots=True)
class Batch:
    """A plan's `pieces` in the order of the inputs, each from its place in `starts` on. Logits are wanted one for each
    of `drawing`, in that order, then for each of `scoring` so many, which tell of the tokens that come next in its
    prompt."""

    inputs: Inputs
    pieces: tuple[Piece, ...]
    starts: tuple[int, ...]
    drawing: tuple[Sequence, ...]
    scoring: tuple[tuple[Sequence, int], ...]


def build(pieces: Rows[Piece], page_size: int, lanes: Lanes | None = None) -> Batch:
    """Lay out a step's pieces: decodes in their lanes, or as one span where there are none, then chunks."""
    decodes = [p for p in pieces if p.count == 1]
    chunks = [p for p in pieces if p.count > 1]
    arranged = lanes.arrange([piece.sequence for piece in decodes]) if lanes else []
    if arranged:
        decodes = [Piece(sequence, 1) for lane in arranged for sequence in lane.sequences]
    tokens: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    keep: list[int] = []
    drawing: list[Sequence] = []
    told: list[int] = []
    scoring: list[tuple[Sequence, int]] = []
    starts: list[int] = []
    for piece in (*decodes, *chunks):
        starts.append(len(tokens))
        sequence, begin = piece.sequence, piece.sequence.computed
        span = range(begin, begin + piece.count)
        tokens += sequence.tokens[begin : begin + piece.count]
        positions += span
        slots += [sequence.pages[at // page_size] * page_size + at % page_size for at in span]
        if piece.draws:
            keep.append(len(tokens) - 1)
            drawing.append(sequence)
        if sequence.prompt_scores is not None and sequence.unscored:
            # The logits of a token tell of the one behind it. What was computed before a preemption has been told.
            last = min(begin + piece.count, sequence.prompt_length - 1)
            due = range(max(begin + 1, len(sequence.prompt_scores)), last + 1)
            told += [starts[-1] + at - 1 - begin for at in due]
            scoring.append((sequence, len(due)))
    spans = [_span(decodes, 0)] if decodes and not arranged else []
    spans += [_span([piece], start) for piece, start in zip(chunks, starts[len(decodes) :], strict=True)]
    inputs = Inputs(
        torch.tensor(tokens),
        torch.tensor(positions),
        torch.tensor(keep + told, dtype=torch.int64),
        torch.tensor(slots),
        tuple(arranged),
        tuple(spans),
        decodes=len(tokens) == len(keep) == len(keep + told) and not any(piece.sequence.adapter for piece in pieces),
    )
    return Batch(inputs, (*decodes, *chunks), tuple(starts), tuple(drawing), tuple(scoring))


def _span(pieces: Rows[Piece], start: int) -> Span:
    begins = tuple(piece.sequence.computed for piece in pieces)
    return Span(start, pieces[0].count, begins, tuple(piece.sequence.pages for piece in pieces))
