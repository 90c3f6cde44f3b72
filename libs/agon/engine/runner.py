"""Runs the model on a plan: tensors in, logits out, keys and values in the cache."""

from collections.abc import Callable
from collections.abc import Sequence as Many
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from agon.engine.attention import Attention, PagedAttention
from agon.engine.batch import Batch, build
from agon.engine.flex import BLOCK, FlexAttention, Table
from agon.engine.graphs import DecodeGraphs
from agon.engine.kv import KVCache
from agon.engine.lanes import Lanes
from agon.engine.model import LanguageModel
from agon.engine.params import Limits
from agon.engine.scheduler import Piece
from agon.engine.sequence import Sequence
from agon.engine.slots import AdapterSlots, Rows


def dtype_for(device: str) -> str:
    """What a model runs in unless told otherwise. bfloat16 halves a GPU's work and multiplies that of most CPUs."""
    return "float32" if device == "cpu" else "bfloat16"


def limits_for(device: str, limits: Limits) -> Limits:
    """The limits with the page size that the device's attention takes."""
    if device == "cpu":
        return limits
    return replace(limits, page_size=-(-limits.page_size // BLOCK) * BLOCK)


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
    """One model and its cache. On a GPU attention is FlexAttention, and decode steps are CUDA graphs."""

    def __init__(
        self, model: LanguageModel, cache: KVCache, adapter_slots: int, max_sequences: int, context_length: int
    ) -> None:
        self.model = model
        self.cache = cache
        self.flex: Callable[..., Any] | None = None
        """FlexAttention, where it is used."""
        self._graphs: DecodeGraphs | None = None
        if model.device.type == "cuda":
            self.flex = torch.compile(flex_attention)
            width = -(-context_length // cache.page_size)
            self._graphs = DecodeGraphs(model, cache, max_sequences, width, self.flex)
        self._lanes = Lanes(cache)
        self._slots = AdapterSlots(model.linears, adapter_slots)

    def run(self, pieces: Many[Piece], dirty: list[int]) -> Computed:
        """Clear the `dirty` pages, then compute all pieces at once."""
        if dirty:
            self.cache.clear(dirty)
        batch = build(pieces, self.cache, None if self.flex else self._lanes)
        rows = [Rows(at, p.count, p.sequence.adapter) for p, at in zip(batch.pieces, batch.starts, strict=True)]
        self._slots.prepare(rows, self.model.device)
        adapted = any(piece.sequence.adapter for piece in pieces)
        logits, finite = (None if adapted else self._replay(batch)) or self._forward(batch)
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

    def rest(self) -> None:
        """Nothing runs: give back the memory that only running sequences need."""
        self._lanes.clear()

    def _replay(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        return self._graphs.run(batch) if self._graphs and batch.decodes else None

    def _forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        attention: Attention
        if self.flex:
            tables = [Table.of(span, self.cache.device) for span in batch.spans]
            attention = FlexAttention(self.cache, batch.slots, tables, self.flex)
        else:
            attention = PagedAttention(self.cache, batch.slots, batch.lanes, batch.spans)
        return self.model.forward(batch.tokens, batch.positions, batch.keep, attention)
