"""A worker whose models are shared by processes: they serve together, and end together."""

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest

from agon.engine import Engine, SamplingParams
from contract.engine.tiny import make_hf_model, make_hf_tokenizer
from support.workers import Client, StartWorker, eventually

pytestmark = [pytest.mark.servers, pytest.mark.kill, pytest.mark.timeout(600)]


def children(pid: int) -> list[int]:
    return sorted(
        int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()
    )


async def test_a_worker_with_two_shared_models_ends_with_the_reason_when_a_process_of_one_is_killed(
    client: Client, start_worker: StartWorker, tmp_path: Path
) -> None:
    make_hf_model("llama").save_pretrained(tmp_path)
    make_hf_tokenizer().save_pretrained(tmp_path)
    worker = start_worker("w", *(f"{name}={tmp_path},dtype=float64" for name in "ab"), AGON_TENSOR_PARALLEL="2")
    await client.reading("w", model="b", timeout=300)
    asked = {"kind": "completion", "prompt": "hello", "seed": 3, "max_tokens": 20}
    for model in "ab":
        await client.send(model, {"request_id": model, "model": model, **asked})
    done = await client.completed(*"ab", timeout=60)
    [alone] = Engine.from_pretrained(tmp_path, dtype="float64").generate(
        ["hello"], SamplingParams(seed=3, max_tokens=20)
    )
    assert [completion.choices[0].message.content for completion in done] == [alone.text, alone.text]
    first, second = children(worker.process.pid)
    os.kill(first, signal.SIGKILL)
    assert await asyncio.to_thread(worker.process.wait, 60) == 2
    assert "is lost: of the 2 processes that share this model one has failed (process 1 ended" in worker.told()
    await eventually("the other model's process ends too", lambda: _has_ended(second))


def _has_ended(pid: int) -> bool:
    """Gone, or waiting for whoever buries it."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
