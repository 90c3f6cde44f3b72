"""LoRA per request: base and adapters in one batch, each answer that of peft's merged model."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from agon.engine.engine import Engine
from agon.engine.events import Event, Failed, Finished
from agon.engine.params import Request
from agon.engine.sampling import SamplingParams
from agon.engine.slots import AdapterSlots
from agon.errors import ModelNotFound, SetupError
from contract.engine.adapters import ALL, make_adapter, merged
from contract.engine.tiny import drain, make_engine, make_hf_model, prompts_of, run, told_tokens

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "attention": {"target_modules": ["q_proj", "v_proj"], "r": 2},
    "rs": {"use_rslora": True, "r": 8},
    "dora": {"use_dora": True, "lora_alpha": 4},
    "patterns": {"rank_pattern": {"up_proj": 6}, "alpha_pattern": {r"layers\.1\..*q_proj": 32}},
}
LIMIT = 12


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("adapters")
    return {name: make_adapter(root / name, seed, **config) for seed, (name, config) in enumerate(KINDS.items())}


def engine_with(folders: Mapping[str, Path], dtype: torch.dtype = torch.float64, **limits: Any) -> Engine:
    engine = make_engine(dtype=dtype, **limits)
    for name, folder in folders.items():
        engine.load_adapter(name, folder)
    return engine


def request(key: str, prompt: list[int], adapter: str | None, **more: Any) -> Request:
    params = SamplingParams(temperature=0, max_tokens=LIMIT, ignore_eos=True)
    return Request(key, prompt, params, adapter=adapter, **more)


def expected(model: Any, prompt: list[int]) -> list[int]:
    ids = torch.tensor([prompt])
    answer = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=LIMIT, do_sample=False,
                            eos_token_id=None, pad_token_id=0)  # fmt: skip
    return list(answer[0, len(prompt) :].tolist())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["fp32", "fp64"])
def test_a_mixed_batch_gives_what_each_merged_model_gives(folders: dict[str, Path], dtype: torch.dtype) -> None:
    engine = engine_with(folders, dtype, max_batch_tokens=16, max_sequences=16)  # prompts come in chunks
    names = [None, *folders, None, *folders]
    prompts = prompts_of([5 + 3 * i for i in range(len(names))])
    pairs = list(zip(prompts, names, strict=True))
    told = run(engine, *(request(str(i), prompt, name) for i, (prompt, name) in enumerate(pairs)))
    models = {name: merged(folders[name], dtype) if name else make_hf_model("llama", dtype) for name in {*names}}
    answers = [told_tokens(told[str(i)]) for i in range(len(pairs))]
    assert answers == [expected(models[name], prompt) for prompt, name in pairs]
    alike = prompts_of((9,))[0]
    apart = run(engine, *(request(str(name), alike, name) for name in (None, *folders)))
    assert len({tuple(told_tokens(events)) for events in apart.values()}) == len(folders) + 1


def test_many_adapters_share_few_slots_in_turn(folders: dict[str, Path]) -> None:
    prompt = prompts_of((20,))[0]
    alone = {name: told_tokens(run(engine_with(folders), request("x", prompt, name))["x"]) for name in folders}
    engine = engine_with(folders, adapter_slots=2)
    names = [*folders] * 3
    for i, name in enumerate(names):
        engine.submit(request(str(i), prompt, name))
    told: dict[str, list[Event]] = {}
    while engine.busy:
        for event in engine.step():
            told.setdefault(event.key, []).append(event)
        assert len({sequence.adapter for sequence in engine.scheduler.running}) <= 2
    assert [told_tokens(told[str(i)]) for i in range(len(names))] == [alone[name] for name in names]


def test_decodes_under_many_adapters_and_under_few_agree(folders: dict[str, Path]) -> None:
    prompt = prompts_of((7,))[0]
    together = run(engine_with(folders), *(request(name, prompt, name) for name in folders))
    few = engine_with(folders)
    run(few, *(request(name, prompt, name) for name in folders))  # all slots are taken, then one is used
    for name in folders:
        assert told_tokens(run(few, request(name, prompt, name))[name]) == told_tokens(together[name])


@pytest.mark.parametrize("layers", [1, 3, 9])
@pytest.mark.parametrize("slots", [1, 4])
def test_an_adapter_that_found_no_memory_half_way_is_not_taken_for_loaded(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, layers: int, slots: int
) -> None:
    prompt = prompts_of((9,))[0]
    engine = engine_with(folders, adapter_slots=slots)
    answers = {name: told_tokens(run(engine_with(folders), request("x", prompt, name))["x"]) for name in ("rs", "dora")}
    run(engine, request("x", prompt, "dora"))
    fill, filled = AdapterSlots._fill, 0

    def failing(self: AdapterSlots, *args: Any) -> None:
        nonlocal filled
        filled += 1
        if filled == layers:
            raise RuntimeError("out of memory")
        fill(self, *args)

    monkeypatch.setattr(AdapterSlots, "_fill", failing)
    [*_, end] = run(engine, request("x", prompt, "rs"))["x"]
    assert isinstance(end, Failed)
    for name in ("rs", "dora", "rs"):
        assert told_tokens(run(engine, request("x", prompt, name))["x"]) == answers[name]


def test_adapters_come_and_go_while_it_runs(folders: dict[str, Path]) -> None:
    prompt = prompts_of((9,))[0]
    engine = engine_with({"plain": folders["plain"]})
    engine.submit(request("old", prompt, "plain"))
    told = {event.key: [event] for event in engine.step()[:1]}
    engine.load_adapter("rs", folders["rs"])
    engine.drop_adapter("plain")
    assert engine.adapters == ("rs",)
    engine.submit(request("new", prompt, "rs"))
    engine.submit(request("late", prompt, "plain"))
    told = drain(engine)
    assert isinstance(told["old"][-1], Finished)
    assert told_tokens(told["new"]) == expected(merged(folders["rs"], torch.float64), prompt)
    refused = told["late"][0]
    assert isinstance(refused, Failed)
    assert isinstance(refused.error, ModelNotFound)
    with pytest.raises(ModelNotFound):
        engine.drop_adapter("plain")


def test_another_adapter_under_the_same_name_shares_nothing_with_the_first(folders: dict[str, Path]) -> None:
    prompt = prompts_of((40,))[0]
    engine = engine_with({"mine": folders["plain"]})
    run(engine, request("a", prompt, "mine"))
    engine.load_adapter("mine", folders["rs"])
    assert told_tokens(run(engine, request("b", prompt, "mine"))["b"]) == expected(
        merged(folders["rs"], torch.float64), prompt
    )


def test_cached_prompts_are_an_adapters_own(folders: dict[str, Path]) -> None:
    prompt = prompts_of((40,))[0]
    engine = engine_with(folders)

    def cached(adapter: str | None) -> int:
        last = run(engine, request("x", prompt, adapter))["x"][-1]
        assert isinstance(last, Finished)
        return last.cached_tokens

    assert [cached(None), cached("plain"), cached("rs"), cached("plain"), cached(None)] == [0, 0, 0, 32, 32]


def test_a_resumed_answer_goes_on_under_its_adapter(folders: dict[str, Path]) -> None:
    prompt = prompts_of((9,))[0]
    whole = told_tokens(run(engine_with(folders), request("x", prompt, "dora"))["x"])
    resumed = run(engine_with(folders), request("x", prompt, "dora", emitted=(tuple(whole[:5]),)))["x"]
    assert told_tokens(resumed) == whole[5:]


def test_without_adapters_nothing_hangs_on_the_model(folders: dict[str, Path]) -> None:
    engine = engine_with(folders)
    run(engine, request("x", prompts_of((9,))[0], None))
    assert not any(layer._forward_hooks for layer in engine.model.linears.values())


def edited(folder: Path, copy: Path, **config: Any) -> Path:
    shutil.copytree(folder, copy)
    file = copy / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    return copy


def test_what_cannot_be_served_is_refused_with_the_reason(folders: dict[str, Path], tmp_path: Path) -> None:
    engine = make_engine(adapter_rank=8)
    plain = folders["plain"]
    weights = "adapter_model.safetensors"

    def refuses(folder: Path, *words: str) -> None:
        with pytest.raises(SetupError) as refused:
            engine.load_adapter("bad", folder)
        assert all(word in str(refused.value) for word in ("bad", *words)), refused.value
        assert engine.adapters == ()

    refuses(tmp_path / "nowhere", "adapter_config.json")
    refuses(make_adapter(tmp_path / "big", 1, r=16), "rank 16", "adapter_rank")
    refuses(edited(plain, tmp_path / "ia3", peft_type="IA3"), "IA3")
    refuses(edited(plain, tmp_path / "pissa", init_lora_weights="pissa"), "pissa", "base")
    refuses(edited(plain, tmp_path / "rep", layer_replication=[[0, 1]]), "layer_replication")
    refuses(edited(plain, tmp_path / "bias", bias="all"), "bias")
    refuses(edited(plain, tmp_path / "scale", lora_alpha=1e400), "beyond the numbers of")
    refuses(make_adapter(tmp_path / "head", 1, target_modules=["lm_head"]), "lm_head")
    refuses(make_adapter(tmp_path / "embed", 1, target_modules=["embed_tokens"]), "embed_tokens")

    copy = edited(plain, tmp_path / "pickle")
    torch.save(load_file(copy / weights), copy / "adapter_model.bin")
    (copy / weights).unlink()
    refuses(copy, "pickle")
    copy = edited(plain, tmp_path / "cut")
    (copy / weights).write_bytes((plain / weights).read_bytes()[:1000])
    refuses(copy, "broken")
    copy = edited(plain, tmp_path / "nan")
    tensors = load_file(copy / weights)
    poisoned = {key: tensor * float("nan") for key, tensor in tensors.items()}
    save_file(poisoned, copy / weights)
    refuses(copy, "not a number")
    copy = edited(plain, tmp_path / "half")
    save_file(
        {key: tensor for key, tensor in tensors.items() if "layers.0.self_attn.q_proj.lora_B" not in key},
        copy / weights,
    )
    refuses(copy, "missing")
    copy = edited(plain, tmp_path / "json")
    (copy / "adapter_config.json").write_text("{")
    refuses(copy, "adapter_config.json")


def test_an_adapter_for_another_base_is_refused(tmp_path: Path) -> None:
    engine = make_engine()
    folder = make_adapter(tmp_path / "other", 1, target_modules=ALL)
    tensors = load_file(folder / "adapter_model.safetensors")
    wide = {key: torch.cat([t, t], -1) if "lora_A" in key else t for key, t in tensors.items()}
    deep = {key.replace("layers.1", "layers.7"): tensor for key, tensor in tensors.items()}
    for changed, word in ((wide, "shapes"), (deep, "layers.7")):
        save_file(changed, folder / "adapter_model.safetensors")
        with pytest.raises(SetupError, match="another base") as refused:
            engine.load_adapter("bad", folder)
        assert word in str(refused.value)
