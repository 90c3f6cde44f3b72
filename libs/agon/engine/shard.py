"""A model's layers shared by processes, as the tensor-parallel plan of its transformers configuration says.

In each pair of linear layers the first gives a part of its outputs (`colwise`: some heads, some inner features), and
the second takes that part and gives a summand of the whole (`rowwise`), which all processes add up (Shoeybi et al.,
"Megatron-LM", 2019, section 3). What is between is computed by each for all tokens, with the same numbers everywhere.
"""

import re
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn import Linear, Module, Parameter

from agon.errors import SetupError

_PATIENCE = timedelta(minutes=2)  # that a process has with the others, each time: kernels may have to be compiled
_STYLES = {
    "colwise", "colwise_gather_output", "rowwise", "rowwise_split_input", "moe_tp_experts", "packed_colwise",
    "embedding_rowwise",  # stays whole: an embedding is looked up, so nothing would be won
    "replicated_with_grad_allreduce",  # whole, too
}  # fmt: skip


class Shard:
    """The part of a model that one of `size` processes has, the one with number `rank`."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank = rank
        self.size = size
        self._group: Any = None

    def join(self, meeting: str, device: torch.device) -> None:
        """Find the others, all of which call this; `meeting` is a file that does not exist before.

        The group is this model's own, and no other in its processes knows of it. Raises `RuntimeError` in vain.
        """
        store = dist.FileStore(meeting, self.size)  # type: ignore[attr-defined]
        if device.type == "cuda":
            nccl = dist.ProcessGroupNCCL.Options()
            nccl._timeout = _PATIENCE
            self._group = dist.ProcessGroupNCCL(store, self.rank, self.size, nccl)
        else:
            gloo = dist.ProcessGroupGloo._Options()  # type: ignore[attr-defined]
            gloo._timeout = _PATIENCE
            gloo._devices = [dist.ProcessGroupGloo.create_device(hostname="127.0.0.1")]
            self._group = dist.ProcessGroupGloo(store, self.rank, self.size, gloo)
        self.sum(torch.ones(1, device=device))

    def part(self, tensor: Tensor, dim: int) -> Tensor:
        """This process' part, a view. Raises `SetupError` where the parts would differ in size."""
        length = tensor.shape[dim]
        if length % self.size:
            raise SetupError(f"{length} features of a layer cannot be shared evenly by {self.size} processes")
        return tensor.narrow(dim, self.rank * (length // self.size), length // self.size)

    def sum(self, tensor: Tensor) -> Tensor:
        """What the processes have, added up; to the last bit the same in all of them."""
        tensor = tensor.contiguous()
        self._group.allreduce([tensor]).wait()
        return tensor

    def gather(self, tensor: Tensor) -> Tensor:
        """The processes' parts of a last dimension, side by side."""
        parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(self.size)]
        self._group.allgather([parts], [tensor.contiguous()]).wait()
        return torch.cat(parts, -1)


def shares_heads(config: Any) -> bool:
    """Whether each process has some of the heads, with their keys and values, rather than all of them."""
    plan = config.base_model_tp_plan or {}
    return any(name.endswith((".k_proj", ".query_key_value")) and style == "colwise" for name, style in plan.items())


def refuse_unshared(config: Any, size: int) -> None:
    """Raise `SetupError` for a model that so many processes cannot share."""
    kind, plan = config.model_type, config.base_model_tp_plan
    if not plan or set(plan.values()) - _STYLES:
        raise SetupError(
            f"{kind} models cannot be shared by processes (tensor_parallel): transformers has no plan for it"
        )
    if shares_heads(config):
        heads, others = config.num_attention_heads, getattr(config, "num_key_value_heads", None)
        for count, what in ((heads, "heads"), (others or heads, "heads of keys and values")):
            if count % size:
                raise SetupError(
                    f"this {kind} model has {count} {what}, which {size} processes cannot share evenly; "
                    "let tensor_parallel divide them"
                )


def share_out(model: Any, shard: Shard) -> None:
    """Leave of a transformers model what this shard computes. Raises `SetupError` where its layers cannot be shared."""
    plan = model.tp_plan
    for path, module in model.named_modules():
        match plan.get(_general(path)):
            case "colwise":
                _give_part(module, shard)
            case "colwise_gather_output" if module.out_features % shard.size == 0:
                _give_part(module, shard)
                module.register_forward_hook(lambda _, inputs, output: shard.gather(output))
            case "rowwise":
                _take_part(module, shard)
            case "rowwise_split_input":
                _take_part(module, shard)
                module.register_forward_pre_hook(lambda _, inputs: shard.part(inputs[0], -1))
            case "moe_tp_experts":
                _share_experts(
                    module, {name: plan.get(_general(f"{path}.{name}")) for name in module._parameters}, shard
                )


def _general(path: str) -> str:
    return re.sub(r"\.\d+(?=\.|$)", ".*", path)


def _give_part(layer: Linear, shard: Shard) -> None:
    layer.weight = _kept(shard.part(layer.weight, 0))
    if layer.bias is not None:
        layer.bias = _kept(shard.part(layer.bias, 0))
    layer.out_features //= shard.size


def _take_part(layer: Linear, shard: Shard) -> None:
    layer.weight = _kept(shard.part(layer.weight, 1))
    if shard.rank:
        layer.register_parameter("bias", None)  # it is to be added once
    layer.in_features //= shard.size
    layer.register_forward_hook(lambda _, inputs, output: shard.sum(output))


def _share_experts(experts: Module, styles: dict[str, str | None], shard: Shard) -> None:
    """Each process has a part of every expert, whose weights are stacked: experts x out x in."""
    for name, weight in list(experts.named_parameters(recurse=False)):
        if styles[name] == "packed_colwise":  # two layers, one behind the other
            experts.register_parameter(
                name, _kept(shard.part(weight.view(len(weight), 2, -1, weight.shape[2]), 2).flatten(1, 2))
            )
        elif styles[name] == "rowwise":
            experts.register_parameter(name, _kept(shard.part(weight, 2)))
    experts.register_forward_hook(lambda _, inputs, output: shard.sum(output))


def _kept(part: Tensor) -> Parameter:
    """A copy, so that the memory of the whole is given back."""
    return Parameter(part.detach().clone(memory_format=torch.contiguous_format), requires_grad=False)
