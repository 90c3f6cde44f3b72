"""Linear layers in 8 bits: near the floats, and the same whatever else is in the batch."""

from pathlib import Path

import pytest
import torch

from agon.engine.engine import Engine
from agon.engine.int8 import Int8Linear, input_bits
from agon.engine.params import Limits, Request, SamplingParams
from agon.errors import SetupError
from contract.engine.adapters import make_adapter
from contract.engine.tiny import make_hf_model, make_hf_tokenizer, prompts_of, run, told_tokens

PARAMS = SamplingParams(temperature=0, max_tokens=16, ignore_eos=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    make_hf_model("qwen2", torch.float32).save_pretrained(path)
    make_hf_tokenizer().save_pretrained(path)
    return path


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("bits", "most"), [(7, 0.02), (input_bits(), 0.02 if input_bits() == 7 else 0.012)])
@torch.inference_mode()
def test_a_layer_gives_what_floats_give_within_the_rounding(bias: bool, bits: int, most: float) -> None:
    torch.manual_seed(5)
    layer = torch.nn.Linear(96, 70, bias=bias)
    x = torch.randn(1, 9, 96) * torch.logspace(-4, 3, 9)[:, None]
    rounded = Int8Linear(layer, bits)
    error = torch.linalg.vector_norm(rounded(x) - layer(x), dim=-1) / torch.linalg.vector_norm(layer(x), dim=-1)
    assert error.max() < most, "also for tokens that are small beside others"
    assert (rounded.weight - layer.weight).abs().max() <= layer.weight.abs().max() / 253
    assert isinstance(rounded, torch.nn.Linear)


@pytest.mark.parametrize("bits", [7, input_bits()])
@torch.inference_mode()
def test_the_greatest_sums_and_none_at_all_are_exact(bits: int) -> None:
    layer = torch.nn.Linear(512, 40, bias=False)
    layer.weight.fill_(1)
    rounded = Int8Linear(layer, bits)
    for value in (1.0, -1.0, 0.0):
        assert torch.allclose(rounded(torch.full((9, 512), value)), torch.full((9, 40), 512 * value), atol=1e-3)


@torch.inference_mode()
def test_a_row_does_not_depend_on_the_others() -> None:
    torch.manual_seed(6)
    layer = Int8Linear(torch.nn.Linear(64, 48))
    x = torch.randn(33, 64) * torch.logspace(-3, 3, 33)[:, None]
    x[7], x[8], x[9, 3] = 0, float("nan"), float("inf")
    alone = torch.cat([layer(row[None]) for row in x])
    assert torch.equal(layer(x).nan_to_num(12345), alone.nan_to_num(12345))
    assert alone[[8, 9]].isnan().all()
    assert alone[7].isfinite().all()


def test_answers_do_not_depend_on_the_batch_and_chunks(folder: Path) -> None:
    prompts = prompts_of((5, 31, 17, 8))
    wide = Engine.from_pretrained(folder, Limits(), dtype="int8")
    narrow = Engine.from_pretrained(folder, Limits(max_batch_tokens=4, max_sequences=4), dtype="int8")
    together = run(narrow, *(Request(str(i), prompt, PARAMS) for i, prompt in enumerate(prompts)))
    for i, prompt in enumerate(prompts):
        assert told_tokens(run(wide, Request("x", prompt, PARAMS))["x"]) == told_tokens(together[str(i)])


def test_adapters_work_on_rounded_weights(folder: Path, tmp_path: Path) -> None:
    engine = Engine.from_pretrained(folder, Limits(), dtype="int8")
    for name, dora in (("plain", False), ("dora", True)):
        engine.load_adapter(name, make_adapter(tmp_path / name, 1, "qwen2", use_dora=dora))
    prompt = prompts_of((9,))[0]
    told = run(engine, *(Request(str(name), prompt, PARAMS, adapter=name) for name in (None, "plain", "dora")))
    assert len({tuple(told_tokens(events)) for events in told.values()}) == 3


def test_parameters_are_counted_and_a_gpu_is_refused(folder: Path) -> None:
    whole, rounded = (Engine.from_pretrained(folder, dtype=dtype).model for dtype in ("float32", "int8"))
    assert whole.parameters == rounded.parameters
    assert whole.linears.keys() == rounded.linears.keys()
    with pytest.raises(SetupError, match="CPUs"):
        Engine.from_pretrained(folder, dtype="int8", device="cuda")


@pytest.mark.parametrize("biases", [(False, False), (True, True), (True, False)])
def test_layers_side_by_side_give_what_each_gives_by_itself(biases: tuple[bool, bool]) -> None:
    torch.manual_seed(5)
    x = torch.randn(3, 64)
    layers = [Int8Linear(torch.nn.Linear(64, 32 + 16 * n, bias=bias)) for n, bias in enumerate(biases)]
    with torch.inference_mode():
        apart, weights = [layer(x) for layer in layers], [layer.weight for layer in layers]
        together = Int8Linear.side_by_side(layers)
        assert torch.equal(together(x), torch.cat(apart, 1))
        for layer, alone, weight in zip(layers, apart, weights, strict=True):
            assert torch.equal(layer(x), alone)
            assert torch.equal(layer.weight, weight)
