"""A process that computes its part of a model, as the `Ranks` of another say: `python -m agon.engine.rank PIPE`.

It ends when that one does: the pipe between them is closed then, whatever it died of, and a thread notices even while a
forward pass waits.
"""

import os
import pickle
import signal
import sys
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from agon.engine.ranks import Task
from agon.engine.runner import Runner, limits_for
from agon.errors import SetupError


def main(pipe: Connection) -> None:
    # What stops the other process lets its answers end first, and those need this one.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    told: SimpleQueue[Any] = SimpleQueue()
    Thread(target=_listen, args=(pipe, told), daemon=True).start()
    task: Task = told.get()
    try:
        model = task.load()
        runner = Runner(model, limits_for(model.device.type, task.limits))
    except SetupError as error:
        pipe.send_bytes(str(error).encode())
        return
    pipe.send_bytes(b"")
    task.shard.join(task.meeting, model.device)
    with torch.inference_mode():
        while True:
            runner.compute(*told.get())


def _listen(pipe: Connection, told: "SimpleQueue[Any]") -> None:
    try:
        while True:
            told.put(pickle.loads(pipe.recv_bytes()))
    except (EOFError, OSError):
        os._exit(0)


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])))
