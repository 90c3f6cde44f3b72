"""Tensor parallelism: two processes that share a model say what one says, and end together."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, Phi3Config

from agon.engine.batch import Inputs
from agon.engine.engine import Engine
from agon.engine.events import Failed, Finished
from agon.engine.model import LanguageModel
from agon.engine.params import Limits, Request
from agon.engine.ranks import device_of
from agon.engine.runner import Runner
from agon.engine.sampling import SamplingParams
from agon.engine.shard import Shard, refuse_unshared
from agon.engine.tokenizer import Tokenizer
from agon.errors import EngineFailed, SetupError
from contract.engine.tiny import FAMILIES, make_engine, make_hf_model, make_hf_tokenizer, prompts_of, run, told_tokens

PROMPTS = prompts_of((1, 5, 40))
GREEDY = SamplingParams(temperature=0, max_tokens=6, ignore_eos=True)


class Threads:
    """The other ranks, as threads of this process: cheap, and the same arithmetic."""

    lost = None

    def __init__(self, model: Any, meeting: Path, limits: Limits, size: int = 2) -> None:
        self._told: list[SimpleQueue[Any]] = [SimpleQueue() for _ in range(size - 1)]
        shards = [Shard(rank, size) for rank in range(size)]
        self.model, *others = (LanguageModel(deepcopy(model), shard) for shard in shards)
        self._threads = [
            threading.Thread(target=self._compute, args=(shard, Runner(model, limits), meeting, told), daemon=True)
            for shard, model, told in zip(shards[1:], others, self._told, strict=True)
        ]
        for thread in self._threads:
            thread.start()
        shards[0].join(str(meeting), torch.device("cpu"))

    def _compute(self, shard: Shard, runner: Runner, meeting: Path, told: "SimpleQueue[Any]") -> None:
        shard.join(str(meeting), torch.device("cpu"))
        with torch.inference_mode():
            while step := told.get():
                runner.compute(*step)

    @contextmanager
    def step(self, inputs: Inputs, dirty: list[int]) -> Iterator[None]:
        for told in self._told:
            told.put((inputs, dirty))
        yield

    def close(self) -> None:
        for told in self._told:
            told.put(None)
        for thread in self._threads:
            thread.join()


@contextmanager
def shared_out(model: Any, folder: Path, limits: Limits) -> Iterator[Engine]:
    ranks = Threads(model, folder / "meeting", limits)
    try:
        yield Engine(ranks.model, Tokenizer(make_hf_tokenizer()), limits, ranks)  # type: ignore[arg-type]
    finally:
        ranks.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_says_the_same_when_two_share_it(family: str, tmp_path: Path) -> None:
    shape: dict[str, Any] = {"page_size": 4, "max_batch_tokens": 29, "max_sequences": 3}
    limits = Limits(**shape)
    # Products of experts are in 32 bits at the most.
    dtype = torch.float32 if family in ("mixtral", "olmoe", "qwen3_moe") else torch.float64
    whole = make_engine(family, dtype, **shape)
    with shared_out(make_hf_model(family, dtype), tmp_path, limits) as shared:
        answers, expected = (engine.generate(PROMPTS, GREEDY) for engine in (shared, whole))
    assert [answer.token_ids for answer in answers] == [answer.token_ids for answer in expected]
    assert shared.model.parameters == whole.model.parameters
    assert sum(p.numel() for p in shared.model._model.parameters()) < 0.75 * whole.model.parameters
    heads = [engine._runner.cache.keys[0].shape[0] for engine in (shared, whole)]
    assert heads[0] == (heads[1] if family in ("phi3", "olmo2", "olmoe") else heads[1] // 2)


def test_a_nan_fails_its_request_and_leaves_nothing_behind_in_anybodys_pages(tmp_path: Path) -> None:
    poison, good = 301, prompts_of((9, 21, 5))  # in none of them, nor in their answers
    model = make_hf_model("llama")
    with torch.no_grad():
        model.get_input_embeddings().weight[poison] = float("nan")
    limits = Limits(page_size=4, max_batch_tokens=29, max_sequences=3)
    expected = make_engine().generate(good, GREEDY)
    with shared_out(model, tmp_path, limits) as engine:
        for _ in range(2):
            told = run(engine, Request("bad", [5, 6, poison, 7] * 8, GREEDY))
            assert isinstance(told["bad"][-1], Failed)
            answers = engine.generate(good, GREEDY)
            assert [answer.token_ids for answer in answers] == [answer.token_ids for answer in expected]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    make_hf_model("llama").save_pretrained(path)
    make_hf_tokenizer().save_pretrained(path)
    return path


LIMITS: dict[str, Any] = {"page_size": 4, "max_batch_tokens": 13, "max_sequences": 3}


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[Engine]:
    """An engine whose pages hold the longest of the answers below, and not all."""
    page = make_engine().model.cache_shape.page_bytes(4) // 2
    limits = Limits(kv_cache_bytes=16 * page, tensor_parallel=2, **LIMITS)
    engine = Engine.from_pretrained(folder, limits, dtype="float64")
    yield engine
    engine.close()
    assert engine.lost


def test_two_processes_say_what_one_says_with_chunks_prefix_hits_and_preemption(shared: Engine) -> None:
    sampled = SamplingParams(temperature=0.8, seed=3, max_tokens=16, n=2, ignore_eos=True)
    alone = make_engine(**LIMITS)
    for requests in (
        [Request(str(i), prompt, sampled) for i, prompt in enumerate(PROMPTS)],
        [Request(str(i), [*prompt, 7, 8], GREEDY) for i, prompt in enumerate(PROMPTS)],
    ):
        told, expected = run(shared, *requests), run(alone, *requests)
        for key, events in expected.items():
            for choice in (0, 1):
                assert told_tokens(told[key], choice) == told_tokens(events, choice)
            assert isinstance(told[key][-1], Finished)
    assert shared.scheduler.preemptions
    assert shared.scheduler.prefix_hits
    assert shared.cache_used == 0
    assert shared.lost is None


def test_an_adapter_is_refused(shared: Engine, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="poet is not served: its base is shared"):
        shared.load_adapter("poet", tmp_path)


# The last of those that use it.
def test_when_a_process_is_killed_all_requests_fail_with_the_reason(shared: Engine) -> None:
    for i, prompt in enumerate(PROMPTS):
        shared.submit(Request(str(i), prompt, GREEDY))
    shared.step()
    assert shared._ranks is not None
    os.kill(shared._ranks._processes[0].pid, signal.SIGKILL)
    told = run(shared, Request("later", PROMPTS[0], GREEDY))
    assert told.keys() == {"0", "1", "2", "later"}
    for events in told.values():
        assert isinstance(events[-1], Failed)
        assert isinstance(events[-1].error, EngineFailed)
        assert "of the 2 processes that share this model one has failed" in str(events[-1].error)
    assert "process 1 ended with code -9" in str(shared.lost)


def test_what_cannot_be_shared_is_refused_with_the_reason(folder: Path) -> None:
    with pytest.raises(SetupError, match="2 heads of keys and values, which 4 processes cannot share evenly"):
        Engine.from_pretrained(folder, Limits(tensor_parallel=4))
    with pytest.raises(SetupError, match="int8 runs in one process"):
        Engine.from_pretrained(folder, Limits(tensor_parallel=2), dtype="int8")
    with pytest.raises(SetupError, match="needs the devices up to cuda:1, and 0 GPUs are here"):
        Engine.from_pretrained(folder, Limits(tensor_parallel=2), device="cuda")
    with pytest.raises(SetupError, match="tensor_parallel must be 1 or more"):
        Limits(tensor_parallel=0)
    with pytest.raises(SetupError, match="6 heads, which 4 processes"):
        refuse_unshared(LlamaConfig(hidden_size=96, num_attention_heads=6), 4)
    refuse_unshared(Phi3Config(hidden_size=96, num_attention_heads=6), 4)  # each has all of its heads
    with pytest.raises(SetupError, match="48 features of a layer cannot be shared evenly by 5 processes"):
        LanguageModel(make_hf_model("phi3"), Shard(0, 5))


def test_each_rank_has_a_gpu_of_its_own_from_the_first_on() -> None:
    assert [device_of("cuda", rank) for rank in range(2)] == ["cuda:0", "cuda:1"]
    assert device_of("cuda:2", 1) == "cuda:3"
    assert device_of("cpu", 1) == "cpu"
