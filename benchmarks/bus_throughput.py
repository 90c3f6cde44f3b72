"""How many tokens per second come out of SSE: `scripted` workers, 64 streams, one token per event, client included.

    python benchmarks/bus_throughput.py [--streams 64] [--seconds 5] [--workers 1]

When a part falls behind, tokens share events, which hides the limit. So the backend is paced: each stream has a token
every so many milliseconds, and the pace rises until tokens begin to share events (over 1 %). The best rate at which
they did not is the figure; the last line shows what comes out when nothing is paced at all. The table names where the
processor time goes.
"""

import argparse
import asyncio
import os
import time
from dataclasses import dataclass
from typing import Any

import uvloop

from stack import Stack, machine, processor_seconds, running, save, stream_chat

# Seconds between two tokens of a stream. Each is a model with two idle consumers, which cost the broker processor time.
PACES = (0.006, 0.004, 0.0034, 0.0031, 0.0028, 0.0025, 0.0022, 0.0019, 0.0016)
SHARED = 0.01
EVENT, TOKEN = b'"delta":{"content":"', b"word "


@dataclass(frozen=True)
class Run:
    """One pace: tokens and token events read, wall seconds, and processor seconds by process."""

    pace: float
    tokens: int
    events: int
    wall: float
    processor: dict[str, float]

    @property
    def rate(self) -> float:
        return self.tokens / self.wall

    @property
    def own_event(self) -> float:
        """Share of the tokens that came in an event of their own, at least."""
        return max(0.0, 2 * self.events / self.tokens - 1)


def name(pace: float) -> str:
    return f"pace-{pace * 1e6:.0f}us"


async def drain(stack: Stack, pace: float, tokens: int, number: int) -> tuple[int, int]:
    """Read one stream to its end; return how many tokens and how many token events came."""
    message = {"role": "user", "content": f"Stream {number}"}
    body = {"model": name(pace), "messages": [message], "max_tokens": tokens, "ignore_eos": True}
    counted, events, rest = 0, 0, b""

    def count(data: bytes) -> None:
        nonlocal counted, events, rest
        whole, _, rest = (rest + data).rpartition(b"\n")
        counted += whole.count(TOKEN)
        events += whole.count(EVENT)

    await stream_chat(stack.address, body, count)
    return counted, events


def spent_so_far(stack: Stack) -> dict[str, float]:
    """Processor seconds of every process of the stack, and of this client."""
    ours = processor_seconds(os.getpid(), {os.getpid(): "client"})
    return {**processor_seconds(stack.pid, stack.names()), "client": ours["client"]}


async def at(stack: Stack, pace: float, streams: int, seconds: float) -> Run:
    tokens = int(seconds / pace) if pace else 20_000
    before, start = spent_so_far(stack), time.monotonic()
    drained = await asyncio.gather(*(drain(stack, pace, tokens, number) for number in range(streams)))
    wall, after = time.monotonic() - start, spent_so_far(stack)
    counted = sum(one for one, _ in drained)
    if counted != streams * tokens:
        raise SystemExit(f"{counted} tokens came, {streams * tokens} were due")
    spent = {label: after[label] - before.get(label, 0.0) for label in after}
    return Run(pace, counted, sum(events for _, events in drained), wall, spent)


async def measure(stack: Stack, streams: int, seconds: float) -> dict[str, Any]:
    await at(stack, PACES[0], streams, 1)  # warm
    print(f"{machine()}\n{streams} streams\n\n{'ms per token':>12}{'tokens/s':>10}{'own event':>11}")
    runs: list[Run] = []
    best: Run | None = None
    for pace in PACES:
        run = await at(stack, pace, streams, seconds)
        runs.append(run)
        print(f"{pace * 1000:12.1f}{run.rate:10,.0f}{run.own_event:11.1%}")
        if run.own_event < 1 - SHARED:
            break
        best = run
    unpaced = await at(stack, 0.0, streams, seconds)
    print(f"{'unpaced':>12}{unpaced.rate:10,.0f}{unpaced.own_event:11.1%}")
    if best is None:
        print("\ntokens shared events at the slowest pace already: is something else running here?")
    told = best or runs[0]
    print(f"\nprocessor time at {told.rate:,.0f} tokens/s\n{'process':24}{'of a core':>10}{'us/token':>10}")
    for label, spent in sorted(told.processor.items(), key=lambda pair: -pair[1]):
        if spent >= 0.01 * told.wall:
            print(f"{label:24}{spent / told.wall:10.0%}{spent / told.tokens * 1e6:10.1f}")
    return {
        "streams": streams,
        "tokens_per_second_one_per_event": round(best.rate) if best else None,
        "paces": [{"ms": r.pace * 1e3, "tokens_per_second": round(r.rate), "own_event": r.own_event} for r in runs],
        "tokens_per_second_unpaced": round(unpaced.rate),
        "processor_us_per_token": {k: round(s / told.tokens * 1e6, 2) for k, s in told.processor.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Tokens per second out of SSE, load client included.")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5, help="length of each pace (default 5)")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    models = [f"{name(pace)}=scripted:tokens=1000000,delay={pace}" for pace in (*PACES, 0.0)]
    with running(*models, workers=options.workers) as stack:
        save("bus_throughput", uvloop.run(measure(stack, options.streams, options.seconds)))


if __name__ == "__main__":
    main()
