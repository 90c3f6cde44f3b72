"""Many open streams in one ingress process: how long a token is on its way, and what a stream holds in memory.

Each stream has a token a second. A script's tokens fall on multiples of its delay on the machine's monotonic clock, so
whoever reads one knows when the worker had it to write: the time since then is its hop, through gate, Redis, ingress
and SSE to the client; what the worker is late with is in it. Ten streams share each delay, and with it the step, as the
sequences of one engine do; each ten have one that is a trace longer than that of the ten before, which spreads the
tokens over the second. In the second part 250 share a step.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import psutil
import uvloop

from stack import Stack, machine, percentile, running, stream_chat

MODEL = "open"
OPENING = 200  # streams per second
SETTLE, WATCHED = 3.0, 10.0  # seconds: after the last one is open; of tokens that are counted
TOGETHER = (10, 250)
TOKENS = 600  # of each stream, at the most: ten minutes
AIM_MS = 50.0
_EVENT = b'"delta":{"content":"w'


class Watch:
    """Reads all streams; notes hops while it is told to."""

    def __init__(self) -> None:
        self.noting = False
        self.hops: list[float] = []
        self.begun = 0

    def reader(self, delay: float) -> Any:
        """For one stream: each event is one token, as long as none is so late that it shares one."""
        begun = False

        def read(data: bytes) -> None:
            nonlocal begun
            now = time.monotonic()
            if not begun and _EVENT in data:
                begun = True
                self.begun += 1
            if self.noting:
                self.hops += [now % delay] * data.count(_EVENT)

        return read


def delay_of(number: int, together: int) -> float:
    """Of the stream with this number, in seconds."""
    return round(1 + (number // together) * 1e-5 * together, 6)


@contextlib.asynccontextmanager
async def opened(stack: Stack, streams: int, together: int, watch: Watch) -> AsyncIterator[None]:
    """That many streams, each with tokens coming; closed at the end, which stops them."""

    async def one(number: int) -> None:
        delay = delay_of(number, together)
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Go on."}], "max_tokens": TOKENS}
        script = {"x-agon-script": f"delay={delay}"}
        await stream_chat(stack.address, {**body, "ignore_eos": True}, watch.reader(delay), script)

    loop = asyncio.get_running_loop()
    start, tasks = loop.time(), []
    try:
        for number in range(streams):
            await asyncio.sleep(max(0.0, start + number / OPENING - loop.time()))
            tasks.append(asyncio.create_task(one(number)))
        await until(lambda: watch.begun == streams or any(task.done() for task in tasks), 120)
        if watch.begun < streams:
            raise SystemExit(f"a stream has ended: {[task.exception() for task in tasks if task.done()]}")
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def measure(stack: Stack, ingress: psutil.Process, streams: int, together: int) -> dict[str, float]:
    """Open them, count their hops for a while, close them."""
    before = ingress.memory_full_info().pss
    watch = Watch()
    async with opened(stack, streams, together, watch):
        await asyncio.sleep(SETTLE)
        spent, watch.noting = sum(ingress.cpu_times()[:2]), True
        await asyncio.sleep(WATCHED)
        watch.noting = False
        spent = sum(ingress.cpu_times()[:2]) - spent
        held = ingress.memory_full_info().pss - before
    hops = {f"hop_p{share * 100:g}_ms": round(percentile(watch.hops, share) * 1000, 2) for share in (0.5, 0.95, 0.99)}
    return {
        "streams": streams,
        "in_step": together,
        "tokens_per_second": round(len(watch.hops) / WATCHED),
        **hops,
        "ingress_of_a_core": round(spent / WATCHED, 3),
        "ingress_mb_before": round(before / 1e6, 1),
        "kb_per_stream": round(held / streams / 1e3, 1),
    }


async def until(condition: Callable[[], bool], within: float) -> None:
    """Wait for a condition. Raises `TimeoutError`."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110  # nobody would tell us of what other processes do
            await asyncio.sleep(0.2)


async def closed(stack: Stack, ingress: psutil.Process) -> None:
    """Wait until the ingress has no clients."""
    port = stack.address[1]

    def there() -> bool:
        return any(one.laddr.port == port and one.status == "ESTABLISHED" for one in ingress.net_connections("tcp"))

    await until(lambda: not there(), 60)


async def _measure_both(stack: Stack, streams: int) -> list[dict[str, float]]:
    ingress = psutil.Process(next(pid for pid, name in stack.names().items() if name == "ingress"))
    async with opened(stack, min(100, streams), 10, Watch()):  # warm: code paths, connections, caches
        await asyncio.sleep(1)
    await closed(stack, ingress)
    found = []
    for together in TOGETHER:
        found.append(await measure(stack, ingress, streams, together))
        await closed(stack, ingress)
    return found


def figures(streams: int) -> dict[str, Any]:
    """Run a stack of its own and measure both parts."""
    room = str(2 * streams)
    environment = {"AGON_TEST_MODE": "true", "AGON_MAX_CONCURRENT_REQUESTS": room, "AGON_WINDOW": room}
    with running(f"{MODEL}=scripted:tokens={TOKENS},steered=true,capacity={room}", environment=environment) as stack:
        parts = uvloop.run(_measure_both(stack, streams))
    print(f"\n{machine()}\n{streams:,} open streams in one ingress process, a token a second each\n")
    print(f"{'tokens in step':16}{'tokens/s':>10}{'hop p50 ms':>12}{'p95':>8}{'p99':>8}{'ingress core':>14}")
    for part in parts:
        hops = f"{part['hop_p50_ms']:12.2f}{part['hop_p95_ms']:8.2f}{part['hop_p99_ms']:8.2f}"
        print(f"{part['in_step']:<16}{part['tokens_per_second']:10,.0f}{hops}{part['ingress_of_a_core']:14.0%}")
    met = all(part["hop_p99_ms"] < AIM_MS for part in parts)
    print(f"p99 below {AIM_MS:g} ms in both: {'yes' if met else 'no'}")
    first = parts[0]  # what the second part finds in memory is left of the first
    print(
        f"memory of the ingress: {first['ingress_mb_before']} MB, and {first['kb_per_stream']} kB for each open stream"
    )
    return {"streams": streams, "parts": parts, "aim_met": met}
