"""Decodes side by side, with their keys and values where attention wants them.

Attention on a CPU takes its keys in one piece, so it must copy a sequence's pages; a third of each step's
time. A lane keeps the copy while its sequences go on, and a step only adds a column to it:

    columns   pages, padded to the longest | one for each step since
              a a a a a a a a a a a a a a a  a a a
              b b b b b b b b b b . . . . .  b b b        . hidden by the bias
              c c c c c c c c c c c c . . .  c c c

What comes where does not matter to attention: positions are in the keys. The pages are written all the same; they are
what other sequences share, and what a lane is made of again when its sequences change too much.
"""

from collections.abc import Iterable, Set
from collections.abc import Sequence as Many
from dataclasses import dataclass, replace
from itertools import chain, pairwise

import torch
from torch import Tensor

from agon.engine.kv import KVCache
from agon.engine.sequence import Sequence

_STEPS = 32  # columns behind the pages: as many steps until all lanes are made again
# Four lanes were the best of 1 to 8 for 64 rows on a CPU; below eight rows each, the calls cost more than the padding
# that they save. Newcomers get lanes of their own until there are two more than that.
_LANES = 4
_ROWS = 8
_MORE = 2


@dataclass(frozen=True, slots=True)
class _View:
    """What the layers with one window see. The first `width` columns are of the sequences' pages, then come those for
    later steps; `blocks` are the pages of both, as `KVCache.read` takes them. `places` (rows x columns) are their
    positions; `bias` ((rows x key heads) x 1 x columns), which is added to the scores, hides the padding."""

    blocks: Tensor
    width: int
    places: Tensor
    bias: Tensor

    def first(self, rows: int) -> "_View":
        """The same for the first rows alone."""
        each = len(self.bias) // len(self.places)
        return replace(self, places=self.places[:rows], bias=self.bias[: rows * each])


def accurate(dtype: torch.dtype) -> torch.dtype:
    """What decodes attend in: 32-bit floats, or better ones."""
    return torch.promote_types(dtype, torch.float32)


