"""Several processes that train one model, one core each: every one has rows of its own, all take the mean of the
gradients, and so all hold the same weights after every step.

Two busy threads in one process get in each other's way on two cores; two processes that meet once a step do not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, distributed


@dataclass(frozen=True, slots=True)
class Lanes:
    """The place of this process, `number`, among `count`. One alone needs no meeting."""

    number: int = 0
    count: int = 1

    def meet(self, at: Path) -> None:
        """Wait for the others; `at` is a file that is not there yet, the same for all."""
        if self.count > 1:
            distributed.init_process_group(
                "gloo", init_method=f"file://{at.absolute()}", rank=self.number, world_size=self.count
            )

    def part(self) -> None:
        """Leave the others, in order: the last word of a process that met them."""
        if self.count > 1:
            distributed.destroy_process_group()

    def mean(self, tensors: Sequence[Tensor], number: float) -> float:
        """Replace the tensors by their mean over all lanes, and give the mean of `number`."""
        if self.count == 1:
            return number
        flat = torch.cat([*(tensor.reshape(-1) for tensor in tensors), torch.tensor([number])])
        distributed.all_reduce(flat)
        flat /= self.count
        begin = 0
        for tensor in tensors:
            tensor.copy_(flat[begin : begin + tensor.numel()].view_as(tensor))
            begin += tensor.numel()
        return flat[-1].item()
