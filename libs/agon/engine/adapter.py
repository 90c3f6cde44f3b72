"""A LoRA adapter as peft saves it: read from its folder, checked against the model it is for, ready to be applied.

A layer's weights are adapted to `W + s B A` (Hu et al., "LoRA", 2021, section 4.1) with s = alpha / r, in rsLoRA
alpha / sqrt(r) (Kalajdzievski, 2023, equation 11). DoRA (Liu et al., 2024, equation 5) scales each row of that to a
learned length: a factor per output, which is computed here once.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from agon.engine.hub import ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapter_digest
from agon.errors import SetupError

_PICKLE = "adapter_model.bin"
_PREFIX = "base_model.model."
_PARTS = {"lora_A.weight": "a", "lora_B.weight": "b", "lora_magnitude_vector": "magnitude"}

# What a configuration may say besides; anything else that is set changes the answer in a way that is not served.
_SERVED = {"peft_type", "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora"}
_NO_MATTER = {
    "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
    "target_modules", "exclude_modules", "lora_dropout", "layers_to_transform", "layers_pattern", "megatron_config",
    "megatron_core", "qalora_group_size", "loftq_config", "eva_config", "lora_ga_config", "ensure_weight_tying",
}  # fmt: skip
# Ways to start training that leave the base model as it is; the others are relative to a base they have changed.
_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")


@dataclass(frozen=True, slots=True)
class Delta:
    """What an adapter adds to one linear layer: `x @ a.T @ b`, and before that `factor` on what the layer gave."""

    a: Tensor
    """rank x in."""
    b: Tensor
    """rank x out, scaled."""
    factor: Tensor | None
    """out, DoRA only."""


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """An adapter of one model. `deltas` are by the path of the layer; `rank` is the greatest of theirs."""

    name: str
    digest: str
    """Of its files: the cached prompts of two adapters are never the same."""
    rank: int
    deltas: Mapping[str, Delta]


def read_adapter(name: str, folder: Path, layers: Mapping[str, torch.nn.Linear], max_rank: int) -> Adapter:
    """Read a folder of peft's for a model with these linear layers (by path). Raises `SetupError` with the reason."""
    what = f"the adapter {name} ({folder})"
    config = _config(folder, what)
    tensors = _tensors(folder, what)
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        path, part = _place(key, what)
        if path not in layers:
            raise SetupError(f"{what} was made for another base{_base(config)}: this model has no linear layer {path}")
        if not tensor.isfinite().all():
            raise SetupError(f"{what} is broken: {key} holds what is not a number")
        parts.setdefault(path, {})[part] = tensor
    if not parts:
        raise SetupError(f"{what} adapts nothing")
    deltas = {path: _delta(path, found, layers[path], config, what) for path, found in parts.items()}
    rank = max(delta.a.shape[0] for delta in deltas.values())
    if rank > max_rank:
        raise SetupError(f"{what} has rank {rank}, the limit is {max_rank}; raise the engine's adapter_rank")
    return Adapter(name, adapter_digest(folder), rank, deltas)


def _config(folder: Path, what: str) -> dict[str, Any]:
    if not (folder / ADAPTER_CONFIG).is_file():
        raise SetupError(f"{what} is no adapter: the folder has no {ADAPTER_CONFIG}")
    try:
        config = json.loads((folder / ADAPTER_CONFIG).read_text())
        kind = config.get("peft_type")
    except (OSError, ValueError, AttributeError) as error:
        raise SetupError(f"{what} is broken: {ADAPTER_CONFIG} cannot be read: {error}") from error
    if kind != "LORA":
        raise SetupError(f"{what} is of type {kind}; LoRA, rsLoRA and DoRA are served")
    if config.get("init_lora_weights") not in _STARTS:
        start = config["init_lora_weights"]
        raise SetupError(
            f"{what} was started by {start}, which changes the base model too; convert it to plain LoRA with "
            "peft's path_initial_model_for_weight_conversion"
        )
    others = config.keys() - _SERVED - _NO_MATTER - {"init_lora_weights"}
    set_ = sorted(key for key in others if config[key] and (key, config[key]) != ("bias", "none"))
    if set_:
        raise SetupError(f"{what} uses {', '.join(set_)} of peft, which is not served")
    return dict(config)


def _tensors(folder: Path, what: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not (folder / ADAPTER_WEIGHTS).is_file():
        if (folder / _PICKLE).is_file():
            raise SetupError(f"{what} is a pickle, which may run code when it is read; save it as {ADAPTER_WEIGHTS}")
        raise SetupError(f"{what} has no {ADAPTER_WEIGHTS}")
    try:
        return load_file(folder / ADAPTER_WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise SetupError(f"{what} is broken: {ADAPTER_WEIGHTS} cannot be read: {error}") from error


def _place(key: str, what: str) -> tuple[str, str]:
    """The layer's path and the part of it that a tensor's name stands for."""
    if key.startswith(_PREFIX):
        for suffix, part in _PARTS.items():
            if key.endswith(f".{suffix}"):
                return key[len(_PREFIX) : -len(suffix) - 1], part
    raise SetupError(f"{what} holds {key}, which is no LoRA of a linear layer; only those are served")


def _delta(
    path: str, parts: Mapping[str, Tensor], layer: torch.nn.Linear, config: Mapping[str, Any], what: str
) -> Delta:
    if not {"a", "b"} <= parts.keys() or ("magnitude" in parts) != bool(config.get("use_dora")):
        raise SetupError(f"{what} is broken: a part of its {path} is missing, or one too many")
    rank, *_ = parts["a"].shape
    into, out = layer.in_features, layer.out_features
    if parts["a"].shape != (rank, into) or parts["b"].shape != (out, rank):
        found = f"{tuple(parts['a'].shape)} and {tuple(parts['b'].shape)}"
        raise SetupError(
            f"{what} was made for another base{_base(config)}: its {path} has shapes {found}, "
            f"this model needs ({rank}, {into}) and ({out}, {rank})"
        )
    alpha = _by_pattern(config.get("alpha_pattern"), path, config.get("lora_alpha", 8))
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    weight = layer.weight
    wide = torch.promote_types(weight.dtype, torch.float32)
    a, b = (parts[part].to(weight.device, wide) for part in ("a", "b"))
    b, factor = b * scale, None
    if "magnitude" in parts:
        if parts["magnitude"].shape != (out,):
            raise SetupError(f"{what} is broken: the magnitude of {path} is not {out} numbers")
        factor = parts["magnitude"].to(a) / torch.linalg.vector_norm(weight.to(wide) + b @ a, dim=1)
        b = b * factor[:, None]
    delta = Delta(a.to(weight), b.t().to(weight).contiguous(), None if factor is None else factor.to(weight))
    # In a product over all slots it would make the rows of other requests no numbers either.
    if not all(part.isfinite().all() for part in (delta.a, delta.b, delta.factor) if part is not None):
        raise SetupError(f"{what} is broken: its scaled weights for {path} are beyond the numbers of {weight.dtype}")
    return delta


def _by_pattern(patterns: Mapping[str, float] | None, path: str, default: float) -> float:
    """What the first pattern says that matches the end of the path, as in peft."""
    return next((value for key, value in (patterns or {}).items() if re.match(rf"(.*\.)?({key})$", path)), default)


def _base(config: Mapping[str, Any]) -> str:
    base = config.get("base_model_name_or_path")
    return f", {base}" if base else ""