class Lane:
    """The decodes of some sequences, for as long as they go on, at most `room` steps behind the first."""

    def __init__(self, sequences: Iterable[Sequence], cache: KVCache, room: int) -> None:
        self.sequences = list(sequences)
        self.room = room
        self._cache = cache
        self._spare = -(-room // cache.page_size)  # pages for the columns of later steps
        self._rows = len(self.sequences)  # in the tensors
        self._begins = [sequence.computed for sequence in self.sequences]
        self._steps = 0
        self._views: dict[int | None, _View] = {}
        self._biases: dict[int | None, Tensor] = {}  # of this step
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def tokens(self) -> int:
        """How many tokens' keys and values it holds in the end, padding included."""
        return len(self.sequences) * (max(self._begins) + self._cache.page_size * (1 + self._spare))

    @property
    def full(self) -> bool:
        return self._steps >= self.room

    def step(self, decoding: Set[Sequence]) -> bool:
        """Move on by a token; sequences that do not are left out. False when none is left."""
        self._steps += 1
        self._biases.clear()
        for row in reversed(range(len(self.sequences))):
            sequence = self.sequences[row]
            if sequence not in decoding or sequence.computed != self._begins[row] + self._steps:
                self._leave_out(row)
        rows = len(self.sequences)
        if rows < self._rows:
            self._layers = {
                layer: (keys[: len(keys) // self._rows * rows], values[: len(values) // self._rows * rows])
                for layer, (keys, values) in self._layers.items()
            }
            self._views = {window: view.first(rows) for window, view in self._views.items()}
            self._rows = rows
        return bool(rows)

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        output: Tensor,
        window: int | None,
        softcap: float | None,
    ) -> None:
        """Write to `output` what the `query` sees, both (rows x key heads) x queries of the head x size, and scaled.

        `key` and `value` are (rows x key heads) x size, and in their pages already. The rest is as `Attention.attend`
        has it.
        """
        if window not in self._views:
            self._views[window] = self._view(window, len(query) // len(self.sequences))
        view = self._views[window]
        count = view.width + self._steps
        if layer in self._layers:
            keys, values = self._layers[layer]
            keys.select(2, count - 1).copy_(key)
            values.select(1, count - 1).copy_(value)
        else:
            keys, values = self._copy(layer, view)
        if window not in self._biases:
            self._biases[window] = self._bias(view, window)
        scores = torch.bmm(query, keys.narrow(2, 0, count))
        if softcap is not None:
            scores = (scores / softcap).tanh_().mul_(softcap)
        shares = scores.add_(self._biases[window]).softmax(-1)
        torch.bmm(shares, values.narrow(1, 0, count), out=output)

    def _copy(self, layer: int, view: _View) -> tuple[Tensor, Tensor]:
        """Keys, (rows x key heads) x size x columns, and values, (rows x key heads) x columns x size."""
        read = self._cache.read(layer, view.blocks, len(self.sequences))
        keys, values = (tensor.flatten(0, 1).to(view.bias.dtype) for tensor in read)
        keys = keys.transpose(1, 2).contiguous()
        if self.room:
            self._layers[layer] = keys, values
        return keys, values

    def _view(self, window: int | None, heads: int) -> _View:
        size = self._cache.page_size
        firsts = [max(0, begin + 1 - window) // size if window else 0 for begin in self._begins]
        lasts = [begin // size + 1 for begin in self._begins]
        most = max(last - first for first, last in zip(firsts, lasts, strict=True))
        pages: list[int] = []
        for first, last, sequence in zip(firsts, lasts, self.sequences, strict=True):
            pages += [*sequence.pages[first:last], *[0] * (most - last + first + self._spare)]
        begins = torch.tensor(self._begins)[:, None]
        copied = torch.tensor(firsts)[:, None] * size + torch.arange(most * size)
        places = torch.cat((copied, begins + 1 + torch.arange(self.room)), 1)
        bias = torch.zeros(places.shape, dtype=accurate(self._cache.dtype))
        bias[:, : most * size].masked_fill_(copied > begins, float("-inf"))
        blocks = self._cache.blocks(torch.tensor(pages).view(len(firsts), -1))
        return _View(blocks, most * size, places, bias.repeat_interleave(heads, 0)[:, None])

    def _bias(self, view: _View, window: int | None) -> Tensor:
        count = view.width + self._steps
        bias = view.bias[:, :, :count]
        if window is None:
            return bias
        behind = view.places[:, :count] <= torch.tensor(self._begins)[:, None] + self._steps - window
        each = len(bias) // len(behind)
        return bias.masked_fill(behind.repeat_interleave(each, 0)[:, None], float("-inf"))

    def _leave_out(self, row: int) -> None:
        """The last row takes the place of this one."""
        last = len(self.sequences) - 1
        self.sequences[row], self._begins[row] = self.sequences[last], self._begins[last]
        del self.sequences[last], self._begins[last]
        if row != last:
            views = self._views.values()
            for tensor in (*(t for view in views for t in (view.places, view.bias)), *chain(*self._layers.values())):
                rows = tensor.view(self._rows, -1, *tensor.shape[1:])
                rows[row] = rows[last]


class Lanes:
    """The lanes of the running decodes, kept from step to step: no more tokens than the cache holds."""

    def __init__(self, cache: KVCache) -> None:
        self._cache = cache
        self._lanes: list[Lane] = []

    def arrange(self, decodes: Many[Sequence]) -> list[Lane]:
        """Put all of this step's decodes into lanes. Call it in each step, or sequences are taken for others."""
        decoding = set(decodes)
        full = any(lane.full for lane in self._lanes)
        lanes = [lane for lane in self._lanes if lane.step(decoding)]
        placed = {sequence for lane in lanes for sequence in lane.sequences}
        lanes += self._lanes_of([sequence for sequence in decodes if sequence not in placed])
        if full or len(lanes) > _wanted(len(decodes)) + _MORE:
            lanes = self._lanes_of(decodes)
        left = self._cache.tokens
        self._lanes = []
        for index, lane in enumerate(lanes):
            if lane.tokens <= left:
                left -= lane.tokens
                self._lanes.append(lane)
            else:
                lanes[index] = Lane(lane.sequences, self._cache, 0)  # for this step alone
        return lanes

    def clear(self) -> None:
        """Forget all of them."""
        self._lanes = []

    def _lanes_of(self, decodes: Iterable[Sequence]) -> list[Lane]:
        """New lanes, those of like length together."""
        ordered = sorted(decodes, key=lambda sequence: sequence.computed)
        count = _wanted(len(ordered))
        bounds = [len(ordered) * i // count for i in range(count + 1)]
        return [Lane(ordered[start:end], self._cache, _STEPS) for start, end in pairwise(bounds) if start < end]


def _wanted(rows: int) -> int:
    return max(1, min(_LANES, rows // _ROWS))
