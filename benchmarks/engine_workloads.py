"""What the engine's benchmark asks: random models of known shapes, and requests that are the same for every engine.

Prompts are token ids and answers end by length alone, so engines differ in nothing but how they compute.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice, product
from pathlib import Path
from string import ascii_lowercase, printable
from typing import Any

SEED = 0
SYSTEM_TOKENS, TURNS, USER_TOKENS, ANSWER_TOKENS = 512, 5, 32, 24
END = "<|end|>"


@dataclass(frozen=True)
class Item:
    """One request: prompt tokens, how many to answer, when it comes (seconds), and under which adapter."""

    prompt: list[int]
    limit: int
    at: float = 0.0
    adapter: str | None = None

    def json(self) -> dict[str, Any]:
        return asdict(self)


_COMMON: dict[str, Any] = {
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
    "initializer_range": 0.05,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {
        "vocab_size": 4096, "hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 6,
        "num_attention_heads": 8, "num_key_value_heads": 4,
    },
    "m100": {
        "vocab_size": 16384, "hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12,
        "num_attention_heads": 12, "num_key_value_heads": 4,
    },
}  # fmt: skip
"""Llama shapes: 6.5 million and 100.7 million parameters."""


def make_model(shape: str, folder: Path) -> Path:
    """Save a random Llama of the shape with a byte-level tokenizer, unless it is there already."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if not (folder / "tokenizer.json").is_file():
        torch.manual_seed(SEED)
        config = LlamaConfig(**_COMMON, **SHAPES[shape])
        LlamaForCausalLM(config).save_pretrained(folder)
        byte_tokenizer(config.vocab_size).save_pretrained(folder)
    return folder


SCHEMA: dict[str, Any] = {
    "type": "array",
    "minItems": 200,
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 40},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 12}, "minItems": 2, "maxItems": 8},
            "city": {"enum": ["Rome", "Oslo", "Lima"]},
        },
        "required": ["name", "age", "tags", "city"],
        "additionalProperties": False,
    },
}
"""What an application would ask for, and so long that no answer ends before its limit: as many tokens as free text."""


def make_adapters(shape: str, folder: Path, count: int, rank: int = 8) -> dict[str, str]:
    """So many random LoRA adapters of the model's linear layers, by name, as peft saves them."""
    import torch
    from safetensors.torch import save_file

    given = SHAPES[shape]
    hidden, inner = given["hidden_size"], given["intermediate_size"]
    keys = given["num_key_value_heads"] * hidden // given["num_attention_heads"]
    sizes = {
        "self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (hidden, keys), "self_attn.v_proj": (hidden, keys),
        "self_attn.o_proj": (hidden, hidden), "mlp.gate_proj": (hidden, inner), "mlp.up_proj": (hidden, inner),
        "mlp.down_proj": (inner, hidden),
    }  # fmt: skip
    made = {}
    for number in range(count):
        path = folder / f"adapter-{number}"
        path.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(number)
        tensors = {}
        for layer in range(given["num_hidden_layers"]):
            for name, (into, out) in sizes.items():
                stem = f"base_model.model.model.layers.{layer}.{name}"
                tensors[f"{stem}.lora_A.weight"] = torch.randn(rank, into) * 0.05
                tensors[f"{stem}.lora_B.weight"] = torch.randn(out, rank) * 0.05
        save_file(tensors, path / "adapter_model.safetensors")
        config = {"peft_type": "LORA", "r": rank, "lora_alpha": rank}
        (path / "adapter_config.json").write_text(json.dumps(config))
        made[path.name] = str(path)
    return made


def byte_tokenizer(size: int) -> Any:
    """Bytes, then pairs and triples of printable characters, then a token that ends an answer: exactly `size`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = list(islice(_pairs(set(letters)), size - len(letters) - 1))
    tokens = [*letters, *("".join(pair) for pair in merges), END]
    backend = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend, bos_token=END, eos_token=END, unk_token=END
    )


def _pairs(letters: set[str]) -> Iterator[tuple[str, str]]:
    plain = [character for character in printable if character in letters]
    yield from product(plain, plain)
    yield from ((a + b, c) for a, b, c in product(ascii_lowercase, ascii_lowercase, plain))


def mixed(shape: str, count: int, seed: int = SEED) -> list[Item]:
    """Prompts of 16 to 256 tokens, answers of 16 to 256, all at once."""
    draw = random.Random(seed)
    vocabulary = SHAPES[shape]["vocab_size"]
    return [
        Item([draw.randrange(vocabulary) for _ in range(draw.randint(16, 256))], draw.randint(16, 256))
        for _ in range(count)
    ]


def arriving(items: list[Item], per_second: float) -> list[Item]:
    """The same requests as a Poisson process of this rate."""
    draw = random.Random(SEED)
    moment = 0.0
    arrived = []
    for item in items:
        moment += draw.expovariate(per_second)
        arrived.append(Item(item.prompt, item.limit, moment, item.adapter))
    return arrived


def conversations(shape: str, count: int) -> list[list[Item]]:
    """For each conversation what each turn adds: the first adds the system prompt that all share and a user's words,
    later ones a user's words. The answers in between are the engine's own."""
    draw = random.Random(SEED)
    vocabulary = SHAPES[shape]["vocab_size"]

    def words(many: int) -> list[int]:
        return [draw.randrange(vocabulary) for _ in range(many)]

    system = words(SYSTEM_TOKENS)
    return [
        [Item((system if turn == 0 else []) + words(USER_TOKENS), ANSWER_TOKENS) for turn in range(TURNS)]
        for _ in range(count)
    ]
