"""Adapters in a running batch: their weights stacked in a few slots, applied to each row as its request asks.

A hook on each adapted layer adds `x A^T B` to what the layer gave. Rows of single tokens (decodes) under many adapters
are computed as one product with the weights of all slots, of which each row keeps its own slot's part: measured, two
large products beat gathered weights and a loop. Chunks, and decodes under few adapters, go adapter by adapter.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from agon.engine.adapter import Adapter, Delta

# Taking slots one by one costs about as much as this many columns of one product over all of them.
_COLUMNS_PER_SLOT = 32


@dataclass(frozen=True, slots=True)
class Rows:
    """`count` packed rows from `start` on that use one adapter, or none."""

    start: int
    count: int
    adapter: Adapter | None


@dataclass(slots=True)
class _Stack:
    """The slots of one layer: `a` is slots x rank x in, `b` slots x rank x out; `factor` is (1 + slots) x out, for
    layers that a DoRA adapts, and its first row is for rows without an adapter."""

    a: Tensor
    b: Tensor
    factor: Tensor | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """How the rows of one step are adapted: by slot the rows of `singly`; the first `together` rows over all slots,
    where `others` (rows x all ranks) marks what belongs to another slot than the row's."""

    singly: tuple[tuple[int, slice | Tensor], ...]
    together: int
    others: Tensor | None
    slot_of_row: Tensor
    """1 + slot, 0 for none."""


class AdapterSlots:
    """At most `count` adapters at once in one model's batch; the least recently used one makes room for another."""

    def __init__(self, layers: Mapping[str, torch.nn.Linear], count: int) -> None:
        self._layers = layers
        self._count = count
        self._slots: list[Adapter] = []
        self._recent: dict[Adapter, None] = {}  # those in slots, the least recently used first
        self._stacks: dict[str, _Stack] = {}
        self._rank = 0
        self._plan: _Plan | None = None

    def prepare(self, rows: Sequence[Rows], device: torch.device) -> None:
        """Say how the rows of the next forward pass are adapted: those of single tokens first, then longer ones."""
        wanted = dict.fromkeys(each.adapter for each in rows if each.adapter is not None)
        if not wanted:
            self._plan = None
            return
        for adapter in wanted:
            self._place(adapter, wanted)
        slot_of = {adapter: slot for slot, adapter in enumerate(self._slots)}
        of_row = [0 if each.adapter is None else 1 + slot_of[each.adapter] for each in rows for _ in range(each.count)]
        singles = sum(1 for each in rows if each.count == 1)
        slots = torch.tensor(of_row, device=device)
        singly: list[tuple[int, slice | Tensor]] = [
            (slot_of[each.adapter], slice(each.start, each.start + each.count))
            for each in rows[singles:]
            if each.adapter is not None
        ]
        used = set(of_row[:singles]) - {0}
        if len(self._slots) * self._rank <= _COLUMNS_PER_SLOT * len(used):
            columns = torch.arange(1, 1 + len(self._slots), device=device).repeat_interleave(self._rank)
            self._plan = _Plan(tuple(singly), singles, slots[:singles, None] != columns, slots)
        else:
            singly += [(slot - 1, (slots[:singles] == slot).nonzero()[:, 0]) for slot in sorted(used)]
            self._plan = _Plan(tuple(singly), 0, None, slots)

    def _place(self, adapter: Adapter, wanted: Iterable[Adapter]) -> None:
        """Make sure that an adapter has a slot, besides the others that the step wants. Where that fails, for want of
        memory for one, no adapter keeps its slot: half a copy must never pass for the whole."""
        if adapter in self._recent:
            self._recent[adapter] = self._recent.pop(adapter)
            return
        try:
            if len(self._slots) < self._count:
                self._slots.append(adapter)
            else:
                kept = set(wanted)
                given_up = next(old for old in self._recent if old not in kept)
                del self._recent[given_up]
                self._slots[self._slots.index(given_up)] = adapter
            self._copy(adapter, self._slots.index(adapter))
        except BaseException:
            self._clear()
            raise
        self._recent[adapter] = None

    def _copy(self, adapter: Adapter, slot: int) -> None:
        self._rank = max(self._rank, adapter.rank)
        for path, delta in adapter.deltas.items():
            if path not in self._stacks:
                self._stacks[path] = _Stack(delta.a.new_empty(0), delta.b.new_empty(0))
                self._layers[path].register_forward_hook(self._hook(self._stacks[path]))
        for path, stack in self._stacks.items():
            self._fill(stack, self._layers[path], slot, adapter.deltas.get(path))

    def _clear(self) -> None:
        self._slots.clear()
        self._recent.clear()
        self._rank = 0
        for stack in self._stacks.values():
            stack.a, stack.b, stack.factor = stack.a.new_empty(0), stack.b.new_empty(0), None

    def _fill(self, stack: _Stack, layer: Any, slot: int, delta: Delta | None) -> None:
        size = (len(self._slots), self._rank)
        if stack.a.shape[:2] != size:
            stack.a = _grown(stack.a, (*size, layer.in_features))
            stack.b = _grown(stack.b, (*size, layer.out_features))
        stack.a[slot] = 0
        stack.b[slot] = 0
        if delta is not None:
            stack.a[slot, : len(delta.a)] = delta.a
            stack.b[slot, : len(delta.b)] = delta.b
            if delta.factor is not None and stack.factor is None:
                stack.factor = delta.factor.new_ones((1 + self._count, layer.out_features))
        if stack.factor is not None:
            stack.factor[1 + slot] = 1 if delta is None or delta.factor is None else delta.factor

    def _hook(self, stack: _Stack) -> Any:
        def adapt(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if self._plan is not None:
                _apply(self._plan, stack, inputs[0][0], output[0], layer.bias)

        return adapt


def _apply(plan: _Plan, stack: _Stack, x: Tensor, y: Tensor, bias: Tensor | None) -> None:
    """Adapt a layer's output `y` (tokens x out, in place) for its input `x`."""
    if stack.factor is not None:
        factor = stack.factor.index_select(0, plan.slot_of_row)
        # The bias is not a part of what DoRA scales.
        y.mul_(factor) if bias is None else y.sub_(bias).mul_(factor).add_(bias)
    if plan.others is not None:
        inner = (x[: plan.together] @ stack.a.flatten(0, 1).t()).masked_fill_(plan.others, 0)
        y[: plan.together].addmm_(inner, stack.b.flatten(0, 1))
    for slot, rows in plan.singly:
        if isinstance(rows, slice):
            y[rows].addmm_(x[rows] @ stack.a[slot].t(), stack.b[slot])
        else:
            y.index_add_(0, rows, (x.index_select(0, rows) @ stack.a[slot].t()) @ stack.b[slot])


def _grown(tensor: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """The same numbers in a larger tensor, zero elsewhere."""
    grown = tensor.new_zeros(shape)
    if tensor.numel():
        grown[: tensor.shape[0], : tensor.shape[1]] = tensor
    return grown
