"""Tiny random models with a real tokenizer: what the engine needs to be compared with `generate`."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from agon.engine.engine import Engine
from agon.engine.model import LanguageModel
from agon.engine.params import Limits
from agon.engine.tokenizer import Tokenizer

VOCABULARY = 320
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = ["the quick brown fox jumps over the lazy dog", "größer, çedilla, 東京 und 🌱", "hello there, how are you?"]

EngineMaker = Callable[..., Engine]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


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
    model = {
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**shape)),
        "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**shape)),
        "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**shape, head_dim=16)),
    }[family]()
    return model.to(dtype).eval()


@pytest.fixture(scope="session")
def hf_tokenizer() -> PreTrainedTokenizerFast:
    return make_hf_tokenizer()


@pytest.fixture(scope="session")
def make_engine(hf_tokenizer: PreTrainedTokenizerFast) -> EngineMaker:
    """`make_engine("llama", dtype, page_size=4, ...)`: an engine on the random model of a family."""

    def make(family: str = "llama", dtype: torch.dtype = torch.float64, **limits: Any) -> Engine:
        return Engine(LanguageModel(make_hf_model(family, dtype)), Tokenizer(hf_tokenizer), Limits(**limits))

    return make
