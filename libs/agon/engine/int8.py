"""Linear layers in 8-bit integers, for CPUs: a quarter of the memory to read, and integer dot products.

Weights are rounded once, with a scale for each output; inputs at each step, with a scale for each token. Products and
sums are integers, hence exact: what a token gets does not depend on what else is in the batch. torch's kernel (fbgemm)
scales a whole batch by its range; so each row is brought to [-1, 1] before it, and a constant row has a range in which
zero and both ends are whole numbers.
"""

import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor


@cache
def input_bits() -> int:
    """Bits that inputs have here: 8 where the processor adds up products of bytes exactly (VNNI), 7 where it saturates.

    Found by adding up the greatest that there are. Answers differ, so a model's digest must tell which.
    """
    layer = torch.nn.Linear(64, 32, bias=False)
    with torch.inference_mode():
        layer.weight.fill_(1)
        sums = Int8Linear(layer, 8)(torch.ones(8, 64))
    return 8 if bool(((sums - 64).abs() < 0.5).all()) else 7


class Int8Linear(torch.nn.Linear):
    """Stands for a linear layer of 32-bit floats, and computes as it would within the rounding."""

    def __init__(self, layer: torch.nn.Linear, bits: int | None = None) -> None:
        """`bits` of inputs, 7 or 8; None for what is exact here."""
        torch.nn.Module.__init__(self)
        self._reduced = (bits or input_bits()) == 7
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.bias = layer.bias
        weight = layer.weight.detach()
        scales = weight.abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny) / 127
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        with warnings.catch_warnings(action="ignore"):  # quantised tensors are to go; there is no faster way today
            rounded = torch.quantize_per_channel(weight, scales.double(), zeros, 0, torch.qint8)
            self._packed: Any = torch.ops.quantized.linear_prepack(rounded, None)
        self._within: tuple[Int8Linear, slice] | None = None
        """Whose weights it shares, and which outputs there are its own."""

    @classmethod
    def side_by_side(cls, layers: Sequence["Int8Linear"]) -> "Int8Linear":
        """Layers with the same input as one, which rounds it once; what each gives comes behind the other, the same as
        from itself. The layers share its weights from then on."""
        made = cls.__new__(cls)
        torch.nn.Module.__init__(made)
        parts = [torch.ops.quantized.linear_unpack(layer._packed)[0] for layer in layers]
        scales, zeros = (
            torch.cat(each)
            for each in zip(*((p.q_per_channel_scales(), p.q_per_channel_zero_points()) for p in parts), strict=True)
        )
        with warnings.catch_warnings(action="ignore"):
            rounded = torch._make_per_channel_quantized_tensor(
                torch.cat([part.int_repr() for part in parts]), scales, zeros, 0
            )
            made._packed = torch.ops.quantized.linear_prepack(rounded, None)
        made._within, made._reduced = None, layers[0]._reduced
        made.in_features, made.out_features = layers[0].in_features, sum(layer.out_features for layer in layers)
        biases = [torch.zeros(layer.out_features) if layer.bias is None else layer.bias.detach() for layer in layers]
        some = any(layer.bias is not None for layer in layers)
        made.bias = torch.nn.Parameter(torch.cat(biases), requires_grad=False) if some else None  # type: ignore[assignment]
        start = 0
        for layer in layers:
            layer._packed, layer._within = None, (made, slice(start, start + layer.out_features))
            start += layer.out_features
        return made

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The weights as they count, in floats (out x in): made anew at each call."""
        if self._within:
            whole, part = self._within
            return whole.weight[part]
        rounded, _ = torch.ops.quantized.linear_unpack(self._packed)
        return rounded.dequantize()  # type: ignore[no-any-return]

    def forward(self, input: Tensor) -> Tensor:
        """`... x in` to `... x out`. A row that is not finite gives a row that is not a number, and harms no other."""
        if self._within:
            whole, part = self._within
            return whole(input)[..., part]  # type: ignore[no-any-return]
        x = input.flatten(0, -2)
        scaled = x.new_empty((len(x) + 1, self.in_features))
        largest = x.abs().amax(1, keepdim=True)
        torch.div(x, largest, out=scaled[:-1])
        scaled[-1, 0], scaled[-1, 1:] = -64 / 63 if self._reduced else -128 / 127, 1
        rounded = torch.ops.quantized.linear_dynamic(scaled.nan_to_num_(0, 0, 0), self._packed, self._reduced)
        y = rounded[:-1].mul_(largest)
        if self.bias is not None:
            y += self.bias
        return y.view(*input.shape[:-1], self.out_features)  # type: ignore[no-any-return]


def round_linears(model: Any) -> None:
    """Put an `Int8Linear` in the place of every linear layer of a transformers model, the one for logits included."""
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, torch.nn.Linear) and not isinstance(layer, Int8Linear):
                setattr(parent, name, Int8Linear(layer))
