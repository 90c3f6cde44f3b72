"""Keys and values of all sequences, in pages: two tensors per model, and one account of what they take."""

from dataclasses import dataclass
from math import prod
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

import torch
from torch import Tensor
from torch.nn.functional import embedding

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
    """`keys[layer]` and `values[layer]` are heads x (pages + 1) x page size x head size; page 0 stays zero.

    With the heads outside, what a batch reads of a page for one head is one piece of memory, and comes out in the
    order that attention wants.
    """

    def __init__(self, shape: CacheShape, pages: int, page_size: int, device: torch.device) -> None:
        self.page_size = page_size
        self.pages = pages
        self.tokens = pages * page_size
        self.dtype = shape.dtype
        self.device = device
        size = (shape.heads, pages + 1, page_size, shape.head_size)
        self.keys = [_zeros(size, shape.dtype, device) for _ in range(shape.layers)]
        self.values = [_zeros(size, shape.dtype, device) for _ in range(shape.layers)]
        self.bytes = shape.page_bytes(page_size) * (pages + 1)
        self._firsts = torch.arange(shape.heads, device=device)[:, None] * (pages + 1)

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Put heads x tokens x head size at `slots` (page x page size + offset)."""
        self.keys[layer].flatten(1, 2).index_copy_(1, slots, keys)
        self.values[layer].flatten(1, 2).index_copy_(1, slots, values)

    def blocks(self, pages: Tensor) -> Tensor:
        """Where each head's part of these pages (rows x pages) is, for `read`."""
        return (pages[:, None, :] + self._firsts).flatten()

    def read(self, layer: int, blocks: Tensor, rows: int) -> tuple[Tensor, Tensor]:
        """Keys and values, each rows x heads x context x head size."""
        # An embedding is the fastest way to copy whole rows of a matrix; faster than `index_select` by a third.
        heads, _, _, size = self.keys[layer].shape
        read = (embedding(blocks, tensor[layer].view(-1, self.page_size * size)) for tensor in (self.keys, self.values))
        keys, values = (tensor.view(rows, heads, -1, size) for tensor in read)
        return keys, values

    def clear(self, pages: list[int]) -> None:
        """Make these pages zero again in all layers."""
        index = torch.tensor(pages, device=self.device)
        for tensor in (*self.keys, *self.values):
            tensor.index_fill_(1, index, 0)


def _zeros(size: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros that take memory of a CPU only where they have been written to: the system's own pages come zeroed, while
    `torch.zeros` writes to all of them."""
    if device.type != "cpu":
        return torch.zeros(size, dtype=dtype, device=device)
    memory = mmap(-1, prod(size) * dtype.itemsize, flags=MAP_PRIVATE | MAP_ANONYMOUS)
    return torch.frombuffer(memory, dtype=dtype).view(size)
