"""Runs the model on a plan: tensors in, logits out, keys and values in the cache."""

from collections.abc import Sequence as Many
from dataclasses import dataclass

import torch
from torch import Tensor

from agon.engine.batch import build
from agon.engine.kv import KVCache
from agon.engine.model import LanguageModel
from agon.engine.scheduler import Piece
from agon.engine.sequence import Sequence
from agon.engine.slots import AdapterSlots, Rows


@dataclass(frozen=True, slots=True)
class Computed:
    """What a step's forward pass gave: `logits`, a row for each of `drawing` in that order; the rows that score tokens
    of `scoring`'s prompts; and the `broken` pieces: those with a token whose output is not a number, and whose keys and
    values may not be one either."""

    logits: Tensor
    drawing: tuple[Sequence, ...]
    scoring: tuple[tuple[Sequence, Tensor], ...]
    broken: tuple[Piece, ...]


class Runner:
    """One model and its cache."""

    def __init__(self, model: LanguageModel, cache: KVCache, adapter_slots: int) -> None:
        self.model = model
        self.cache = cache
        self._slots = AdapterSlots(model.linears, adapter_slots)

    def run(self, pieces: Many[Piece], dirty: list[int]) -> Computed:
        """Clear the `dirty` pages, then compute all pieces at once."""
        if dirty:
            self.cache.clear(dirty)
        batch = build(pieces, self.cache)
        rows = [Rows(at, p.count, p.sequence.adapter) for p, at in zip(batch.pieces, batch.starts, strict=True)]
        self._slots.prepare(rows, self.model.device)
        logits, finite = self.model.forward(batch.tokens, batch.positions, batch.keep, batch.paged)
        broken: tuple[Piece, ...] = ()
        if not finite.all():
            whole = finite.tolist()
            broken = tuple(
                p for p, at in zip(batch.pieces, batch.starts, strict=True) if not all(whole[at : at + p.count])
            )
        drawn = len(batch.drawing)
        scores = torch.split(logits[drawn:], [count for _, count in batch.scoring])
        scoring = tuple((sequence, rows) for (sequence, _), rows in zip(batch.scoring, scores, strict=True))
        return Computed(logits[:drawn], batch.drawing, scoring, broken)
