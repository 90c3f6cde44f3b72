"""The commonest decoder in as few operations as it takes: on a CPU, half of a step of decodes of a small model is spent
between operations, in the modules of transformers.

It reads the weights of the transformers model, which stays as it is: its layers have their names, and the hooks of
adapters. Activations are tokens x features, without a batch dimension.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding, linear

from agon.engine.attention import Attention
from agon.engine.int8 import Int8Linear

FAMILIES = frozenset({"llama", "mistral", "qwen2", "qwen3", "smollm3"})
"""Types of models whose layers add attention, then a gated inner layer, to the stream, each after an RMS norm."""

_LONG = 2048  # outputs of a linear layer whose weights stay as they are


class SideBySide:
    """Linear layers with the same input as one; what each gives comes behind the other. They share its weights."""

    def __init__(self, layers: Sequence[torch.nn.Linear]) -> None:
        ends = list(accumulate(layer.out_features for layer in layers))
        self._parts = [(layer, slice(*ends)) for layer, ends in zip(layers, pairwise([0, *ends]), strict=True)]
        self._weight: Tensor | None = None
        self._bias: Tensor | None = None
        self._rounded: Int8Linear | None = None
        if all(isinstance(layer, Int8Linear) for layer in layers):
            self._rounded = Int8Linear.side_by_side(layers) if len(layers) > 1 else layers[0]  # type: ignore[arg-type, assignment]
            return
        if not all(type(layer) is torch.nn.Linear for layer in layers):
            return
        if len(layers) == 1:
            self._weight = layers[0].weight.data
        else:
            self._weight = torch.cat([layer.weight.data for layer in layers])
        self._weight = settled(self._weight)
        if any(layer.bias is not None for layer in layers):
            zeros = self._weight.new_zeros(ends[-1])
            self._bias = torch.cat(
                [layer.bias if layer.bias is not None else zeros[part] for layer, part in self._parts]
            ).detach()
        for layer, part in self._parts:
            layer.weight.data = self._weight[part]

    def __call__(self, x: Tensor) -> Tensor:
        if self._rounded is not None:
            y = self._rounded.forward(x)
        elif self._weight is not None:
            y = linear(x, self._weight, self._bias)
        else:
            return torch.cat([layer(x[None])[0] for layer, _ in self._parts], 1)
        for layer, part in self._parts:
            for adapt in layer._forward_hooks.values():
                adapt(layer, (x[None],), y[None, :, part])
        return y


def settled(weight: Tensor) -> Tensor:
    """The same weights (out x in) with the inputs outside in memory: up to twice as fast for up to 64 rows. Not where
    rows become so long that each number is on a page of its own."""
    return weight if len(weight) >= _LONG else weight.t().contiguous().t()


class _Norm:
    """x / sqrt(mean(x^2) + eps), times a weight for each feature."""

    def __init__(self, norm: Any) -> None:
        # With a root of the features' number in the weight, and in eps, the sum needs no division.
        root = math.sqrt(len(norm.weight))
        self._weight = norm.weight.data * root
        self._least = norm.weight.new_tensor(root * math.sqrt(norm.variance_epsilon)).detach()

    def __call__(self, x: Tensor) -> Tensor:
        return (x / torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True), self._least)).mul_(self._weight)


@dataclass(frozen=True, slots=True)
class _Layer:
    before: _Norm
    qkv: SideBySide
    heads: tuple[_Norm, _Norm] | None
    """Of each head's query and key, where there are."""
    turns: bool
    """Whether positions turn queries and keys."""
    scaling: float
    window: int | None
    out: SideBySide
    between: _Norm
    inner: tuple[SideBySide, ...]
    """Gate, then up; as one where the input would be rounded twice. In floats two are quicker."""
    act: Any
    down: SideBySide


class Decoder:
    """A model of one of the `FAMILIES`, on a CPU and whole."""

    def __init__(self, model: Any) -> None:
        inner, config = model.model, model.config
        self._embedding = inner.embed_tokens.weight.data
        self._rotary = inner.rotary_emb
        self._layers = [_layer(layer, config) for layer in inner.layers]
        self._norm = _Norm(inner.norm)
        self._logits = model.get_output_embeddings()
        self._size = inner.layers[0].self_attn.head_dim
        self._queries: int = config.num_attention_heads
        self._keys: int = config.num_key_value_heads

    def __call__(self, tokens: Tensor, positions: Tensor, keep: Tensor, paged: Attention) -> tuple[Tensor, Tensor]:
        """The logits at the indices `keep`, and what the last layer gives for each token: tokens x features."""
        x = embedding(tokens, self._embedding)
        cos, sin = (each[0][:, None] for each in self._rotary(x, positions[None]))
        half = self._size // 2
        sin = torch.cat((-sin[..., :half], sin[..., half:]), -1)
        turned = self._queries + self._keys
        for index, layer in enumerate(self._layers):
            heads = layer.qkv(layer.before(x)).view(len(x), -1, self._size)
            both = heads[:, :turned]
            if layer.heads:
                both[:, : self._queries] = layer.heads[0](both[:, : self._queries])
                both[:, self._queries :] = layer.heads[1](both[:, self._queries :])
            if layer.turns:
                swapped = both.roll(half, -1)
                both.mul_(cos).addcmul_(swapped, sin)
            query, key, value = torch.split_with_sizes(heads.transpose(0, 1), (self._queries, self._keys, self._keys))
            attended = paged.attend(index, query, key, value, layer.scaling, layer.window)
            x += layer.out(attended.view(len(x), -1))
            y = layer.between(x)
            gate, up = (part(y) for part in layer.inner) if len(layer.inner) > 1 else layer.inner[0](y).chunk(2, -1)
            x += layer.down(layer.act(gate).mul_(up))
        return self._logits(self._norm(x[keep])), x


def _layer(layer: Any, config: Any) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    norms = (_Norm(attention.q_norm), _Norm(attention.k_norm)) if hasattr(attention, "q_norm") else None
    return _Layer(
        before=_Norm(layer.input_layernorm),
        qkv=SideBySide((attention.q_proj, attention.k_proj, attention.v_proj)),
        heads=norms,
        turns=bool(getattr(attention, "use_rope", True)),
        scaling=attention.scaling,
        # Mistral's layers have none of their own.
        window=attention.sliding_window
        if hasattr(attention, "sliding_window")
        else getattr(config, "sliding_window", None),
        out=SideBySide((attention.o_proj,)),
        between=_Norm(layer.post_attention_layernorm),
        inner=(SideBySide((mlp.gate_proj, mlp.up_proj)),)
        if isinstance(mlp.gate_proj, Int8Linear)
        else (SideBySide((mlp.gate_proj,)), SideBySide((mlp.up_proj,))),
        act=mlp.act_fn,
        down=SideBySide((mlp.down_proj,)),
    )
