"""One engine on one workload, in a process of its own: reads a job (JSON) on standard input, writes what came of it.

    python benchmarks/engine_runners.py RESULT.json < JOB.json

A process each, so that nobody inherits another's threads, caches or memory.
"""

import json
import sys
import warnings
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from engine_available import use_peers
from engine_llama import llama_cpp
from engine_ours import agon, chat
from engine_peers import ENGINES
from engine_quality import quality
from engine_workloads import Item, make_model


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Answer the job's requests with its engine. Raises `SystemExit` when the engine does not answer them all."""
    from transformers.utils import logging

    warnings.simplefilter("ignore")  # the peers' own
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.set_num_threads(job["threads"])
    options = job["options"]
    # In a child, so that what it takes is not in this process's memory.
    maker = get_context("fork").Process(target=make_model, args=(job["shape"], Path(job["folder"])))
    maker.start()
    maker.join()
    if job["engine"] == "chat":
        return chat(job["folder"], [[Item(**item) for item in items] for items in job["items"]], options)
    use_peers()
    engine = {"agon": agon, "quality": quality, "llama_cpp": llama_cpp, **ENGINES}[job["engine"]]
    return engine(job["folder"], [Item(**item) for item in job["items"]], options)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(run(json.load(sys.stdin))))
