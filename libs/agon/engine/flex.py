"""Attention on a GPU: torch's FlexAttention reads the pages where they are, by a table of blocks.

The cache as a whole is one long row of keys, of which each sequence sees its own pages. The same seam as
`attention.PagedAttention`, and the same answers; everything here is computed on the device, so that a decode step can
be captured as a CUDA graph and replayed with other tables.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from agon.engine.attention import Span
from agon.engine.kv import KVCache

BLOCK = 128
"""Queries and keys per block of the kernels: pages on a GPU are a multiple of it."""


@dataclass(frozen=True, slots=True)
class Table:
    """A span on the device: `pages` is rows x most pages (0 behind a row's last), `begins` a position for each row."""

    start: int
    queries: int
    pages: Tensor
    begins: Tensor

    @classmethod
    def of(cls, span: Span, device: torch.device) -> Self:
        width = max(len(pages) for pages in span.pages)
        pages = [[*own, *[0] * (width - len(own))] for own in span.pages]
        return cls(
            span.start, span.queries, torch.tensor(pages, device=device), torch.tensor(span.begins, device=device)
        )


@dataclass(slots=True)
class FlexAttention:
    """What attention needs to know of one step; `compiled` is FlexAttention, compiled where there is a GPU."""

    cache: KVCache
    slots: Tensor
    tables: Sequence[Table]
    compiled: Callable[..., Any] = flex_attention
    _masks: dict[tuple[int, int | None], BlockMask] = field(default_factory=dict)

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scaling: float,
        window: int | None = None,
        softcap: float | None = None,
    ) -> Tensor:
        """See `Attention.attend`."""
        self.cache.write(layer, self.slots, key, value)
        heads, tokens, size = query.shape
        keys, values = (pages[layer].flatten(1, 2)[None] for pages in (self.cache.keys, self.cache.values))
        output = torch.empty((tokens, heads, size), dtype=query.dtype, device=query.device)
        for index, table in enumerate(self.tables):
            rows = len(table.begins)
            span = slice(table.start, table.start + rows * table.queries)
            if (index, window) not in self._masks:
                self._masks[index, window] = block_mask(table, self.cache, window)
            attended = self.compiled(
                query[:, span].reshape(heads, rows, table.queries, size).transpose(0, 1),
                keys.expand(rows, -1, -1, -1),
                values.expand(rows, -1, -1, -1),
                score_mod=_bend(softcap) if softcap else None,
                block_mask=self._masks[index, window],
                scale=scaling,
                enable_gqa=heads != key.shape[0],
            )
            output[span] = attended.transpose(1, 2).reshape(-1, heads, size)
        return output

    def forget(self) -> None:
        """The tables hold other numbers now: make the masks again."""
        self._masks.clear()


def visible(table: Table, page_size: int, window: int | None) -> tuple[Tensor, Tensor]:
    """Which pages each row's tokens see: how many (rows), and these pages first in each row (rows x most pages)."""
    width = table.pages.shape[1]
    lasts = (table.begins + table.queries + page_size - 1) // page_size
    firsts = torch.zeros_like(lasts) if window is None else (table.begins - window + 1).clamp(min=0) // page_size
    at = firsts[:, None] + torch.arange(width, device=lasts.device)
    return lasts - firsts, table.pages.gather(1, at.clamp(max=width - 1))


def places(pages: Tensor, count: int) -> Tensor:
    """Where in each row's text a page of the cache comes: rows x `count` numbers of pages, -1 for those of others."""
    rows, width = pages.shape
    found = torch.full((rows, count), -1, device=pages.device)
    found.scatter_(1, pages, torch.arange(width, device=pages.device).expand(rows, -1))
    found[:, 0] = -1  # the padding
    return found


def block_mask(table: Table, cache: KVCache, window: int | None) -> BlockMask:
    """A token sees its own sequence's tokens up to itself, at most `window` of them."""
    size = cache.page_size
    count = cache.keys[0].shape[1]
    place, begins = places(table.pages, count), table.begins

    def sees(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        page = place[row, key // size]
        behind = begins[row] + query - (page * size + key % size)
        seen = (page >= 0) & (behind >= 0)
        return seen if window is None else seen & (behind < window)

    counts, pages = visible(table, size, window)
    blocks = -(-table.queries // BLOCK)
    return BlockMask.from_kv_blocks(
        counts[:, None, None].expand(-1, 1, blocks).to(torch.int32).contiguous(),
        pages[:, None, None].expand(-1, 1, blocks, -1).to(torch.int32).contiguous(),
        BLOCK_SIZE=(BLOCK, size),
        mask_mod=sees,
        seq_lengths=(table.queries, count * size),
        compute_q_blocks=False,
    )


def _bend(cap: float) -> Callable[..., Tensor]:
    def bend(score: Tensor, row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return torch.tanh(score / cap) * cap

    return bend
