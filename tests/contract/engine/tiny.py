"""Tiny random models with a real tokenizer: what the engine needs to be compared with `generate`."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from agon.engine.engine import Engine
from agon.engine.events import Event, Tokens
from agon.engine.model import LanguageModel
from agon.engine.params import Limits, Request
from agon.engine.tokenizer import Tokenizer

VOCABULARY = 320
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = ["the quick brown fox jumps over the lazy dog", "größer, çedilla, 東京 und 🌱", "hello there, how are you?"]


@cache
def make_hf_tokenizer() -> PreTrainedTokenizerFast:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS * 3, trainer)
    hf = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", additional_special_tokens=["<|endoftext|>", "<|im_start|>"]
    )
    hf.chat_template = TEMPLATE
    return hf


# What a family has besides the common shape. Windows are shorter than the tests' prompts.
_EXPERTS: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": 9},
    "qwen2": {},
    "qwen2 with windows": {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1},
    "qwen3": {"head_dim": 16},
    "gemma2": {"head_dim": 16, "sliding_window": 9, "query_pre_attn_scalar": 16, "attn_logit_softcapping": 5.0},
    "gemma3_text": {
        "head_dim": 16,
        "sliding_window": 9,
        "query_pre_attn_scalar": 16,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "phi3": {"sliding_window": 11},
    "olmo2": {},
    "smollm3": {"no_rope_layer_interval": 2},
    "gpt_neox": {"num_key_value_heads": None},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 9},
    "qwen3_moe": {"head_dim": 16, "moe_intermediate_size": 32, **_EXPERTS},
    "olmoe": _EXPERTS,
}


def make_hf_model(family: str, dtype: torch.dtype = torch.float64) -> Any:
    """Random weights, large enough to make answers that differ; ends by itself only where a test lets it."""
    shape: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.3,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    torch.manual_seed(7)
    config = AutoConfig.for_model(family.split()[0], **(shape | FAMILIES[family]))
    model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:  # norms and biases, which begin as ones and zeros, so that nobody would miss them
            parameter.data += torch.randn_like(parameter) * 0.2
    return model


def make_engine(family: str = "llama", dtype: torch.dtype = torch.float64, **limits: Any) -> Engine:
    """An engine on the random model of a family, whose weights are the same every time."""
    return Engine(LanguageModel(make_hf_model(family, dtype)), Tokenizer(make_hf_tokenizer()), Limits(**limits))


def prompts_of(lengths: Sequence[int], seed: int = 11) -> list[list[int]]:
    """Random prompts of these lengths, without control tokens."""
    draw = torch.Generator().manual_seed(seed)
    return [torch.randint(3, VOCABULARY, (length,), generator=draw).tolist() for length in lengths]


def run(engine: Engine, *requests: Request) -> dict[str, list[Event]]:
    """Submit all and step to the end: the events of each."""
    for request in requests:
        engine.submit(request)
    return drain(engine)


def drain(engine: Engine) -> dict[str, list[Event]]:
    told: dict[str, list[Event]] = {}
    while engine.busy:
        for event in engine.step():
            told.setdefault(event.key, []).append(event)
    return told


def told_tokens(events: Sequence[Event], choice: int = 0) -> list[int]:
    return [t for e in events if isinstance(e, Tokens) and e.choice == choice for t in e.token_ids]


def told_text(events: Sequence[Event], choice: int = 0) -> str:
    return "".join(e.text for e in events if isinstance(e, Tokens) and e.choice == choice)


def reference(model: Any, prompt: list[int], count: int) -> list[int]:
    """What `generate` answers, greedy."""
    ids = torch.tensor([prompt])
    with torch.inference_mode():
        output = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False)
    return output[0, len(prompt) :].tolist()  # type: ignore[no-any-return]
