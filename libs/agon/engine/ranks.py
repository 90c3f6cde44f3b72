"""Tensor parallelism as seen by the process that schedules and draws, rank 0: the others, and what they are told.

The others know nothing of sequences: each step they get the tensors of a forward pass, and run it with this process. So
whatever is decided here, who is preempted or finds whose pages, is decided once.
"""

import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

import torch

from agon.engine.batch import Inputs
from agon.engine.model import LanguageModel, read_config
from agon.engine.params import Limits
from agon.engine.shard import Shard, refuse_unshared
from agon.errors import EngineFailed, SetupError

_PATIENCE = 5.0  # seconds in which a process ends by itself


@dataclass(frozen=True, slots=True)
class Task:
    """What a rank is told first: which part of which model it has. They meet by the file `meeting`."""

    folder: Path
    dtype: str
    device: str
    limits: Limits
    shard: Shard
    meeting: str

    def load(self) -> LanguageModel:
        """Read the part, on the rank's own device. Raises `SetupError`."""
        device = device_of(self.device, self.shard.rank)
        if device != "cpu":
            torch.cuda.set_device(device)
        return LanguageModel.from_pretrained(self.folder, self.dtype, device, self.shard)


def device_of(first: str, rank: int) -> str:
    """The device of a rank, where rank 0 has the `first`: the CPU is everybody's."""
    kind, _, index = first.partition(":")
    return first if kind == "cpu" else f"{kind}:{int(index or 0) + rank}"


class Ranks:
    """The processes that have the other parts of a model. When one of them fails, so does the model, for good: who has
    missed a part of a step would take the next one's for it."""

    def __init__(self, folder: Path, dtype: str, device: str, limits: Limits) -> None:
        """Start them. Raises `SetupError` for what cannot be shared."""
        self._size = limits.tensor_parallel
        _refuse(folder, dtype, device, self._size)
        self._meeting = tempfile.TemporaryDirectory(prefix="agon-ranks-")
        shards = [Shard(rank, self._size) for rank in range(self._size)]
        self._own, *others = (Task(folder, dtype, device, limits, one, f"{self._meeting.name}/ranks") for one in shards)
        self._failed = False
        self._processes: list[subprocess.Popen[bytes]] = []
        self._pipes: list[Connection] = []
        for task in others:
            ours, theirs = Pipe()
            with theirs:
                command = [sys.executable, "-m", "agon.engine.rank", str(theirs.fileno())]
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),))
            self._processes.append(process)
            self._pipes.append(ours)
            ours.send_bytes(pickle.dumps(task))

    def load(self) -> LanguageModel:
        """This process' part, when all have theirs. Raises `SetupError` with the reason of whoever could not."""
        model = self._own.load()
        for rank, pipe in enumerate(self._pipes, 1):
            try:
                reason = pipe.recv_bytes().decode()
            except (EOFError, OSError) as error:
                raise SetupError(
                    f"process {rank} of the model {self._own.folder} ended while it was loading"
                ) from error
            if reason:
                raise SetupError(reason)
        with self._meeting:
            self._own.shard.join(self._own.meeting, model.device)
        return model

    @property
    def lost(self) -> str | None:
        """What has happened, where the model can compute no more."""
        codes = {rank: process.poll() for rank, process in enumerate(self._processes, 1)}
        if not self._failed and set(codes.values()) == {None}:
            return None
        ended = ", ".join(f"process {rank} ended with code {code}" for rank, code in codes.items() if code)
        return (
            f"of the {self._size} processes that share this model one has failed ({ended or 'the first'}): load it anew"
        )

    @contextmanager
    def step(self, inputs: Inputs, dirty: list[int]) -> Iterator[None]:
        """Let all compute this, while this process does. Raises `EngineFailed` when one of them fails or has failed."""
        if lost := self.lost:
            raise EngineFailed(lost)
        try:
            told = pickle.dumps((inputs, dirty))
            for pipe in self._pipes:
                pipe.send_bytes(told)
            yield
        except Exception as error:
            self._failed = True
            self.close()
            raise EngineFailed(self.lost or "") from error

    def close(self) -> None:
        """End them."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._meeting.cleanup()


def _refuse(folder: Path, dtype: str, device: str, size: int) -> None:
    if dtype == "int8":
        raise SetupError("int8 runs in one process: leave tensor_parallel out, or take another dtype")
    if device != "cpu" and (last := device_of(device, size - 1)) not in _gpus():
        raise SetupError(f"tensor_parallel={size} needs the devices up to {last}, and {len(_gpus())} GPUs are here")
    refuse_unshared(read_config(folder), size)


def _gpus() -> list[str]:
    return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
