"""A plan becomes tensors: one packed row of tokens, and who attends to what."""

from collections.abc import Sequence as Rows
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from agon.engine.attention import Bucket, PagedAttention
from agon.engine.kv import KVCache
from agon.engine.scheduler import Piece
from agon.engine.sequence import Sequence

# Four buckets of decodes were the best of 1 to 8 for 64 rows on a CPU; below eight rows each, the calls cost more than
# the padding that they save.
_BUCKETS = 4
_ROWS_PER_BUCKET = 8


@dataclass(frozen=True, slots=True)
class Batch:
    """`tokens` and `positions` are packed: `pieces` in this order, each from its place in `starts` on. Logits are
    wanted at `keep`, one for each of `drawing`, in that order."""

    pieces: tuple[Piece, ...]
    starts: tuple[int, ...]
    tokens: Tensor
    positions: Tensor
    keep: Tensor
    drawing: tuple[Sequence, ...]
    paged: PagedAttention


def build(pieces: Rows[Piece], cache: KVCache, dtype: torch.dtype, device: torch.device) -> Batch:
    """Lay out a step's pieces: decodes by context length, then chunks."""
    decodes = sorted((p for p in pieces if p.count == 1), key=lambda p: p.sequence.computed)
    chunks = [p for p in pieces if p.count > 1]
    tokens: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    keep: list[int] = []
    drawing: list[Sequence] = []
    starts: list[int] = []
    size = cache.page_size
    for piece in (*decodes, *chunks):
        starts.append(len(tokens))
        sequence, begin = piece.sequence, piece.sequence.computed
        span = range(begin, begin + piece.count)
        tokens += sequence.tokens[begin : begin + piece.count]
        positions += span
        slots += [sequence.pages[at // size] * size + at % size for at in span]
        if piece.draws:
            keep.append(len(tokens) - 1)
            drawing.append(sequence)
    buckets = [*_decode_buckets(decodes, size, dtype, device)]
    start = len(decodes)
    for piece in chunks:
        buckets.append(_chunk_bucket(piece, start, size, dtype, device))
        start += piece.count
    return Batch(
        (*decodes, *chunks),
        tuple(starts),
        torch.tensor(tokens, device=device),
        torch.tensor(positions, device=device),
        torch.tensor(keep, dtype=torch.int64, device=device),
        tuple(drawing),
        PagedAttention(cache, torch.tensor(slots, device=device), tuple(buckets)),
    )


def _decode_buckets(decodes: Rows[Piece], size: int, dtype: torch.dtype, device: torch.device) -> list[Bucket]:
    count = max(1, min(_BUCKETS, len(decodes) // _ROWS_PER_BUCKET))
    bounds = [len(decodes) * i // count for i in range(count + 1)]
    buckets = []
    for start, end in pairwise(bounds):
        if start == end:
            continue
        lengths = [piece.sequence.computed + 1 for piece in decodes[start:end]]
        width = -(-lengths[-1] // size)
        pages: list[int] = []
        for piece, length in zip(decodes[start:end], lengths, strict=True):
            own = piece.sequence.pages[: -(-length // size)]
            pages += own + [0] * (width - len(own))
        seen = torch.arange(width * size, device=device) < torch.tensor(lengths, device=device)[:, None]
        mask = _additive(seen, dtype)[:, None, None, :]
        buckets.append(Bucket(start, end - start, 1, torch.tensor(pages, device=device), mask))
    return buckets


def _chunk_bucket(piece: Piece, start: int, size: int, dtype: torch.dtype, device: torch.device) -> Bucket:
    begin, end = piece.sequence.computed, piece.sequence.computed + piece.count
    pages = piece.sequence.pages[: -(-end // size)]
    seen = torch.arange(len(pages) * size, device=device) <= torch.arange(begin, end, device=device)[:, None]
    mask = _additive(seen, dtype)[None, None]
    return Bucket(start, 1, piece.count, torch.tensor(pages, device=device), mask)


def _additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a query sees a key, -inf elsewhere."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, float("-inf"))
