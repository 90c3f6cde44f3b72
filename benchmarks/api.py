"""What the API costs: requests per second and added latency, beside LiteLLM's proxy; and 2,000 open streams.

    make bench-peers-api                        (once: fetches LiteLLM into .tools)
    python benchmarks/api.py [--rounds 3] [--only requests|streams]

**Requests.** One upstream, a process that answers at once (`api_upstream.py`), is asked straight, through LiteLLM's
proxy, and through agon: its ingress, Kafka, a worker with the `upstream` backend, Redis, and back. What is added is the
median through a proxy less the median straight, one request at a time, until the answer begins to say something;
requests per second are those of 32 connections that ask again at once. agon's own `scripted` worker is shown beside
them: no upstream, so nothing is taken off. Each is one ingress or proxy process, as it comes: LiteLLM without a
database, keys and logs; agon with all that it always does, so its answers are also recorded in Postgres.

All of them run at the same time on the same cores and take turns within each round; they share the cores with the
client, the upstream and, in agon's case, with Kafka and Redis. Processor time per request says what a request costs in
all of its processes, whatever else runs.

**Streams.** See `api_streams.py`.
"""

import argparse
import contextlib
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import uvloop

import api_peers
import api_streams
import api_upstream
from api_client import Call, at_once, one_at_a_time
from api_peers import Server
from stack import Stack, machine, percentile, processor_seconds, running, save

CONNECTIONS = 32
WARM = 300  # requests of each, on each endpoint, before any counts
ONE_BY_ONE = 60  # requests a round
THROUGH, EMBEDS, SCRIPTED = "through", "embeds", "scripted"
AIM_RATE, AIM_LATENCY = 3.0, 1 / 3
ASKED = {"max_tokens": api_upstream.TOKENS}
CHAT = {"messages": [{"role": "user", "content": "Say some words."}], **ASKED}
CALLS = {
    "chat": Call("/v1/chat/completions", CHAT),
    "chat, streamed": Call("/v1/chat/completions", {**CHAT, "stream": True}),
    "completions": Call("/v1/completions", {"prompt": "Say some words.", **ASKED}),
    "embeddings": Call("/v1/embeddings", {"input": "Some words."}, b'"embedding":['),
    "responses": Call("/v1/responses", {"input": "Say some words.", "max_output_tokens": api_upstream.TOKENS}),
}


@dataclass(frozen=True)
class Target:
    """Who is asked: where, under which model's name for which endpoint, and which processes work for it."""

    name: str
    address: tuple[str, int]
    models: dict[str, str]
    pid: int
    processes: dict[int, str]

    def call(self, endpoint: str) -> Call:
        call = CALLS[endpoint]
        return Call(call.path, {"model": self.models[endpoint], **call.body}, call.mark)

    def spent(self) -> dict[str, float]:
        return processor_seconds(self.pid, self.processes)


@dataclass
class Measured:
    """What one target did on one endpoint, over all rounds."""

    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    answers: int = 0
    processor: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        return median(self.rates)

    @property
    def latency(self) -> float:
        return percentile(self.latencies, 0.5)

    @property
    def processor_ms(self) -> float:
        return sum(self.processor.values()) / self.answers * 1000


async def measure(target: Target, endpoint: str, seconds: float, into: Measured) -> None:
    call = target.call(endpoint)
    into.latencies += await one_at_a_time(target.address, call, ONE_BY_ONE)
    before = target.spent()
    answers, took = await at_once(target.address, call, CONNECTIONS, seconds)
    for name, spent in target.spent().items():
        into.processor[name] = into.processor.get(name, 0.0) + spent - before.get(name, 0.0)
    into.answers += answers
    into.rates.append(answers / took)


async def requests(targets: list[Target], rounds: int, seconds: float) -> dict[str, Any]:
    """By endpoint and target; printed as they come."""
    figures: dict[str, Any] = {}
    for endpoint in CALLS:
        asked = [target for target in targets if endpoint in target.models]
        found = {target.name: Measured() for target in asked}
        for target in asked:
            await one_at_a_time(target.address, target.call(endpoint), WARM)
        for turn in range(rounds):
            for target in asked if turn % 2 == 0 else reversed(asked):
                await measure(target, endpoint, seconds, found[target.name])
        figures[endpoint] = told(endpoint, found)
    return figures


