"""How many tokens per second come out of SSE: `scripted` workers, 64 streams, one token per event, client included.

    python benchmarks/bus_throughput.py [--streams 64] [--tokens 2000] [--workers 1]

Prints the rate and, per process, the processor time it took: where the time goes.
"""

import argparse
import asyncio
import time
from typing import Any

import psutil
import uvloop

from stack import Stack, machine, running, save, stream_chat

MODEL = "fast"


async def drain(stack: Stack, tokens: int, number: int) -> tuple[int, float]:
    """Read one stream to its end; return how many token events came, and when the first did."""
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": f"Stream {number}"}],
        "max_tokens": tokens,
        "ignore_eos": True,
    }
    events, first, rest = 0, 0.0, b""
    async for at, data in stream_chat(stack.address, body):
        first = first or at
        data = rest + data
        events += data.count(b'"delta":{"content":"')
        rest = data[-24:] if not data.endswith(b"\n") else b""
        events -= rest.count(b'"delta":{"content":"')
    return events, first


def processor_seconds(stack: Stack) -> dict[str, float]:
    """User and system seconds so far of every process of the stack, and of this client."""
    spent: dict[str, float] = {}
    known = {service["pid"]: service["name"] for service in stack.status()["services"]}
    for process in psutil.Process(stack.pid).children(recursive=True):
        name = known.get(process.pid) or process.name()
        times = process.cpu_times()
        spent[name] = spent.get(name, 0.0) + times.user + times.system
    times = psutil.Process().cpu_times()
    spent["client"] = times.user + times.system
    return spent


async def measure(stack: Stack, streams: int, tokens: int) -> dict[str, Any]:
    await asyncio.gather(*(drain(stack, 50, number) for number in range(8)))
    before, start = processor_seconds(stack), time.monotonic()
    counted = await asyncio.gather(*(drain(stack, tokens, number) for number in range(streams)))
    wall = time.monotonic() - start
    after = processor_seconds(stack)
    events = sum(count for count, _ in counted)
    if events != streams * tokens:
        raise SystemExit(f"{events} token events came, {streams * tokens} were due")
    spent = {name: after[name] - before.get(name, 0.0) for name in after}
    print(f"{machine()}\n{streams} streams of {tokens} tokens, one token per event: {events / wall:,.0f} tokens/s")
    print(f"\n{'process':24}{'seconds':>9}{'share':>8}{'us/token':>10}")
    for name, seconds in sorted(spent.items(), key=lambda pair: -pair[1]):
        if seconds >= 0.01 * wall:
            print(f"{name:24}{seconds:9.2f}{seconds / sum(spent.values()):8.0%}{seconds / events * 1e6:10.1f}")
    return {
        "streams": streams,
        "tokens": tokens,
        "tokens_per_second": round(events / wall),
        "processor_us_per_token": {name: round(s / events * 1e6, 2) for name, s in spent.items() if s >= 0.01 * wall},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Tokens per second out of SSE, load client included.")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=2000, help="tokens per stream (default 2000)")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    with running(f"{MODEL}=scripted:tokens={options.tokens}", workers=options.workers) as stack:
        save("bus_throughput", uvloop.run(measure(stack, options.streams, options.tokens)))


if __name__ == "__main__":
    main()
