"""The gate against its model, on a real Redis: two workers, an ingress, and everything that can go wrong.

Hypothesis draws what happens, in which order, and shrinks what fails to a short story. A worker's death is its key's
deletion, so that nothing waits for time. Answers are a pure function of the request, as a seeded engine's are.
"""

import asyncio
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from agon.stream.connection import connect
from agon.stream.frames import Delta, End, body, decode, out
from agon.stream.gate import Append, Claiming, Duplicate
from agon.stream.inbox import PAGE
from support.gate_cast import CHOICES, LENGTH, REQUESTS, Worker, whole
from support.gate_model import Request
from support.gate_world import INGRESS, GateWorld

pytestmark = pytest.mark.servers

# A failure is told as it was found, with what repeats it; making it short can take minutes: AGON_TEST_SHRINK=1.
PHASES = tuple(Phase) if os.environ.get("AGON_TEST_SHRINK") else (Phase.generate,)
MOVES = st.fixed_dictionaries(
    {
        "tokens": st.integers(1, 3),
        "flush_alone": st.booleans(),
        "resend": st.booleans(),
        "lost": st.sampled_from(["", "", "", "reply", "call"]),
        "seen": st.booleans(),
    }
)


class GateMachine(GateWorld):
    """What may happen, and what must hold meanwhile."""

    # What workers do

    @rule(which=st.integers(0, 1), request=st.sampled_from(REQUESTS), moves=st.lists(MOVES, min_size=1, max_size=8))
    def work(self, which: int, request: str, moves: list[dict[str, Any]]) -> None:
        """Ordinary life, with its lost calls and replies: claim, generate, end, complete."""
        for move in moves:
            held = self.workers[which].held.get(request)
            if held is None and self.model[request].done:
                return
            if held is None:
                self.claim(which, request, move["resend"], move["lost"] == "reply")
            elif held.ended and not held.sent:
                self.complete(which, request, True)
            else:
                self.step(which, request, **move)

    @rule(request=st.sampled_from(REQUESTS), moves=st.lists(MOVES, min_size=1, max_size=8))
    def work_more(self, request: str, moves: list[dict[str, Any]]) -> None:
        """The same for whoever has the request."""
        holders = [which for which, worker in enumerate(self.workers) if request in worker.held]
        self.work(holders[0] if holders else 0, request, moves)

    @rule(request=st.sampled_from(REQUESTS), death=st.booleans(), moves=st.lists(MOVES, min_size=1, max_size=4))
    def take_over(self, request: str, death: bool, moves: list[dict[str, Any]]) -> None:
        """Whoever has it dies, or is stopped and wakes up when the other one has begun."""
        holders = [which for which, worker in enumerate(self.workers) if request in worker.held]
        if not holders:
            return
        self.die(holders[0]) if death else self.pause(holders[0])
        self.work(1 - holders[0], request, moves)
        self.wake()
        self.work(holders[0], request, moves[:1])

    @rule(request=st.sampled_from(REQUESTS))
    def both_work(self, request: str) -> None:
        """Two workers believe that they have it."""
        for which in (0, 1, 0, 1):
            self.step(which, request, 1, True, False, "", True)

    @rule(request=st.sampled_from(REQUESTS))
    def the_other_one_claims(self, request: str) -> None:
        for which, worker in enumerate(self.workers):
            if request not in worker.held:
                self.claim(which, request, False, False)

    @rule(which=st.integers(0, 1), request=st.sampled_from(REQUESTS), same=st.booleans())
    def claim_from_another_record(self, which: int, request: str, same: bool) -> None:
        model = self.model[request]
        if model.owner is None and not model.done:
            return
        digest = f"d{request}" if same else "other"
        got = self.ask(Claiming("t", request, "top/7/7", digest, self.workers[which].owner), False)
        assert got == Duplicate(same)

    @rule(which=st.integers(0, 1), request=st.sampled_from(REQUESTS))
    def a_call_of_an_earlier_attempt_arrives_late(self, which: int, request: str) -> None:
        model, worker = self.model[request], self.workers[which]
        attempt, at = model.attempt - 1, model.ends.get(0, 0)
        if attempt < 1:
            return
        late = out(f"t/{request}", attempt, at, 0, Delta((1,), "late"))
        expected = model.append(worker.owner, attempt, [late])
        append = Append("t", request, attempt, INGRESS, (late,))
        assert self.do(self.gate.append(worker.owner, [append])) == [expected]

    @rule(which=st.integers(0, 1), request=st.sampled_from(REQUESTS), finish=st.booleans())
    def complete(self, which: int, request: str, finish: bool) -> None:
        """The owner tells Kafka of the end it wrote; it may die before it can say so in Redis."""
        worker = self.workers[which]
        held = worker.held.get(request)
        if worker.paused or held is None or not held.ended or held.sent:
            return
        self.publish(request, [body(decode(frame.data)) for frame in held.written], finish)
        if finish:
            del worker.held[request]
        else:
            self.die(which)

    # What goes wrong

    @rule(which=st.integers(0, 1))
    def die(self, which: int) -> None:
        """The process is gone, with all it knew; another one starts under the same name."""
        worker = self.workers[which]
        self.may_repeat |= {request for request, held in worker.held.items() if held.ended}
        self.do(self.redis.delete(self.keys.worker(worker.owner)))
        self.alive.discard(worker.owner)
        self.workers[which] = Worker(worker.name, worker.incarnation + 1)
        self.beat(self.workers[which])

    @rule(which=st.integers(0, 1))
    def pause(self, which: int) -> None:
        """Stopped beyond its time to live, in the middle of whatever it did."""
        worker = self.workers[which]
        worker.paused = True
        self.may_repeat |= {request for request, held in worker.held.items() if held.ended}
        self.do(self.redis.delete(self.keys.worker(worker.owner)))
        self.alive.discard(worker.owner)

    @rule()
    def wake(self) -> None:
        """It goes on where it stopped, under the same incarnation."""
        for worker in self.workers:
            if worker.paused:
                worker.paused = False
                self.beat(worker)

    @rule(beaten=st.booleans(), really=st.integers(0, 2))
    def lose_redis(self, beaten: bool, really: int) -> None:
        """Redis comes back empty, and the workers beat again, sooner or later."""
        if really:
            return

        async def wipe() -> None:
            async for key in self.redis.scan_iter(match=f"{self.keys.prefix}*", count=1000):
                await self.redis.delete(key)

        self.do(wipe())
        self.alive.clear()
        self.may_repeat |= set(REQUESTS)
        self.model = {request: Request() for request in REQUESTS}
        for worker in self.workers:
            if beaten and not worker.paused:
                self.beat(worker)

    @rule(request=st.sampled_from(REQUESTS))
    def lose_half_of_it(self, request: str) -> None:
        """Redis knows the frames, but not whose they are."""
        self.do(self.redis.delete(self.keys.owner("t", request)))
        model = self.model[request]
        self.model[request] = Request(frames=model.frames, done=model.done, cancelled=model.cancelled)
        self.may_repeat.add(request)

    @rule(request=st.sampled_from(REQUESTS))
    def forget_what_is_over(self, request: str) -> None:
        """Two minutes after its completion."""
        if self.model[request].done:
            keys = (self.keys.owner, self.keys.frames, self.keys.cancel)
            self.do(self.redis.delete(*(key("t", request) for key in keys)))
            self.model[request] = Request(done=self.model[request].done)

    @rule()
    def beat_again(self) -> None:
        for worker in self.workers:
            if not worker.paused:
                self.beat(worker)

    @rule(request=st.sampled_from(REQUESTS), really=st.integers(0, 3))
    def cancel(self, request: str, really: int) -> None:
        if really:
            return
        self.do(self.gate.cancel("t", request, "nano"))
        self.model[request].cancelled = True

    # What the ingress does

    @rule(request=st.sampled_from(REQUESTS))
    def look(self, request: str) -> None:
        """The ingress reads the list: after a gap, a silence or a reconnect."""
        reader = self.readers[request]
        again = True
        while again:
            start = reader.inbox.received

            async def read(start: int = start) -> Any:
                async with self.redis.pipeline(transaction=True) as pipe:
                    pipe.hget(self.keys.owner("t", request), "list")
                    pipe.lrange(self.keys.frames("t", request), start, start + PAGE - 1)
                    return await pipe.execute()

            name, frames = self.do(read())
            again = name is not None and reader.inbox.read(name.decode(), start, [decode(frame) for frame in frames])
            reader.drain()

    @rule(request=st.sampled_from(REQUESTS))
    def take(self, request: str) -> None:
        self.readers[request].drain()

    # What must hold

    @invariant()
    def the_list_is_the_models(self) -> None:
        for request, model in self.model.items():
            frames = self.do(self.redis.lrange(self.keys.frames("t", request), 0, -1))
            assert frames == model.frames
            kinds = [decode(frame).kind for frame in frames]
            assert "final" not in kinds[:-1]
            ends: dict[int, int] = {}
            for frame in map(decode, frames):
                if isinstance(what := body(frame), Delta):
                    assert frame.at == ends.get(frame.choice, 0)
                    ends[frame.choice] = frame.at + len(what.token_ids)

    @invariant()
    def a_client_never_gets_a_token_twice_or_out_of_order(self) -> None:
        for request, reader in self.readers.items():
            for choice in range(CHOICES[request]):
                tokens, text = reader.text(choice)
                all_tokens, all_text = whole(request, choice)
                assert tokens == all_tokens[: len(tokens)]
                assert text == all_text[: len(text)]
            assert [f.kind for f in reader.frames].count("final") == reader.told.ended

    def teardown(self) -> None:
        """In the end somebody works everything off; then every request has one end and every reader has it all."""
        try:
            self.wake_and_finish()
        finally:
            self.do(self.pubsub.aclose())
            self.do(self.gate.close())

    def wake_and_finish(self) -> None:
        for worker in self.workers:
            worker.paused = False
            self.beat(worker)
        for request in REQUESTS:
            for which in (0, 1) * (LENGTH * 4):
                if self.model[request].done:
                    break
                self.claim(which, request, False, False)
                self.step(which, request, 3, False, False, "", True)
                self.complete(which, request, True)
            assert self.model[request].done, f"{request} has no end"
            assert self.completions[request]
            self.look(request)
            reader = self.readers[request]
            if self.model[request].owner is None:
                continue  # lost behind its end: a reader that has not all of it is told `stream_lost`
            assert reader.told.ended
            end = body(reader.frames[-1])
            assert isinstance(end, End)
            if end.status == "finished":
                for choice in range(CHOICES[request]):
                    assert reader.text(choice) == whole(request, choice)


def test_the_gate_keeps_one_author_and_one_end_whatever_dies(redis_url: str) -> None:
    with asyncio.Runner() as runner:
        redis = connect(redis_url)
        try:
            run_state_machine_as_test(
                lambda: GateMachine(runner, redis),
                settings=settings(
                    max_examples=60,
                    stateful_step_count=40,
                    database=None,
                    phases=PHASES,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(redis.aclose())
