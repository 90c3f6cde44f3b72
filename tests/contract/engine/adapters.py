"""Adapters made by peft for a tiny random model, and the model that each becomes when it is merged."""

import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from contract.engine.tiny import make_hf_model

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def make_adapter(folder: Path, seed: int, family: str = "llama", **config: Any) -> Path:
    """Save a random adapter, strong enough to change every answer."""
    given = {"r": 4, "lora_alpha": 8, "target_modules": ALL, "task_type": "CAUSAL_LM"} | config
    with warnings.catch_warnings(action="ignore"):  # peft's own
        model = get_peft_model(make_hf_model(family), LoraConfig(**given))
    torch.manual_seed(seed)
    for name, tensor in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(tensor, std=0.3)
        elif "lora_magnitude" in name:
            tensor.data *= 0.5 + torch.rand_like(tensor)
    with warnings.catch_warnings(action="ignore"):
        model.save_pretrained(folder)
    return folder


def merged(folder: Path, dtype: torch.dtype, family: str = "llama") -> Any:
    """The base model with the adapter in its weights, by peft."""
    with warnings.catch_warnings(action="ignore"):
        return PeftModel.from_pretrained(make_hf_model(family, dtype), folder).merge_and_unload()
