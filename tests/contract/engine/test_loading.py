"""Loading: a folder that is served, and the reasons for what is not."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig, LlamaConfig, MptConfig, Qwen3NextConfig, T5Config

from agon.engine.engine import Engine
from agon.engine.model import refuse_unserved
from agon.engine.sampling import SamplingParams
from agon.errors import SetupError
from contract.engine.tiny import make_hf_model, make_hf_tokenizer, prompts_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    model = make_hf_model("llama", torch.float32)
    model.save_pretrained(path)
    make_hf_tokenizer().save_pretrained(path)
    return path


def test_a_folder_is_served_in_fp32(folder: Path) -> None:
    engine = Engine.from_pretrained(folder)
    assert engine.model.dtype == torch.float32
    [answer] = engine.generate([prompts_of((7,))[0]], SamplingParams(temperature=0, max_tokens=4))
    assert len(answer.token_ids) == answer.usage["completion_tokens"]


def test_the_models_own_generation_config_fills_what_is_not_asked(folder: Path) -> None:
    prompt = prompts_of((9,))
    config = GenerationConfig(do_sample=False, eos_token_id=[2, 17])
    config.save_pretrained(folder)
    engine = Engine.from_pretrained(folder)
    greedy = SamplingParams(temperature=0, max_tokens=8)
    assert engine.generate(prompt, SamplingParams(max_tokens=8)) == engine.generate(prompt, greedy)
    assert engine._intake.end_ids == {2, 17}
    assert engine.model.drawing_defaults == (0.0, 1.0)
    GenerationConfig(do_sample=True, temperature=0.5, top_p=0.9, top_k=1, eos_token_id=2).save_pretrained(folder)
    engine = Engine.from_pretrained(folder)
    assert engine.model.drawing_defaults == (0.5, 0.9)
    assert engine.generate(prompt, SamplingParams(max_tokens=8)) == engine.generate(prompt, greedy)


def test_what_the_cache_takes_never_exceeds_its_budget_nor_what_is_useful(folder: Path) -> None:
    from agon.engine.params import Limits

    small = Engine.from_pretrained(folder, Limits(kv_cache_bytes=400_000))
    assert small.cache_bytes <= 400_000
    assert sum(t.nbytes for t in (*small._runner.cache.keys, *small._runner.cache.values)) == small.cache_bytes
    large = Engine.from_pretrained(folder, Limits(max_sequences=2))
    assert large.scheduler.pool.count == 2 * 256 // 16
    tiny = Engine.from_pretrained(folder, Limits(kv_cache_bytes=8 * large.model.cache_shape.page_bytes(16)))
    assert tiny.context_length == 7 * 16


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (MptConfig(), "mpt are not served; gemma2, "),
        (T5Config(), "an encoder and a decoder"),
        (Qwen3NextConfig(num_hidden_layers=4), "layers of linear_attention"),
        (LlamaConfig(rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}), "rope type dynamic"),
        (LlamaConfig(quantization_config={"quant_method": "gptq"}), "quantised"),
    ],
)
def test_a_model_that_would_answer_wrongly_is_refused_with_the_reason(config: Any, says: str) -> None:
    with pytest.raises(SetupError, match=says):
        refuse_unserved(config)


def test_a_folder_without_weights_or_with_a_pickle_is_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    make_hf_tokenizer().save_pretrained(tmp_path)
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(SetupError, match="cannot be loaded"):
        Engine.from_pretrained(tmp_path)


def test_a_broken_config_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no-such-model"}))
    with pytest.raises(SetupError):
        Engine.from_pretrained(tmp_path)
    with pytest.raises(SetupError, match=r"config\.json is missing"):
        Engine.from_pretrained(tmp_path.parent)


def test_without_a_network_a_hub_id_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SetupError, match="the cache does not have it"):
        Engine.from_pretrained("agon-tests/no-such-model")
    with pytest.raises(SetupError, match="neither a folder nor a hub id"):
        Engine.from_pretrained("no such model")


def test_a_device_that_is_not_here_is_refused(folder: Path) -> None:
    for device in ("mps", "tpu"):
        with pytest.raises(SetupError, match=f"the device {device} is not here"):
            Engine.from_pretrained(folder, device=device)
