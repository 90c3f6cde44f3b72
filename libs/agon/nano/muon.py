"""Muon: momentum whose matrix updates are made orthogonal (Jordan et al. 2024, "Muon: An optimizer for hidden layers").

For the matrices inside the layers only; embeddings and norms go to AdamW.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor


def orthogonal(matrices: Tensor, dtype: torch.dtype = torch.float32, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrices of a stack (n, rows, columns), roughly: five Newton-Schulz steps with the
    quintic coefficients of the paper; singular values end between 0.7 and 1.2. `dtype` is what the steps compute in."""
    a, b, c = 3.4445, -4.7750, 2.0315
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    x = (matrices.mT if is_tall else matrices).to(dtype)
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    near: Tensor = (x.mT if is_tall else x).to(matrices.dtype)
    return near


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, then `orthogonal`, then a step of `lr` scaled by the root of the matrix's aspect."""

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.95, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of all matrices; those of one shape are done together."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for parameter in group["params"]:
                state = self.state[parameter]
                momentum = state.setdefault("momentum", torch.zeros_like(parameter))
                momentum.lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(momentum, group["momentum"])
                by_shape[tuple(parameter.shape)].append((parameter, update))
            for (rows, columns), pairs in by_shape.items():
                updates = orthogonal(torch.stack([update for _, update in pairs]), self._dtype)
                scale = max(1.0, rows / columns) ** 0.5
                for (parameter, _), update in zip(pairs, updates, strict=True):
                    parameter.sub_(update, alpha=group["lr"] * scale)
