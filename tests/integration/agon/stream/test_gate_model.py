"""The gate against its model, on a real Redis: two workers, an ingress, and everything that can go wrong.

Hypothesis draws what happens, in which order, and shrinks what fails to a short story. A worker's death is its key's
deletion, so that nothing waits for time. Answers are a pure function of the request, as a seeded engine's are.
"""

import asyncio
import os
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis.asyncio import Redis

from agon.stream.connection import connect
from agon.stream.frames import Admission, Delta, End, Frame, Out, body, decode, out
from agon.stream.gate import Answer, Append, Claiming, Done, Duplicate, Ended, Gate, Parked, Yours
from agon.stream.inbox import PAGE, Inbox
from agon.stream.subscriber import _groups
from agon.stream.told import Told
from agon.topics import Keys
from support.gate_model import Request

pytestmark = pytest.mark.servers

T = TypeVar("T")
REQUESTS = ("r0", "r1")
CHOICES = {"r0": 1, "r1": 2}
LENGTH = 9
SOURCE = {"r0": "top/0/0", "r1": "top/0/1"}
INGRESS = "i1"
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


def token(request: str, choice: int, at: int) -> int:
    return 1000 * REQUESTS.index(request) + 100 * choice + at


def shown(request: str, choice: int, tokens: int) -> str:
    """The text behind so many tokens: two letters each, but odd tokens are held back until the next one comes."""
    letters = "".join(f"{token(request, choice, at) % 97:02d}" for at in range(tokens))
    held = 2 if tokens % 2 and tokens < LENGTH else 0
    return letters[: len(letters) - held]


def delta(request: str, choice: int, at: int, tokens: int, flush: bool) -> Delta:
    """Tokens `at` to `at + tokens`; `flush` is the last frame of a choice, which may bring no token at all."""
    ids = tuple(token(request, choice, i) for i in range(at, at + tokens))
    text = shown(request, choice, at + tokens)[len(shown(request, choice, at)) :] + ("!" if flush else "")
    return Delta(ids, text, "stop" if flush else None)


def whole(request: str, choice: int) -> tuple[list[int], str]:
    return [token(request, choice, i) for i in range(LENGTH)], shown(request, choice, LENGTH) + "!"


@dataclass
class Held:
    """A request in a worker's hands: `sent` frames may or may not be on the list, because the reply was lost."""

    attempt: int
    claiming: Claiming
    written: list[Out]
    positions: list[int]
    flushed: list[bool]
    sent: list[Out] = field(default_factory=list)
    ended: bool = False


@dataclass
class Worker:
    name: str
    incarnation: int = 0
    paused: bool = False
    held: dict[str, Held] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        return f"{self.name}:{self.incarnation}"


@dataclass
class Reader:
    """The ingress' side of one request: the parts of a real stream, moved by hand."""

    inbox: Inbox = field(default_factory=lambda: Inbox(8))
    told: Told = field(default_factory=Told)
    frames: list[Frame] = field(default_factory=list)

    def drain(self) -> None:
        for frame in self.inbox.drain():
            if frame is None:
                self.told.begin_again()
            elif not self.told.ended and (new := self.told.take(frame)) is not None:
                self.frames.append(new)

    def text(self, choice: int) -> tuple[list[int], str]:
        deltas = [b for f in self.frames if f.choice == choice and isinstance(b := body(f), Delta)]
        return [i for d in deltas for i in d.token_ids], "".join(d.text for d in deltas)


