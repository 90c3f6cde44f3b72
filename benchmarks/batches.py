"""What chats notice of a batch beside them: the time to first token, alone and beside a batch of 10,000 requests.

    python benchmarks/batches.py [--requests 10000] [--model nano-6m|scripted] [--rate 5]

Runs a stack of its own with one worker. Chats leave at a steady rate, whatever becomes of those before them: first
alone, then while the batch runs, for a minute at the most, then alone again. The aim is that the median rises by less
than 20 %. How many requests of the batch are answered meanwhile is told too: what is spare is used.
"""

import argparse
import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

import httpx
import uvloop

from agon import nano
from stack import Stack, machine, percentile, running, save, stream_chat

MODEL = "model"
SCRIPTED = "scripted:tokens=16,delay=0.01"
RUNNING = ("validating", "in_progress", "finalizing")
WARM = 10
TOKENS = 16


@dataclass(frozen=True)
class Chat:
    """One chat: seconds to its first token."""

    first_token: float


def body(text: str) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": TOKENS}


async def chat(stack: Stack, text: str) -> Chat:
    """Seconds from the connection to the first chunk that says something."""
    began, first, told = time.perf_counter(), 0.0, b""

    def read(data: bytes) -> None:
        nonlocal first, told
        told += data
        if not first and told.count(b'"delta":{"content":') > 0:
            first = time.perf_counter()

    await stream_chat(stack.address, body(text), read)
    if not first:
        raise SystemExit(f"a chat said nothing: {told[-500:]!r}")
    return Chat(first - began)


async def chats(stack: Stack, rate: float, over: asyncio.Event) -> list[float]:
    """Open loop: a chat leaves each `1 / rate` seconds until it is over."""
    sent: list[asyncio.Task[Chat]] = []
    start = time.perf_counter()
    while not over.is_set():
        sent.append(asyncio.create_task(chat(stack, f"Hello {len(sent)}")))
        await asyncio.sleep(max(0.0, start + len(sent) / rate - time.perf_counter()))
    return [one.first_token for one in await asyncio.gather(*sent)]


async def alone(stack: Stack, rate: float, seconds: float) -> list[float]:
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, over.set)
    return await chats(stack, rate, over)


async def beside(stack: Stack, rate: float, requests: int, most: float) -> tuple[list[float], dict[str, Any]]:
    """Chats while a batch runs, for so many seconds at the most; and how far it came. What is left is cancelled."""
    lines = [
        {"custom_id": str(n), "method": "POST", "url": "/v1/chat/completions", "body": body(f"Say {n}.")}
        for n in range(requests)
    ]
    over = asyncio.Event()
    async with httpx.AsyncClient(base_url=f"{stack.url}/v1", timeout=60) as client:
        data = "\n".join(map(json.dumps, lines)).encode()
        file = (await client.post("/files", files={"file": data}, data={"purpose": "batch"})).json()
        asked = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        batch = (await client.post("/batches", json=asked)).json()
        began = time.perf_counter()
        chatting = asyncio.create_task(chats(stack, rate, over))
        while batch["status"] in RUNNING and time.perf_counter() < began + most:
            await asyncio.sleep(0.5)
            batch = (await client.get(f"/batches/{batch['id']}")).json()
        seconds = time.perf_counter() - began
        over.set()
        if batch["request_counts"]["failed"] or batch["status"] not in (*RUNNING, "completed"):
            raise SystemExit(f"the batch did not go well: {batch}")
        if batch["status"] in RUNNING:
            await client.post(f"/batches/{batch['id']}/cancel")
        done = batch["request_counts"]["completed"]
        told = {"completed": done, "seconds": round(seconds, 1), "per_second": round(done / seconds, 1)}
        times = await chatting
        while batch["status"] in (*RUNNING, "cancelling"):
            await asyncio.sleep(0.5)
            batch = (await client.get(f"/batches/{batch['id']}")).json()
        return times, told


async def measure(stack: Stack, rate: float, requests: int, seconds: float, most: float) -> dict[str, Any]:
    for number in range(WARM):
        await chat(stack, f"Warm {number}")
    before = await alone(stack, rate, seconds)
    during, batch = await beside(stack, rate, requests, most)
    after = await alone(stack, rate, seconds)
    quiet = [*before, *after]
    figures: dict[str, Any] = {"requests": requests, "chats_per_second": rate, "batch": batch}
    print(f"{machine()}\n{batch['completed']:,} of {requests:,} requests of a batch in {batch['seconds']} s")
    print(f"{'milliseconds to the first token':34}{'chats':>8}{'p50':>8}{'p95':>8}")
    for name, times in (("before", before), ("beside the batch", during), ("after", after)):
        marks = {f"p{int(share * 100)}": round(percentile(times, share) * 1000, 1) for share in (0.5, 0.95)}
        print(f"{name:34}{len(times):8}" + "".join(f"{mark:8.1f}" for mark in marks.values()))
        figures[name] = {"chats": len(times), **marks}
    rise = percentile(during, 0.5) / percentile(quiet, 0.5) - 1
    print(f"the median rises by {rise:.0%}")
    return {**figures, "median_rises_by": round(rise, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time to first token beside a batch.")
    parser.add_argument("--requests", type=int, default=10_000, help="lines of the batch (default 10,000)")
    parser.add_argument("--model", default="nano-6m", help="a bundled model, or `scripted` (default nano-6m)")
    parser.add_argument("--rate", type=float, default=5, help="chats per second (default 5)")
    parser.add_argument("--seconds", type=float, default=20, help="of chats alone, before and after (default 20)")
    parser.add_argument("--most", type=float, default=60, help="seconds of chats beside the batch (default 60)")
    given = parser.parse_args()
    source = SCRIPTED if given.model == "scripted" else str(nano.models()[given.model])
    with running(f"{MODEL}={source}") as stack:
        name = f"batches_{given.model}"
        save(name, uvloop.run(measure(stack, given.rate, given.requests, given.seconds, given.most)))


if __name__ == "__main__":
    main()
