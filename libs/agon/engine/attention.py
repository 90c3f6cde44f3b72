"""Attention over the paged cache, as an implementation that transformers' models call by name.

A step's tokens are packed in one row: first the decodes (one token each) sorted by context, then the prompt chunks.
The decodes are cut into a few buckets of similar context, so that padding stays small without a mask over all requests:
on a CPU this layout, not the scheduler, decides the speed. Queries that share a key head are folded into the query
length, so keys and values are never repeated.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from agon.engine.kv import KVCache

NAME = "agon_paged"


@dataclass(frozen=True, slots=True)
class Bucket:
    """Rows of the packed batch that are attended together: `rows` sequences of `queries` tokens each, from `start` on.

    `pages` is rows x pages (padded with page 0), flat; `mask` is added to the scores, rows x 1 x queries x context.
    """

    start: int
    rows: int
    queries: int
    pages: Tensor
    mask: Tensor


@dataclass(frozen=True, slots=True)
class PagedAttention:
    """What attention needs to know of one step: where its tokens' keys go, and who reads what."""

    cache: KVCache
    slots: Tensor
    buckets: tuple[Bucket, ...]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Take `query` as heads x tokens x size, `key` and `value` as key heads x tokens x size.

        Writes the keys and values to the cache, and returns tokens x heads x size.
        """
        self.cache.write(layer, self.slots, key.transpose(0, 1), value.transpose(0, 1))
        heads, tokens, size = query.shape
        groups = heads // key.shape[0]
        query = query.transpose(0, 1)
        output = torch.empty((tokens, heads, value.shape[-1]), dtype=query.dtype, device=query.device)
        for bucket in self.buckets:
            shape = (bucket.rows, bucket.queries, -1, groups, size)
            span = slice(bucket.start, bucket.start + bucket.rows * bucket.queries)
            # rows x key heads x (groups x queries) x size: the groups of a key head are more queries to it
            folded = query[span].reshape(shape).permute(0, 2, 3, 1, 4).flatten(2, 3)
            mask = bucket.mask
            if bucket.queries > 1 and groups > 1:
                mask = mask.repeat(1, 1, groups, 1)
            attended = scaled_dot_product_attention(
                folded,
                self._read(self.cache.keys[layer], bucket),
                self._read(self.cache.values[layer], bucket),
                attn_mask=mask,
                scale=scaling,
            )
            unfolded = attended.view(bucket.rows, -1, groups, bucket.queries, output.shape[-1])
            output[span] = unfolded.permute(0, 3, 1, 2, 4).reshape(-1, heads, output.shape[-1])
        return output

    def _read(self, pages: Tensor, bucket: Bucket) -> Tensor:
        """rows x key heads x context x size."""
        read = pages.index_select(0, bucket.pages)
        return read.view(bucket.rows, -1, *read.shape[2:]).transpose(1, 2)


def _forward(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: None, *, scaling: float, **kwargs: Any
) -> tuple[Tensor, None]:
    """Transformers' attention signature; the step's `PagedAttention` comes as the keyword `paged`."""
    paged: PagedAttention = kwargs["paged"]
    return paged.attend(module.layer_idx, query[0], key[0], value[0], scaling)[None], None


# No mask function is registered under this name, so transformers makes no mask: ours are in the buckets.
AttentionInterface.register(NAME, _forward)
