"""A trained model as a transformers folder that loads anywhere."""

from pathlib import Path

import torch
from transformers import GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPERATURE = 0.3
TOP_P = 0.95


def export(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write weights in float16, tokenizer with its template, and the defaults of generation."""
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=True,
        temperature=TEMPERATURE,
        top_p=TOP_P,
        max_new_tokens=256,
        eos_token_id=[tokenizer.eos_token_id],
        pad_token_id=tokenizer.pad_token_id,
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.model_max_length = model.config.max_position_embeddings
    tokenizer.save_pretrained(folder, save_jinja_files=False)
    torch.nn.Module.to(model, torch.float16)
    model.save_pretrained(folder)
