"""On a GPU: decode tokens per second beside what the memory's bandwidth allows, and transformers' continuous batching.

Models have random weights in the shapes of Llama 8B and Qwen3 0.6B, in bfloat16, and never touch the disk.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from agon.engine import Engine, Limits, Request, SamplingParams, Tokens
from agon.engine.model import LanguageModel
from agon.engine.tokenizer import Tokenizer
from engine_figures import Aims
from engine_workloads import byte_tokenizer
from stack import save

PROMPT, DECODES = 128, 128
BATCHES = (1, 8, 64)
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama 8B": (
        "Llama",
        {
            "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
            "num_attention_heads": 32, "num_key_value_heads": 8,
        },
    ),
    "Qwen3 0.6B": (
        "Qwen3",
        {
            "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
            "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": True,
        },
    ),
}  # fmt: skip


def cuda(quick: bool) -> None:
    """Print and keep the figures. Raises `SystemExit` where there is no GPU."""
    if not torch.cuda.is_available():
        raise SystemExit("there is no CUDA here: torch sees no GPU")
    aims, told = Aims(), {}
    speed = bandwidth()
    print(f"{torch.cuda.get_device_name()}: {speed / 1e9:.0f} GB/s read")
    for name in list(SHAPES)[1 if quick else 0 :]:
        model = random_model(name)
        weights = sum(p.numel() * p.element_size() for p in model.parameters())
        for batch in BATCHES:
            peer = continuous_batching(model, batch)
            engine = Engine(
                LanguageModel(model), Tokenizer(byte_tokenizer(model.config.vocab_size)),
                Limits(kv_cache_bytes=4 * 2**30, max_batch_tokens=8192, max_sequences=64),
            )  # fmt: skip
            ours = decode_rate(engine, batch)
            shape = engine.model.cache_shape
            # Each step reads all weights, and the keys and values of each sequence: half of them at the middle.
            read = weights + batch * shape.page_bytes(1) * (PROMPT + DECODES // 2)
            limit = batch * speed / read
            print(f"{name}, batch {batch}: {ours:.0f} tokens/s, limit {limit:.0f}, transformers CB {peer:.0f}")
            aims.at_least(f"{name}, batch {batch}: decode over the memory's limit", ours / limit, 0.7)
            told[f"{name}/{batch}"] = {"tokens_per_second": ours, "limit": limit, "transformers_cb": peer}
            del engine
        del model
        torch.cuda.empty_cache()
    print(aims.told())
    if not quick:
        save("engine_cuda", {"device": torch.cuda.get_device_name(), "runs": told, "aims": aims.rows})


def bandwidth() -> float:
    """Bytes read per second, the best of ten sums of 4 GiB."""
    data = torch.ones(2**31, dtype=torch.bfloat16, device="cuda")
    best = 0.0
    for _ in range(10):
        with stopwatch() as spent:
            data.view(torch.int32).sum()
        best = max(best, data.numel() * 2 / spent[0])
    return best


def random_model(name: str) -> Any:
    """In bfloat16 on the GPU."""
    import transformers

    family, shape = SHAPES[name]
    config = getattr(transformers, f"{family}Config")(
        **{"tie_word_embeddings": False, **shape}, max_position_embeddings=4096, bos_token_id=None, eos_token_id=None
    )
    torch.manual_seed(0)
    with torch.device("cuda"):
        return getattr(transformers, f"{family}ForCausalLM")._from_config(config, dtype=torch.bfloat16).eval()


def decode_rate(engine: Engine, batch: int) -> float:
    """Tokens per second while all sequences decode; the first steps, with the prompts, are not counted."""
    prompts = [[(7 * i + j) % 1000 for j in range(PROMPT)] for i in range(batch)]
    params = SamplingParams(temperature=0, max_tokens=DECODES, ignore_eos=True)
    engine.generate(prompts, params)  # graphs and kernels are made at first use
    for i, prompt in enumerate(prompts):
        engine.submit(Request(str(i), prompt[::-1], params))
    started: set[str] = set()
    while len(started) < batch:
        started |= {event.key for event in engine.step() if isinstance(event, Tokens)}
    told = 0
    with stopwatch() as spent:
        while engine.busy:
            told += sum(len(event.token_ids) for event in engine.step() if isinstance(event, Tokens))
    return told / spent[0]


def continuous_batching(model: Any, batch: int) -> float:
    """transformers' own, from the first tokens of all to the last."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    generation: Any = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False, eos_token_id=-1, pad_token_id=0, max_new_tokens=DECODES
    )
    prompts = [[(7 * i + j) % 1000 for j in range(PROMPT)] for i in range(batch)]
    config = ContinuousBatchingConfig(num_blocks=256, max_batch_tokens=8192)
    model.set_attn_implementation("sdpa")
    for _ in range(2):  # the first warms up
        answers = model.generate_batch(prompts, generation, config, record_timestamps=True, max_new_tokens=DECODES)
    times = [answer.timestamps for answer in answers.values()]
    start: float = max(each[0] for each in times)
    last: float = max(each[-1] for each in times)
    told = sum(moment > start for each in times for moment in each)
    return float(told / (last - start))


@contextmanager
def stopwatch() -> Iterator[list[float]]:
    """Seconds of the block, its work on the GPU included, as the only item of the list."""
    spent: list[float] = []
    torch.cuda.synchronize()
    begin = time.perf_counter()
    yield spent
    torch.cuda.synchronize()
    spent.append(time.perf_counter() - begin)
