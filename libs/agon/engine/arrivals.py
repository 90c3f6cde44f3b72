"""Requests that have come and are not taken yet. Other threads encode their prompts and compile their grammars, so that
no step waits for either: a prompt of megabytes takes seconds."""

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from agon.engine.grammars import Grammar, Grammars
from agon.engine.params import Prompt, Request, characters
from agon.engine.tokenizer import Tokenizer

_MOST_TAKEN = 32  # in a step: a burst of new requests holds up running ones only so long
_LONG = 64 * 1024  # characters; longer prompts have a thread of their own, so that the others need not wait for them


@dataclass(slots=True)
class Arrival:
    """A request, the moment it came (seconds of the monotonic clock, and tokens of the scheduler's), its prompt in
    tokens and, once it was read, the grammar of its guide."""

    request: Request
    at: float
    clock: int
    prompt: Future[list[int]]
    grammar: Grammar | None = None

    @property
    def ready(self) -> bool:
        """Whether it need not wait for another thread any more."""
        return self.prompt.done() and (self.grammar is None or self.grammar.ready)


class Arrivals:
    """For one engine. `submit` and `cancel` may be called from any thread, the rest from the one that steps."""

    def __init__(self, tokenizer: Tokenizer, grammars: Grammars, context_length: int) -> None:
        self._tokenizer = tokenizer
        self._grammars = grammars
        self._context_length = context_length
        self._inbox: deque[Arrival | str] = deque()  # what to take and keys to cancel, in the order they came
        self._unready: dict[str, Arrival] = {}
        self._short = ThreadPoolExecutor(1, thread_name_prefix="agon-prompts")
        self._long = ThreadPoolExecutor(1, thread_name_prefix="agon-long-prompts")

    def __bool__(self) -> bool:
        """Whether there is anything to read, now or later."""
        return bool(self._inbox or self._unready)

    @property
    def count(self) -> int:
        """How many requests there are, as another thread sees it."""
        return len(self._unready) + sum(isinstance(entry, Arrival) for entry in tuple(self._inbox))

    @property
    def stirred(self) -> bool:
        """Whether `read` would give anything."""
        return bool(self._inbox) or any(arrival.ready for arrival in self.unready)

    @property
    def unready(self) -> tuple[Arrival, ...]:
        """Those whose prompts or grammars are not ready yet, as far as they have been read."""
        return tuple(self._unready.values())

    def submit(self, request: Request, clock: int) -> None:
        """Take a request that comes at this time of the scheduler's clock, and begin to encode its prompt."""
        self._inbox.append(Arrival(request, time.monotonic(), clock, self._encoded(request.prompt)))

    def cancel(self, key: str) -> None:
        """Have `read` tell this key."""
        self._inbox.append(key)

    def read(self) -> Iterator[Arrival | str]:
        """In order, requests that may be taken now, a step's worth; and keys whose requests end, wherever those are:
        they were cancelled, or others come under the same key."""
        taken = 0
        for arrival in self.unready:
            if taken < _MOST_TAKEN and arrival.ready:
                taken += 1
                del self._unready[arrival.request.key]
                yield arrival
        while self._inbox and taken < _MOST_TAKEN:
            entry = self._inbox.popleft()
            if isinstance(entry, str):
                yield entry
                continue
            yield entry.request.key
            if entry.request.params.guide is not None:
                entry.grammar = self._grammars.begin(entry.request.params.guide)
            if entry.ready:
                taken += 1
                yield entry
            else:
                self._unready[entry.request.key] = entry

    def drop(self, key: str) -> bool:
        """Forget the request under this key, if it was read and is not ready; whether it was."""
        arrival = self._unready.pop(key, None)
        if arrival is not None:
            arrival.prompt.cancel()
        return arrival is not None

    def wait(self, seconds: float) -> None:
        """Wait until more may be ready, for so long at most."""
        prompts = [arrival.prompt for arrival in self.unready if not arrival.prompt.done()]
        grammars = [arrival.grammar for arrival in self.unready if arrival.grammar is not None]
        wait([*prompts, *(grammar.start for grammar in grammars if not grammar.ready)], seconds, FIRST_COMPLETED)

    def _encoded(self, prompt: Prompt) -> Future[list[int]]:
        """The prompt's tokens; text becomes tokens in another thread, unless that is refused or broken at once."""
        tokens: Future[list[int]] = Future()
        try:
            if size := characters(prompt):
                pool = self._long if size > _LONG else self._short
                return pool.submit(self._tokenizer.encode, prompt, self._context_length)
            tokens.set_result(self._tokenizer.encode(prompt, self._context_length))
        except Exception as error:
            tokens.set_exception(error)
        return tokens
