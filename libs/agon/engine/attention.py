"""Attention over the paged cache, as an implementation that transformers' models call by name.

A step's tokens are packed in one row: first the decodes (one token each), then the prompt chunks. On a CPU the decodes
are in lanes of similar context, so that padding stays small without a mask over all requests: this layout, not the
scheduler, decides the speed. Queries that share a key head are folded into the query length, so keys and values are
never repeated.
"""

from collections.abc import Sequence as Rows
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from agon.engine.kv import KVCache
from agon.engine.lanes import Lane, accurate

NAME = "agon_paged"


@dataclass(frozen=True, slots=True)
class Span:
    """Rows of the packed batch that are attended together: sequences with `queries` tokens each, from `start` on.

    `begins` are the positions of each sequence's first token here, `pages` are all its pages, in order.
    """

    start: int
    queries: int
    begins: tuple[int, ...]
    pages: tuple[Rows[int], ...]

    @property
    def end(self) -> int:
        return self.start + self.queries * len(self.begins)


class Attention(Protocol):
    """The seam: how one step's tokens attend, in all layers."""

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
        """Take `query` as heads x tokens x size, `key` and `value` as key heads x tokens x size.

        A token sees itself and what comes before it, at most `window` tokens in all; scores are bent to stay below
        `softcap`. Writes the keys and values to the cache, and returns tokens x heads x size.
        """


@dataclass(frozen=True, slots=True)
class Reading:
    """What a span reads. `blocks` are rows x key heads x pages, flat, as `KVCache.read` takes them; `mask` is added to
    the scores: rows x 1 x (groups x queries, or 1) x context."""

    blocks: Tensor
    mask: Tensor


@dataclass(frozen=True, slots=True)
class PagedAttention:
    """Everywhere: torch's own attention on copies of the pages. Knows where a step's keys go, and who reads what."""

    cache: KVCache
    slots: Tensor
    lanes: tuple[Lane, ...]
    spans: tuple[Span, ...]
    _readings: dict[tuple[int, int | None], Reading] = field(default_factory=dict)

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
        heads, tokens, _ = query.shape
        query = query.transpose(0, 1)
        output = torch.empty((tokens, heads, value.shape[-1]), dtype=accurate(query.dtype), device=query.device)
        if self.lanes:
            self._decode(layer, query, key, value, scaling, window, softcap, output)
        for index, span in enumerate(self.spans):
            here = slice(span.start, span.end)
            if softcap is None and span.begins == (0,) and span.queries <= (window or span.queries):
                # The beginning of a text: all that it sees is here.
                own, keys, values = query[here].transpose(0, 1), key[:, here], value[:, here]
                attended = scaled_dot_product_attention(
                    own[None], keys[None], values[None], is_causal=True, scale=scaling, enable_gqa=True
                )
                output[here] = attended[0].transpose(0, 1)
                continue
            if (index, window) not in self._readings:
                self._readings[index, window] = _reading(span, self.cache, window, heads // len(key), query.dtype)
            output[here] = self._read(layer, span, self._readings[index, window], query[here], scaling, softcap)
        return output.to(query.dtype)

    def _decode(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scaling: float,
        window: int | None,
        softcap: float | None,
        output: Tensor,
    ) -> None:
        """The lanes' part of `output`, tokens x heads x size as `query`. Queries of a key head are together."""
        heads, rows = len(key), sum(len(lane.sequences) for lane in self.lanes)
        wide, sizes = rows * heads, [len(lane.sequences) * heads for lane in self.lanes]
        queries = (query[:rows].to(output.dtype) * scaling).reshape(wide, -1, query.shape[-1])
        keys, values = (tensor[:, :rows].transpose(0, 1).reshape(wide, -1) for tensor in (key, value))
        outputs = output[:rows].view(wide, -1, output.shape[-1])
        parts = (torch.split_with_sizes(tensor, sizes) for tensor in (queries, keys, values, outputs))
        for lane, ours, theirs, contents, seen in zip(self.lanes, *parts, strict=True):
            lane.attend(layer, ours, theirs, contents, seen, window, softcap)

    def _read(
        self, layer: int, span: Span, reading: Reading, query: Tensor, scaling: float, softcap: float | None
    ) -> Tensor:
        """One span's part, from the pages; `query` is tokens x heads x size, and so is what comes out."""
        rows = len(span.begins)
        keys, values = self.cache.read(layer, reading.blocks, rows)
        groups = query.shape[1] // keys.shape[1]
        # rows x key heads x (groups x queries) x size: the groups of a key head are more queries to it
        folded = query.reshape(rows, span.queries, -1, groups, query.shape[-1])
        folded = folded.permute(0, 2, 3, 1, 4).flatten(2, 3)
        if softcap is None:
            attended = scaled_dot_product_attention(folded, keys, values, attn_mask=reading.mask, scale=scaling)
        else:
            scores = (folded @ keys.transpose(2, 3) * (scaling / softcap)).tanh() * softcap + reading.mask
            attended = scores.softmax(-1) @ values
        unfolded = attended.view(rows, -1, groups, span.queries, values.shape[-1])
        return unfolded.permute(0, 3, 1, 2, 4).reshape(*query.shape[:2], -1)


def _reading(span: Span, cache: KVCache, window: int | None, groups: int, dtype: torch.dtype) -> Reading:
    """The pages that a span's tokens see, each row from the first one of its window on."""
    size, device = cache.page_size, cache.device
    firsts = [max(0, begin - window + 1) // size if window else 0 for begin in span.begins]
    lasts = [-(-(begin + span.queries) // size) for begin in span.begins]
    width = max(last - first for first, last in zip(firsts, lasts, strict=True))
    pages: list[int] = []
    for first, last, own in zip(firsts, lasts, span.pages, strict=True):
        pages += own[first:last]
        pages += [0] * (width - last + first)
    queries = torch.tensor(span.begins, device=device)[:, None] + torch.arange(span.queries, device=device)
    keys = torch.tensor(firsts, device=device)[:, None] * size + torch.arange(width * size, device=device)
    ahead = keys[:, None, :] > queries[:, :, None]
    if window:
        ahead |= keys[:, None, :] <= queries[:, :, None] - window
    mask = torch.zeros(ahead.shape, dtype=dtype, device=device).masked_fill_(ahead, float("-inf"))[:, None]
    if span.queries > 1:
        mask = mask.repeat(1, 1, groups, 1)
    return Reading(cache.blocks(torch.tensor(pages, device=device).view(len(firsts), width)), mask)


def _forward(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: None, *, scaling: float, **kwargs: Any
) -> tuple[Tensor, None]:
    """Transformers' attention signature; the step's `Attention` comes as the keyword `paged`."""
    paged: Attention = kwargs["paged"]
    window, softcap = kwargs.get("sliding_window"), kwargs.get("softcap")
    return paged.attend(module.layer_idx, query[0], key[0], value[0], scaling, window, softcap)[None], None


# No mask function is registered under this name, so transformers makes no mask: ours are in the readings.
AttentionInterface.register(NAME, _forward)
