"""The engine under an event loop: streams side by side, cancelled when left, every request with one end."""

import asyncio
from contextlib import aclosing

import pytest

from agon.engine import AsyncEngine, Failed, Finished, Request, SamplingParams, Tokens
from agon.errors import Cancelled, ContextTooLong
from contract.engine.tiny import make_engine, prompts_of, run, told_tokens

PROMPTS = prompts_of((9, 21, 5))
GREEDY = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True)
LONG = SamplingParams(temperature=0, ignore_eos=True)


async def test_streams_run_side_by_side_and_say_what_they_would_alone() -> None:
    engine = make_engine()
    alone = [told_tokens(run(engine, Request("r", prompt, GREEDY))["r"]) for prompt in PROMPTS]

    async def listen(prompt: list[int]) -> list[int]:
        return told_tokens([event async for event in live.stream(prompt, GREEDY)])

    async with AsyncEngine(engine) as live:
        assert await asyncio.gather(*(listen(prompt) for prompt in PROMPTS)) == alone


async def test_a_stream_that_is_left_is_cancelled() -> None:
    engine = make_engine()
    async with AsyncEngine(engine) as live:
        async with aclosing(live.stream(PROMPTS[0], LONG)) as events:
            async for event in events:
                if isinstance(event, Tokens):
                    break
        # Whoever comes later is computed after the other has been dropped.
        assert [event async for event in live.stream(PROMPTS[1], GREEDY)][-1] == Finished("stream-1", 21, 12)
        assert engine.counts == (0, 0)


async def test_a_request_that_fails_raises_in_its_stream_alone() -> None:
    async with AsyncEngine(make_engine()) as live:
        with pytest.raises(ContextTooLong):
            async for _ in live.stream([3] * 999, GREEDY):
                pass
        assert [event async for event in live.stream(PROMPTS[0], GREEDY)][-1] == Finished("stream-1", 9, 12)


async def test_submitted_requests_can_be_cancelled_and_each_has_one_end() -> None:
    async with AsyncEngine(make_engine()) as live:
        kept, dropped = (
            live.submit(Request("kept", PROMPTS[0], GREEDY)),
            live.submit(Request("dropped", PROMPTS[1], LONG)),
        )
        live.cancel("dropped")
        live.cancel("unknown")
        ends = [[event async for event in events][-1] for events in (kept, dropped)]
    assert isinstance(ends[0], Finished)
    assert isinstance(ends[1], Failed)
    assert isinstance(ends[1].error, Cancelled)


async def test_a_key_that_is_used_twice_ends_the_older_request() -> None:
    async with AsyncEngine(make_engine()) as live:
        older, newer = live.submit(Request("r", PROMPTS[0], LONG)), live.submit(Request("r", PROMPTS[1], GREEDY))
        assert isinstance([event async for event in older][-1], Failed)
        assert isinstance([event async for event in newer][-1], Finished)


async def test_leaving_ends_what_still_runs() -> None:
    engine = make_engine()
    async with AsyncEngine(engine) as live:
        running = live.submit(Request("r", PROMPTS[0], LONG))
    end = [event async for event in running][-1]
    assert isinstance(end, Failed)
    assert isinstance(end.error, Cancelled)
    assert not engine.busy
    with pytest.raises(RuntimeError, match="has been left"):
        live.submit(Request("r", PROMPTS[0], GREEDY))
