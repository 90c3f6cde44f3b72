"""A gate with a worker, on names of its own."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from agon.stream.connection import connect
from agon.stream.frames import Body, Delta, End, Out, out
from agon.stream.gate import Answer, Append, Claiming, Gate, Yours
from agon.topics import Keys


@dataclass
class Writer:
    """A worker that writes requests of tenant `t` for ingress `i1`, as far as a test needs one."""

    gate: Gate
    name: str = "a:1"
    written: dict[str, list[Out]] = field(default_factory=dict)

    def claiming(self, request: str) -> Claiming:
        return Claiming("t", request, f"top/0/{request}", "d", self.name)

    async def claim(self, request: str) -> Yours:
        [claim] = await self.gate.claim([self.claiming(request)])
        assert isinstance(claim, Yours)
        self.written.setdefault(request, [])
        return claim

    async def write(self, request: str, *entries: tuple[int, Body], attempt: int = 1) -> Answer:
        frames = tuple(out(f"t/{request}", attempt, at, 0, what) for at, what in entries)
        [answer] = await self.gate.append(self.name, [Append("t", request, attempt, "i1", frames)])
        if answer is Answer.OK:
            self.written[request] += frames
        return answer

    async def rewrite(self, request: str) -> Answer:
        append = Append("t", request, 1, "i1", tuple(self.written[request]), rewrite=self.claiming(request))
        [answer] = await self.gate.append(self.name, [append])
        return answer

    async def letters(self, request: str, start: int, end: int) -> Answer:
        return await self.write(request, *((at, Delta((at,), chr(97 + at % 26))) for at in range(start, end)))

    async def finish(self, request: str, tokens: int) -> Answer:
        return await self.write(request, (0, End("finished", 1, tokens, 0, 2.0)))


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url, patience=timedelta(seconds=30))
    yield client
    await client.aclose()


@pytest.fixture
def keys(key_prefix: str) -> Keys:
    return Keys(key_prefix)


@pytest.fixture
def writer(redis: Redis, keys: Keys) -> Writer:
    return Writer(Gate(redis, keys))