class GateMachine(RuleBasedStateMachine):
    """Workers, records and the ingress; every answer of the gate is compared with the model's."""

    def __init__(self, runner: asyncio.Runner, redis: Redis) -> None:
        super().__init__()
        self.runner, self.redis = runner, redis
        self.keys = Keys(f"m{uuid.uuid4().hex[:8]}:")
        self.gate = Gate(redis, self.keys)
        self.resend = False
        self.gate._scripts.run = self.sometimes_twice(self.gate._scripts.run)  # type: ignore[method-assign]
        self.model = {request: Request() for request in REQUESTS}
        self.workers = [Worker("a"), Worker("b")]
        self.alive: set[str] = set()
        self.readers = {request: Reader() for request in REQUESTS}
        self.completions: dict[str, list[tuple[Any, ...]]] = {request: [] for request in REQUESTS}
        self.may_repeat: set[str] = set()
        self.pubsub = redis.pubsub()
        self.do(self.pubsub.subscribe(self.keys.tokens(INGRESS)))
        self.messages()
        for worker in self.workers:
            self.beat(worker)

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def sometimes_twice(self, script: Callable[..., Any]) -> Callable[..., Any]:
        """A client whose connection breaks behind a call sends it again: Redis runs it twice, one reply arrives."""

        async def call(*arguments: Any) -> Any:
            if self.resend:
                await script(*arguments)
            return await script(*arguments)

        return call

    def messages(self) -> list[bytes]:
        """All that was published until now: what came before the answer to a ping."""

        async def drain() -> list[bytes]:
            await self.pubsub.ping()
            data = []
            while True:
                message = await self.pubsub.get_message(timeout=5)
                assert message is not None
                if message["type"] == "pong":
                    return data
                if message["type"] == "message":
                    data.append(message["data"])

        return self.do(drain())

    def beat(self, worker: Worker) -> None:
        self.do(self.redis.set(self.keys.worker(worker.owner), 1, ex=600))
        self.alive.add(worker.owner)

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

    def claim(self, which: int, request: str, resend: bool, lost: bool) -> None:
        worker = self.workers[which]
        if worker.paused:
            return
        running = request in worker.held
        claiming = Claiming("t", request, SOURCE[request], f"d{request}", worker.owner)
        got = self.ask(claiming, resend)
        if got == Parked(worker.owner) and not running:
            # An earlier claim's reply was lost for good, or its answer was dropped.
            claiming = Claiming("t", request, SOURCE[request], f"d{request}", worker.owner, abandoned=True)
            got = self.ask(claiming, resend)
        if lost:
            if isinstance(got, Yours) and running:
                worker.held.pop(request)
            return
        match got:
            case Yours(attempt, frames, _):
                assert [frame.request for frame in frames] == [f"t/{request}"] * len(frames)
                worker.held[request] = self.resume(request, attempt, claiming, list(frames))
            case Ended(frames) if not running:
                self.publish(request, [body(frame) for frame in frames], finish=not resend)

    @rule(request=st.sampled_from(REQUESTS))
    def the_other_one_claims(self, request: str) -> None:
        for which, worker in enumerate(self.workers):
            if request not in worker.held:
                self.claim(which, request, False, False)

    def ask(self, claiming: Claiming, resend: bool) -> Any:
        model = self.model[claiming.request_id]
        expected, number = model.claim(
            claiming.worker, claiming.source, claiming.digest, self.alive, claiming.abandoned
        )
        self.resend = resend
        [got] = self.do(self.gate.claim([claiming]))
        self.resend = False
        match got:
            case Yours(attempt, frames, cancelled):
                assert (expected, number) == ("yours", attempt)
                assert cancelled == model.cancelled
                assert len(frames) == len(model.frames)
            case Parked(owner):
                assert (expected, owner) == ("parked", model.owner)
            case Ended(frames):
                assert (expected, len(frames)) == ("ended", len(model.frames))
            case Done():
                assert expected == "done"
            case Duplicate(same):
                assert (expected, number) == ("duplicate", same)
        return got

    @rule(which=st.integers(0, 1), request=st.sampled_from(REQUESTS), same=st.booleans())
    def claim_from_another_record(self, which: int, request: str, same: bool) -> None:
        model = self.model[request]
        if model.owner is None and not model.done:
            return
        digest = f"d{request}" if same else "other"
        got = self.ask(Claiming("t", request, "top/7/7", digest, self.workers[which].owner), False)
        assert got == Duplicate(same)

    def resume(self, request: str, attempt: int, claiming: Claiming, frames: list[Frame]) -> Held:
        positions, flushed = [0] * CHOICES[request], [False] * CHOICES[request]
        written = []
        for frame in frames:
            what = body(frame)
            written.append(out(f"t/{request}", frame.attempt, frame.at, frame.choice, what))
            if isinstance(what, Delta):
                positions[frame.choice] += len(what.token_ids)
                flushed[frame.choice] = what.finish_reason is not None
        return Held(attempt, claiming, written, positions, flushed)

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

    def step(
        self, which: int, request: str, tokens: int, flush_alone: bool, resend: bool, lost: str, seen: bool
    ) -> None:
        worker = self.workers[which]
        held = worker.held.get(request)
        if worker.paused or held is None:
            return
        held.sent += self.generate(worker, request, held, tokens, flush_alone)
        if lost == "call":
            return
        answer = self.append(worker, request, held, resend)
        self.hear(seen)
        if lost == "reply":
            return
        if answer is Answer.BEHIND and flush_alone:
            # Somebody else may be quicker than the one who writes again.
            self.claim(1 - which, request, False, False)
        self.obey(worker, request, held, answer, resend)

    def generate(self, worker: Worker, request: str, held: Held, tokens: int, flush_alone: bool) -> list[Out]:
        """The next frames, as an engine would bring them: admission, then each choice in turn, then the end."""

        def made(at: int, choice: int, what: Any) -> Out:
            return out(f"t/{request}", held.attempt, at, choice, what)

        if held.ended:
            return []
        if not held.written and not held.sent:
            return [made(0, 0, Admission(worker.owner, 3, 0, 1.0))]
        for choice, at in enumerate(held.positions):
            if held.flushed[choice]:
                continue
            count = min(tokens, LENGTH - at)
            flush = at + count == LENGTH and (count == 0 or not flush_alone)
            held.positions[choice] += count
            held.flushed[choice] = flush
            return [made(at, choice, delta(request, choice, at, count, flush))]
        held.ended = True
        return [made(held.positions[0], 0, End("finished", 3, sum(held.positions), 0, 2.0))]

    def append(self, worker: Worker, request: str, held: Held, resend: bool) -> Answer:
        expected = self.model[request].append(worker.owner, held.attempt, held.sent)
        self.resend = resend
        [answer] = self.do(
            self.gate.append(worker.owner, [Append("t", request, held.attempt, INGRESS, tuple(held.sent))])
        )
        self.resend = False
        assert answer is expected, f"{answer!r}, the model says {expected!r}"
        return answer

    def obey(self, worker: Worker, request: str, held: Held, answer: Answer, resend: bool) -> None:
        if answer is Answer.BEHIND:
            frames = tuple(held.written + held.sent)
            claiming = held.claiming
            expected = self.model[request].rewrite(worker.owner, held.attempt, frames, claiming.source, claiming.digest)
            self.resend = resend
            append = Append("t", request, held.attempt, INGRESS, frames, rewrite=claiming)
            [answer] = self.do(self.gate.append(worker.owner, [append]))
            self.resend = False
            assert answer is expected
        if answer is Answer.FENCED:
            del worker.held[request]
        elif answer is Answer.CANCELLED:
            held.sent = [out(f"t/{request}", held.attempt, 0, 0, End("cancelled", 3, 0, 0, 2.0, "gone"))]
            held.ended = True
        else:
            assert answer is Answer.OK
            held.written += held.sent
            held.sent = []

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

    def publish(self, request: str, bodies: list[Any], finish: bool) -> None:
        """From the list: its end, and whatever it says. Without `finish` the worker dies before `done` is set."""
        end = bodies[-1]
        assert isinstance(end, End)
        if self.completions[request] and request not in self.may_repeat:
            raise AssertionError(f"{request} was completed twice, and nobody died")
        self.completions[request].append((end.status, tuple(b for b in bodies if isinstance(b, Delta))))
        if finish:
            self.do(self.gate.complete("t", request, SOURCE[request], f"d{request}"))
            self.model[request].done = (SOURCE[request], f"d{request}")
        else:
            self.may_repeat.add(request)

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

    def hear(self, seen: bool) -> None:
        """Messages arrive at the ingress, or are lost on the way."""
        for data in self.messages():
            for group in _groups.decode(data) if seen else ():
                self.readers[group.request.removeprefix("t/")].inbox.deliver(group.list, group.index, group.frames)

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
                    deadline=None,
                    database=None,
                    print_blob=True,
                    phases=PHASES,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(redis.aclose())
