"""Loads a transformers decoder whose attention is ours, and runs it on packed steps."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from agon.engine.attention import NAME, Attention
from agon.engine.decoder import FAMILIES, Decoder, settled
from agon.engine.int8 import round_linears
from agon.engine.kv import CacheShape
from agon.engine.shard import Shard, share_out, shares_heads
from agon.errors import SetupError

SERVED = frozenset(
    {
        "gemma2", "gemma3_text", "gpt_neox", "llama", "mistral", "mixtral", "olmo2", "olmoe", "phi3", "qwen2", "qwen3",
        "qwen3_moe", "smollm3",
    }
)  # fmt: skip
"""Architectures (`model_type`) whose tokens a contract test compares with `generate`."""
DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.float32,
}
"""What a model computes in. `int8` is for its linear layers, the rest is in 32-bit floats."""


class LanguageModel:
    """A causal language model of transformers, for packed steps without a batch dimension."""

    def __init__(self, model: Any, shard: Shard | None = None) -> None:
        """Take a model that is loaded already, and keep the `shard` of it. Raises `SetupError`, with the reason, for
        one that cannot be served."""
        refuse_unserved(model.config)
        self.parameters: int = sum(tensor.numel() for tensor in model.parameters())
        """Of the whole model."""
        self._shard = shard
        if shard:
            share_out(model, shard)
        model.set_attn_implementation(NAME)
        self._model = model.eval()
        self._hidden: Tensor | None = None
        model.base_model.register_forward_hook(self._keep_hidden)
        self.config = model.config
        self.dtype: torch.dtype = model.dtype
        self.vocabulary: int = model.config.vocab_size
        self.context_length: int = model.config.max_position_embeddings

    @classmethod
    def from_pretrained(
        cls, folder: Path, dtype: str = "float32", device: str = "cpu", shard: Shard | None = None
    ) -> "LanguageModel":
        """Read a transformers folder: safetensors only, no code of the model. Raises `SetupError` with the reason."""
        from transformers import AutoModelForCausalLM

        if dtype not in DTYPES:
            raise SetupError(f"the dtype {dtype} is not one of {', '.join(DTYPES)}")
        if dtype == "int8" and device != "cpu":
            raise SetupError("int8 is for CPUs; a GPU serves bfloat16")
        if device != "cpu" and not (device.split(":")[0] == "cuda" and torch.cuda.is_available()):
            raise SetupError(f"the device {device} is not here; leave it out to run on the CPU")
        read_config(folder)
        with _readable(folder):
            model = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=DTYPES[dtype],
                attn_implementation=NAME,
                use_safetensors=True,
                trust_remote_code=False,
            )
        made = cls(model, shard)
        torch.nn.Module.to(model, device)
        if dtype == "int8":
            round_linears(model)
        elif device == "cpu":
            for linear in made.linears.values():
                linear.weight.data = settled(linear.weight.data)
        return made

    @property
    def device(self) -> torch.device:
        return self._model.device  # type: ignore[no-any-return]

    @property
    def cache_shape(self) -> CacheShape:
        config = self.config
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        if self._shard and shares_heads(config):
            heads //= self._shard.size
        return CacheShape(config.num_hidden_layers, heads, size, self.dtype)

    @property
    def generation_defaults(self) -> dict[str, Any]:
        """What the model's `generation_config.json` says, as far as it says anything."""
        return dict(self._model.generation_config.to_diff_dict())

    @property
    def drawing_defaults(self) -> tuple[float, float]:
        """Temperature and top-p of answers whose requests name none."""
        default = self.generation_defaults
        temperature, top_p = default.get("temperature"), default.get("top_p")
        if default.get("do_sample") is False:
            temperature = 0.0
        return 1.0 if temperature is None else float(temperature), 1.0 if top_p is None else float(top_p)

    @property
    def eos_ids(self) -> frozenset[int]:
        """Every token that ends an answer, by the generation config and by the model's."""
        found: set[int] = set()
        for config in (self._model.generation_config, self.config):
            eos = getattr(config, "eos_token_id", None)
            found.update([] if eos is None else [eos] if isinstance(eos, int) else eos)
        return frozenset(found)

    @property
    def linears(self) -> dict[str, torch.nn.Linear]:
        """The linear layers by their path, without the one that makes logits: what an adapter may adapt."""
        head = self._model.get_output_embeddings()
        return {path: m for path, m in self._model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head}

    def forward(self, tokens: Tensor, positions: Tensor, keep: Tensor, paged: Attention) -> tuple[Tensor, Tensor]:
        """Logits (fp32 or better) of the packed tokens at the indices `keep`: len(keep) x vocabulary; and for every
        token whether its last hidden state is finite.

        Each token attends to itself in every layer, and what is not a number stays in its residual stream to the end:
        a finite token has written finite keys and values in all layers.
        """
        if self._decoder:
            logits, hidden = self._decoder(tokens, positions, keep, paged)
        else:
            output = self._model(
                input_ids=tokens[None], position_ids=positions[None], use_cache=False, logits_to_keep=keep, paged=paged
            )
            assert self._hidden is not None
            logits, hidden, self._hidden = output.logits[0], self._hidden[0], None
        finite = hidden.sum(-1, dtype=torch.promote_types(hidden.dtype, torch.float32)).isfinite()
        return logits if logits.dtype == torch.float64 else logits.float(), finite

    @cached_property
    def _decoder(self) -> Decoder | None:
        """In the place of transformers' modules where it can be; made at the first step, when weights are final."""
        wide = self.dtype in (torch.float32, torch.float64)
        if self.device.type == "cpu" and wide and not self._shard and self.config.model_type in FAMILIES:
            return Decoder(self._model)
        return None

    def _keep_hidden(self, module: Any, inputs: Any, output: Any) -> None:
        self._hidden = output.last_hidden_state


def read_config(folder: Path) -> Any:
    """The configuration of a model that can be served. Raises `SetupError` with the reason for any other."""
    from transformers import AutoConfig

    with _readable(folder):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    refuse_unserved(config)
    return config


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        first = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise SetupError(f"the model {folder} cannot be loaded: {first}") from error


def refuse_unserved(config: Any) -> None:
    """Raise `SetupError` for a model whose answers would be wrong or are not tested."""
    kind = getattr(config, "model_type", "unknown")
    if getattr(config, "is_encoder_decoder", False):
        raise SetupError(f"{kind} models have an encoder and a decoder; only models with a decoder alone are served")
    others = sorted(set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"})
    if others:
        raise SetupError(
            f"this {kind} model has layers of {', '.join(others)}; only attention over all tokens or a sliding window, "
            "whose keys and values fit the paged cache, is served"
        )
    if kind not in SERVED:
        raise SetupError(f"models of type {kind} are not served; {', '.join(sorted(SERVED))} are")
    if getattr(config, "quantization_config", None):
        raise SetupError(f"this {kind} model is quantised; serve its original weights")
    rope = getattr(config, "rope_parameters", None) or {}
    # One set for all layers, or one for each type of layer.
    for parameters in (rope, *(value for value in rope.values() if isinstance(value, dict))):
        if parameters.get("rope_type", "default") in ("dynamic", "longrope"):
            # These change the rotation of all tokens with the length of the longest, which a batch of strangers shares.
            raise SetupError(
                f"this {kind} model's rope type {parameters['rope_type']} depends on the batch and is not served"
            )
