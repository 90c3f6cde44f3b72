"""llama.cpp's way through the same requests: our own loop over its C interface, since its Python class serves one
sequence at a time. A cache of its own for each sequence: one that all share is four times slower on a CPU."""

import ctypes
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine_peers import Timeline, load_transformers
from engine_workloads import Item

CHUNK = 512  # tokens of a step, as ours


def llama_cpp(folder: str, items: Sequence[Item], options: dict[str, Any]) -> dict[str, Any]:
    """Continuous batching: decodes first, then prompts, up to `CHUNK` tokens a step. `type` is f32 or q8_0."""
    library: Any = import_module("llama_cpp")
    silent = library.llama_log_callback(lambda *_: None)
    library.llama_log_set(silent, ctypes.c_void_p(0))
    library.llama_backend_init()
    path = _converted(library, Path(folder), options["type"])
    parameters = library.llama_model_default_params()
    model = library.llama_model_load_from_file(str(path).encode(), parameters)
    slots = min(len(items), 64)
    context = library.llama_context_default_params()
    context.n_ctx, context.n_seq_max, context.kv_unified = 512 * slots, slots, False
    context.n_batch = context.n_ubatch = CHUNK
    context.n_threads = context.n_threads_batch = torch.get_num_threads()
    context.type_k = context.type_v = 0  # GGML_TYPE_F32
    running = library.llama_init_from_model(model, context)
    if not model or not running:
        raise SystemExit("llama.cpp cannot load the model")
    vocabulary = library.llama_vocab_n_tokens(library.llama_model_get_vocab(model))
    memory = library.llama_get_memory(running)
    batch = library.llama_batch_init(CHUNK, 0, 1)
    timeline = Timeline(items)
    done = [0] * len(items)  # prompt tokens computed
    free, waiting = list(range(slots)), list(range(len(items)))
    slot_of: dict[int, int] = {}
    while waiting or slot_of:
        while waiting and free:
            slot_of[waiting.pop(0)] = free.pop()
        count = 0
        drawing: list[tuple[int, int]] = []
        for index in sorted(slot_of, key=lambda i: done[i] < len(items[i].prompt)):
            prompt, said = items[index].prompt, timeline.tokens[index]
            tokens = prompt[done[index] :][: CHUNK - count] or said[-1:]
            begin = done[index] if done[index] < len(prompt) else len(prompt) + len(said) - 1
            if count + len(tokens) > CHUNK:
                break
            for offset, token in enumerate(tokens):
                batch.token[count], batch.pos[count], batch.n_seq_id[count] = token, begin + offset, 1
                batch.seq_id[count][0] = slot_of[index]
                batch.logits[count] = 0
                count += 1
            done[index] = min(len(prompt), done[index] + len(tokens)) if done[index] < len(prompt) else len(prompt)
            if done[index] == len(prompt):
                batch.logits[count - 1] = 1
                drawing.append((index, count - 1))
            if count == CHUNK:
                break
        batch.n_tokens = count
        if library.llama_decode(running, batch):
            raise SystemExit("llama.cpp failed on a batch")
        for index, row in drawing:
            logits = np.ctypeslib.as_array(library.llama_get_logits_ith(running, row), (vocabulary,))
            if timeline.add(index, int(logits.argmax())):
                slot = slot_of.pop(index)
                library.llama_memory_seq_rm(memory, slot, -1, -1)
                free.append(slot)
    return timeline.result()


def _converted(library: Any, folder: Path, kind: str) -> Path:
    """The model as GGUF, in 32-bit floats, or rounded by llama.cpp's own program."""
    path = folder / "model-f32.gguf"
    if not path.is_file():
        _convert(folder, path)
    if kind == "f32":
        return path
    rounded = folder / f"model-{kind}.gguf"
    if not rounded.is_file():
        parameters = library.llama_model_quantize_default_params()
        parameters.ftype = {"q8_0": library.LLAMA_FTYPE_MOSTLY_Q8_0}[kind]
        if library.llama_model_quantize(str(path).encode(), str(rounded).encode(), ctypes.byref(parameters)):
            raise SystemExit("llama.cpp cannot round the model")
    return rounded


def _convert(folder: Path, path: Path) -> None:
    """transformers' Llama to GGUF: other names, and pairs of rotated dimensions side by side."""
    gguf: Any = import_module("gguf")
    model = load_transformers(str(folder))
    config = model.config
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("no_vocab")
    names = {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip
    outer = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    for name, tensor in model.state_dict().items():
        stem, weights = name.removesuffix(".weight"), tensor.numpy()
        if stem in outer:
            writer.add_tensor(f"{outer[stem]}.weight", weights)
            continue
        _, _, layer, part = stem.split(".", 3)
        heads = {"self_attn.q_proj": config.num_attention_heads, "self_attn.k_proj": config.num_key_value_heads}
        if part in heads:
            halves = weights.reshape(heads[part], 2, -1, weights.shape[1])
            weights = halves.swapaxes(1, 2).reshape(weights.shape).copy()
        writer.add_tensor(f"blk.{layer}.{names[part]}.weight", weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
