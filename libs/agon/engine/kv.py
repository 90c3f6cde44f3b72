"""Keys and values of all sequences, in pages: two tensors per model, and one account of what they take."""

from dataclasses import dataclass

import torch
from torch import Tensor

from agon.errors import SetupError


@dataclass(frozen=True, slots=True)
class CacheShape:
    """What one token takes: `layers` x `heads` x `head_size`, twice."""

    layers: int
    heads: int
    head_size: int
    dtype: torch.dtype

    def page_bytes(self, page_size: int) -> int:
        return 2 * self.layers * self.heads * self.head_size * page_size * self.dtype.itemsize

    def pages_within(self, budget: int, page_size: int, useful: int) -> int:
        """How many pages to make: what the budget (bytes) holds, not more than `useful`, besides the padding page.

        Raises `SetupError` when not even one page fits.
        """
        pages = min(budget // self.page_bytes(page_size) - 1, useful)
        if pages < 1:
            raise SetupError(
                f"the KV cache needs at least {2 * self.page_bytes(page_size)} bytes for this model, "
                f"its budget is {budget}; raise kv_cache_bytes"
            )
        return pages


class KVCache:
    """`keys[layer]` and `values[layer]` are (pages + 1) x page size x heads x head size; page 0 stays zero."""

    def __init__(self, shape: CacheShape, pages: int, page_size: int, device: torch.device) -> None:
        self.page_size = page_size
        self.keys = [self._zeros(shape, pages, device) for _ in range(shape.layers)]
        self.values = [self._zeros(shape, pages, device) for _ in range(shape.layers)]
        self.bytes = shape.page_bytes(page_size) * (pages + 1)

    def _zeros(self, shape: CacheShape, pages: int, device: torch.device) -> Tensor:
        size = (pages + 1, self.page_size, shape.heads, shape.head_size)
        return torch.zeros(size, dtype=shape.dtype, device=device)

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Put tokens x heads x head size at `slots` (page x page size + offset)."""
        self.keys[layer].flatten(0, 1).index_copy_(0, slots, keys)
        self.values[layer].flatten(0, 1).index_copy_(0, slots, values)

    def clear(self, pages: list[int]) -> None:
        """Make these pages zero again in all layers."""
        index = torch.tensor(pages, device=self.keys[0].device)
        for tensor in (*self.keys, *self.values):
            tensor.index_fill_(0, index, 0)