def told(endpoint: str, found: dict[str, Measured]) -> dict[str, Any]:
    """Print an endpoint's lines; return its figures."""
    straight = found["straight"]
    figures: dict[str, Any] = {}
    for name, measured in found.items():
        added = measured.latency - (0.0 if name == SCRIPTED else straight.latency)
        figures[name] = {
            "per_second": round(measured.rate, 1),
            "p50_ms": round(measured.latency * 1000, 2),
            "added_p50_ms": round(added * 1000, 2),
            "processor_ms": {
                key: round(spent / measured.answers * 1000, 3) for key, spent in measured.processor.items()
            },
        }
        shown = (
            f"{measured.rate:12,.0f}{measured.latency * 1000:10.2f}{added * 1000:10.2f}{measured.processor_ms:14.2f}"
        )
        print(f"{endpoint:18}{name:12}{shown}")
    if "LiteLLM" in found:
        ours, theirs = figures["agon"], figures["LiteLLM"]
        rate = ours["per_second"] / theirs["per_second"]
        latency = ours["added_p50_ms"] / theirs["added_p50_ms"]
        met = rate >= AIM_RATE and latency <= AIM_LATENCY
        figures["ratios"] = {"per_second": round(rate, 2), "added": round(latency, 2), "aims_met": met}
        print(
            f"{'':18}agon to LiteLLM: {rate:.1f} x its requests per second, {latency:.2f} x its added latency\n",
            flush=True,
        )
    return figures


def targets_of(stack: Stack, upstream: Server, other: Server | None) -> list[Target]:
    names = stack.names() | {stack.pid: "agon up"}
    straight = Target("straight", upstream.address, dict.fromkeys(CALLS, api_upstream.MODEL), upstream.pid, {})
    agon = Target("agon", stack.address, dict.fromkeys(CALLS, THROUGH) | {"embeddings": EMBEDS}, stack.pid, names)
    spoken = {endpoint: SCRIPTED for endpoint in CALLS if endpoint != "embeddings"}  # a script has none
    found = [straight, agon, Target(SCRIPTED, stack.address, spoken, stack.pid, names)]
    if other is not None:
        theirs = dict.fromkeys(CALLS, api_peers.CHAT) | {"completions": api_peers.COMPLETION}
        found.insert(1, Target("LiteLLM", other.address, theirs, other.pid, {other.pid: "litellm"}))
    return found


def beside_peers(rounds: int, seconds: float) -> dict[str, Any]:
    """Requests per second and added latency."""
    with contextlib.ExitStack() as running_now:
        upstream = running_now.enter_context(api_peers.upstream())
        url = f"http://{upstream.address[0]}:{upstream.address[1]}"
        version = api_peers.litellm_version()
        other = running_now.enter_context(api_peers.litellm(url)) if version else None
        if other is None:
            print("LiteLLM is not here (make bench-peers-api): agon alone")
        through = f"upstream:{url}/v1#{api_upstream.MODEL},concurrency={CONNECTIONS}"
        stack = running_now.enter_context(
            running(
                f"{THROUGH}={through}",
                f"{EMBEDS}={through},embeds=true",
                f"{SCRIPTED}=scripted:tokens={api_upstream.TOKENS}",
            )
        )
        head = f"{'endpoint':18}{'asked':12}{'requests/s':>12}{'p50 ms':>10}{'added ms':>10}{'processor ms':>14}"
        print(f"{machine()}, LiteLLM {version}\n{CONNECTIONS} connections\n\n{head}", flush=True)
        figures = uvloop.run(requests(targets_of(stack, upstream, other), rounds, seconds))
    return {"litellm": version, "connections": CONNECTIONS, "rounds": rounds, **figures}


def main() -> None:
    parser = argparse.ArgumentParser(description="What the API costs, beside LiteLLM's proxy; and 2,000 open streams.")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each on each endpoint (default 3)")
    parser.add_argument("--seconds", type=float, default=2, help="of requests at once, each turn (default 2)")
    parser.add_argument("--streams", type=int, default=2000, help="streams that are open at once (default 2000)")
    parser.add_argument("--only", choices=("requests", "streams"), help="one of the two parts")
    given = parser.parse_args()
    if given.only != "streams":
        save("api", beside_peers(given.rounds, given.seconds))
    if given.only != "requests":
        save("api_streams", api_streams.figures(given.streams))


if __name__ == "__main__":
    main()
