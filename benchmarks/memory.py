"""What each process of a stack at rest holds in memory.

    python benchmarks/memory.py

Starts a stack with the bundled models, answers one chat, waits until it is at rest and prints resident and
proportional set sizes in MB (a page that k processes share counts 1/k in the proportional size).
"""

import asyncio
import time
from typing import Any

import psutil

from stack import Stack, machine, running, save, stream_chat


async def warm(stack: Stack) -> None:
    """One chat, so that lazy imports have happened."""
    body = {"model": "nano-1m", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
    await stream_chat(stack.address, body, lambda data: None)


def measure(stack: Stack) -> dict[str, Any]:
    asyncio.run(warm(stack))
    while any(service["state"] != "running" for service in stack.status()["services"]):
        time.sleep(0.5)  # the second worker starts when the first is ready
    time.sleep(5)  # at rest: no request, and the garbage of the start is collected
    known = {service["pid"]: service["name"] for service in stack.status()["services"]}
    supervisor = psutil.Process(stack.pid)
    sizes: dict[str, dict[str, float]] = {}
    for process in [supervisor, *supervisor.children(recursive=True)]:
        name = "agon up" if process.pid == stack.pid else known.get(process.pid) or process.name()
        memory = process.memory_full_info()
        size = sizes.setdefault(name, {"rss_mb": 0.0, "pss_mb": 0.0})
        size["rss_mb"] += memory.rss / 1e6
        size["pss_mb"] += memory.pss / 1e6
    print(f"{machine()}\n\n{'process':24}{'RSS MB':>8}{'PSS MB':>8}")
    for name, size in sorted(sizes.items(), key=lambda pair: -pair[1]["pss_mb"]):
        print(f"{name:24}{size['rss_mb']:8.0f}{size['pss_mb']:8.0f}")
    return {name: {unit: round(value, 1) for unit, value in size.items()} for name, size in sizes.items()}


def main() -> None:
    with running(workers=2) as stack:
        save("memory", measure(stack))


if __name__ == "__main__":
    main()
