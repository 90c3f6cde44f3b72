"""Decode steps on a GPU as CUDA graphs: the same kernels on the same memory, launched as one.

A graph is for a fixed number of rows. A step with fewer is padded: the rows behind write to the padding page, and what
they say is dropped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from agon.engine.batch import Inputs
from agon.engine.flex import FlexAttention, Table
from agon.engine.kv import KVCache
from agon.engine.model import LanguageModel


def graph_sizes(most: int) -> list[int]:
    """Rows to have graphs for: 1, 2, 4, multiples of 8, and `most`."""
    return [size for size in (1, 2, 4) if size < most] + [*range(8, most, 8), most]


def size_for(rows: int, sizes: Sequence[int]) -> int | None:
    """The smallest graph that these rows fit, None when there is none."""
    return next((size for size in sizes if size >= rows), None)


class PaddedDecodes:
    """The inputs of `size` decodes in memory that stays where it is."""

    def __init__(self, size: int, width: int, cache: KVCache, compiled: Callable[..., Any]) -> None:
        """`width` is the most pages of a sequence."""
        self.tokens, self.positions, self.slots = torch.zeros((3, size), dtype=torch.int64, device=cache.device)
        self.pages = torch.zeros((size, width), dtype=torch.int64, device=cache.device)
        self.keep = torch.arange(size, device=cache.device)
        table = Table(0, 1, self.pages, self.positions)
        self.attention = FlexAttention(cache, self.slots, (table,), compiled)

    def fill(self, inputs: Inputs) -> None:
        """Take decodes, at most `size`, that are in no lanes."""
        rows = len(inputs.tokens)
        for static, given in (
            (self.tokens, inputs.tokens),
            (self.positions, inputs.positions),
            (self.slots, inputs.slots),
        ):
            static.zero_()
            static[:rows] = given
        width = self.pages.shape[1]
        [span] = inputs.spans
        pages = [[*own, *[0] * (width - len(own))] for own in span.pages]
        self.pages.zero_()
        self.pages[:rows] = torch.tensor(pages).to(self.pages.device, non_blocking=True)

    def forward(self, model: LanguageModel) -> tuple[Tensor, Tensor]:
        """As `LanguageModel.forward`, for all rows with the padding."""
        self.attention.forget()
        return model.forward(self.tokens, self.positions, self.keep, self.attention)


@dataclass(frozen=True, slots=True)
class _Captured:
    inputs: PaddedDecodes
    graph: torch.cuda.CUDAGraph
    logits: Tensor
    finite: Tensor


class DecodeGraphs:
    """Graphs of one model, captured when a size is first needed. On CUDA only."""

    def __init__(
        self, model: LanguageModel, cache: KVCache, most: int, width: int, compiled: Callable[..., Any]
    ) -> None:
        self._model = model
        self._cache = cache
        self._width = width
        self._compiled = compiled
        self._sizes = graph_sizes(most)
        self._captured: dict[int, _Captured] = {}

    def run(self, inputs: Inputs) -> tuple[Tensor, Tensor] | None:
        """What `LanguageModel.forward` gives for decodes; None when no graph is large enough. The next run
        overwrites it."""
        rows = len(inputs.tokens)
        size = size_for(rows, self._sizes)
        if size is None:
            return None
        if size not in self._captured:
            self._captured[size] = self._capture(size, inputs)
        captured = self._captured[size]
        captured.inputs.fill(inputs)
        captured.graph.replay()
        return captured.logits[:rows], captured.finite[:rows]

    def _capture(self, size: int, inputs: Inputs) -> _Captured:
        padded = PaddedDecodes(size, self._width, self._cache, self._compiled)
        padded.fill(inputs)
        # Compile and allocate on another stream first, as capturing demands.
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(2):
                padded.forward(self._model)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits, finite = padded.forward(self._model)
        return _Captured(padded, graph, logits, finite)
