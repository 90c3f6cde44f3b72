"""A gate on a real Redis beside its model: what two workers and an ingress do with it, each answer compared."""

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from hypothesis.stateful import RuleBasedStateMachine
from redis.asyncio import Redis

from agon.stream.frames import Admission, Delta, End, Frame, Out, body, out
from agon.stream.gate import Answer, Append, Claiming, Done, Duplicate, Ended, Gate, Parked, Yours
from agon.stream.subscriber import _groups
from agon.topics import Keys
from support.gate_cast import CHOICES, LENGTH, REQUESTS, Held, Reader, Worker, delta
from support.gate_model import Request

T = TypeVar("T")
SOURCE = {"r0": "top/0/0", "r1": "top/0/1"}
INGRESS = "i1"


class GateWorld(RuleBasedStateMachine):
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

    def hear(self, seen: bool) -> None:
        """Messages arrive at the ingress, or are lost on the way."""
        for data in self.messages():
            for group in _groups.decode(data) if seen else ():
                self.readers[group.request.removeprefix("t/")].inbox.deliver(group.list, group.index, group.frames)
