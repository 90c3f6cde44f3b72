"""Runs the model on a plan: tensors in, logits out, keys and values in the cache."""

from collections.abc import Callable
from collections.abc import Sequence as Many
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from agon.engine.attention import Attention, PagedAttention
from agon.engine.batch import Inputs, build
from agon.engine.flex import BLOCK, FlexAttention, Table
from agon.engine.graphs import DecodeGraphs
from agon.engine.kv import KVCache
from agon.engine.lanes import Lanes
from agon.engine.memory import keep_freed
from agon.engine.model import LanguageModel
from agon.engine.params import Limits
from agon.engine.ranks import Ranks
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
    """One model, or a rank's part of it, and its cache. On a GPU attention is FlexAttention, and decode steps are CUDA
    graphs."""

    def __init__(self, model: LanguageModel, limits: Limits, ranks: Ranks | None = None) -> None:
        """`ranks` have the other parts of the model. Raises `SetupError` when the cache is too small for a page."""
        wanted = min(limits.context_length or model.context_length, model.context_length)
        shape = model.cache_shape
        useful = limits.max_sequences * -(-wanted // limits.page_size)
        pages = shape.pages_within(limits.kv_cache_bytes, limits.page_size, useful)
        self.context_length = min(wanted, pages * limits.page_size)
        """The most tokens of prompt and answer together."""
        self.model = model
        self.cache = KVCache(shape, pages, limits.page_size, model.device)
        self.flex: Callable[..., Any] | None = None
        """FlexAttention, where it is used."""
        self._graphs: DecodeGraphs | None = None
        if model.device.type == "cuda":
            self.flex = torch.compile(flex_attention)
            width = -(-self.context_length // limits.page_size)
            self._graphs = DecodeGraphs(model, self.cache, limits.max_sequences, width, self.flex)
        self._lanes = Lanes(self.cache)
        self._slots = AdapterSlots(model.linears, limits.adapter_slots)
        self._ranks = ranks
        torch.set_num_threads(limits.threads)
        if model.device.type == "cpu":
            keep_freed()

    def run(self, pieces: Many[Piece], dirty: list[int]) -> Computed:
        """Clear the `dirty` pages, then compute all pieces at once. Raises `EngineFailed` when a rank is lost."""
        # Lanes stay from step to step, and other ranks know this step alone.
        batch = build(pieces, self.cache.page_size, None if self.flex or self._ranks else self._lanes)
        rows = [Rows(at, p.count, p.sequence.adapter) for p, at in zip(batch.pieces, batch.starts, strict=True)]
        self._slots.prepare(rows, self.model.device)
        with self._ranks.step(batch.inputs, dirty) if self._ranks else nullcontext():
            logits, finite = self.compute(batch.inputs, dirty)
            whole = bool(finite.all())
        broken: tuple[Piece, ...] = ()
        if not whole:
            each = finite.tolist()
            broken = tuple(
                p for p, at in zip(batch.pieces, batch.starts, strict=True) if not all(each[at : at + p.count])
            )
        drawn = len(batch.drawing)
        scores = torch.split(logits[drawn:], [count for _, count in batch.scoring])
        scoring = tuple((sequence, rows) for (sequence, _), rows in zip(batch.scoring, scores, strict=True))
        return Computed(logits[:drawn], batch.drawing, scoring, broken)

    def compute(self, inputs: Inputs, dirty: list[int]) -> tuple[Tensor, Tensor]:
        """Clear the `dirty` pages; then as `LanguageModel.forward`. All ranks do so at the same time."""
        if dirty:
            self.cache.clear(dirty)
        replayed = self._graphs.run(inputs) if self._graphs and inputs.decodes else None
        return replayed or self._forward(inputs.on(self.cache.device))

    def rest(self) -> None:
        """Nothing runs: give back the memory that only running sequences need."""
        self._lanes.clear()

    def _forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        attention: Attention
        if self.flex:
            tables = [Table.of(span, self.cache.device) for span in inputs.spans]
            attention = FlexAttention(self.cache, inputs.slots, tables, self.flex)
        else:
            attention = PagedAttention(self.cache, inputs.slots, inputs.lanes, inputs.spans)
        return self.model.forward(inputs.tokens, inputs.positions, inputs.keep, attention)
