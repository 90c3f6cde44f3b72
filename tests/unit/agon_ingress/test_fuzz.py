"""Malformed bodies: never a 500, never a hang. `make fuzz` sends more of them, and others each time."""

import asyncio
import os
import random

from unit.agon_ingress.offline import malformed, offline, post

COUNT = int(os.environ.get("AGON_FUZZ", "10000"))
EXPECTED = {400, 404, 413, 415, 503}
"""503 is for what is in order: Kafka is away."""


async def test_no_body_makes_a_500_or_a_hang() -> None:
    chosen = random.SystemRandom().randrange(2**32) if "AGON_FUZZ" in os.environ else 1
    seed = int(os.environ.get("AGON_FUZZ_SEED", "0")) or chosen
    print(f"AGON_FUZZ_SEED={seed}")
    draw, app, seen = random.Random(seed), offline(), dict.fromkeys(EXPECTED, 0)
    for number in range(COUNT):
        path, body = malformed(draw)
        async with asyncio.timeout(60):
            told = await post(app, path, body)
        assert told.status in EXPECTED, (number, path, body, told)
        assert told.error["message"], (path, body)
        seen[told.status] += 1
    assert min(seen[400], seen[503]) > COUNT / 50, f"bodies reach the parser, and beyond: {seen}"
