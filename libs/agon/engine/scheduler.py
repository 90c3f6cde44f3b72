"""Who computes how many tokens in a step. One rule: the computed tokens of a sequence catch up with its tokens.

A decode is a sequence with one token to go, a prompt is one with many; a resumed or preempted one looks like a prompt.

Prompts take their turns as if each had its own share of the engine: by the time when it would have been computed had it
been alone from its arrival on, where time is tokens computed. Of those that come together the shortest goes first,
which lowers the median time to a first token, and nobody is overtaken by who comes later than its own length.
"""

import math
from bisect import insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

from agon.engine.pages import PagePool
from agon.engine.params import Limits
from agon.engine.sequence import Sequence

_order = attrgetter("order")
_turn = attrgetter("turn")
_MOST_SKIPPED = 4  # steps in a row that those of lower priority wait for others' prompts
_WATERMARK = 0.02  # of all pages are left free when a sequence joins others, so that they can grow a while


@dataclass(frozen=True, slots=True)
class Piece:
    """`count` tokens of a sequence, computed in this step from `sequence.computed` on."""

    sequence: Sequence
    count: int

    @property
    def draws(self) -> bool:
        """Whether the sequence has caught up behind this piece, so that its next token can be drawn."""
        return self.count == self.sequence.missing


class Scheduler:
    """Keeps `running` (all pages for their tokens taken) and `waiting` (no pages, by turn), and plans steps."""

    def __init__(self, pool: PagePool, limits: Limits) -> None:
        self.pool = pool
        self.running: list[Sequence] = []
        self.waiting: list[Sequence] = []
        self.preemptions = 0
        self.prefix_queries = 0
        """Tokens of sequences that came to run for the first time."""
        self.prefix_hits = 0
        """How many of these were found in the cache."""
        self._page_size = limits.page_size
        self._max_sequences = limits.max_sequences
        self._budget = limits.max_batch_tokens
        self._adapter_slots = limits.adapter_slots
        self._watermark = max(1, int(pool.count * _WATERMARK))
        self.clock = 0
        """Tokens computed so far."""
        self._skipped = 0

    def pages_for(self, tokens: int) -> int:
        return -(-tokens // self._page_size)

    def find(self, sequence: Sequence) -> list[int]:
        """The published pages that a sequence begins with. The one that holds its last token is never among them: that
        token must be computed for its logits. Those whose tokens are to be scored need the logits of all."""
        if sequence.unscored:
            return []
        most = (len(sequence.tokens) - 1) // self._page_size
        return self.pool.find(sequence.chain_of(most, self._page_size), sequence.tokens, self._page_size)

    def add(self, sequence: Sequence, came: int | None = None) -> None:
        """Let a sequence wait for its turn, which counts from what the `clock` was when it came, now if None. It must
        fit the pool alone: the caller has refused what cannot."""
        if not sequence.turn:
            alone = (
                (self.clock if came is None else came)
                + len(sequence.tokens)
                - len(self.find(sequence)) * self._page_size
            )
            sequence.turn = (sequence.priority, alone, *sequence.order[1:])
        insort(self.waiting, sequence, key=_turn)

    def remove(self, sequence: Sequence, *, dirty: bool = False) -> None:
        """Forget a sequence and take its pages back; `dirty` when what it computed last may hold anything."""
        for queue in (self.running, self.waiting):
            if sequence in queue:
                queue.remove(sequence)
        self._release(sequence, dirty=dirty)

    def advance(self, piece: Piece) -> None:
        """A piece was computed, and its keys and values are known to be numbers: others may find its full pages."""
        sequence, size = piece.sequence, self._page_size
        sequence.computed += piece.count
        full = sequence.computed // size
        if full > sequence.published:
            chain = sequence.chain_of(full, size)
            for index in range(sequence.published, full):
                tokens = sequence.tokens[index * size : (index + 1) * size]
                self.pool.publish(sequence.pages[index], chain[index], chain[index + 1], tokens)
            sequence.published = full

    def plan(self) -> list[Piece]:
        """The next step's work, decodes first. Empty only when there is nothing to do."""
        self._make_way()
        lowest = self._lowest()
        budget = self._budget
        preemptions = self.preemptions
        pieces: list[Piece] = []
        for sequence in [one for one in self.running if one.missing == 1 and one.priority <= lowest]:
            if sequence.pages and self._grow(sequence):
                pieces.append(Piece(sequence, 1))
                budget -= 1
        behind = deque(sorted((one for one in self.running if one.missing > 1 and one.priority <= lowest), key=_turn))
        # Whoever was preempted in this step does not come back in the same step.
        admitting = preemptions == self.preemptions
        while budget > 0:
            head = self.waiting[0] if self.waiting and self.waiting[0].priority <= lowest else None
            if admitting and head is not None and not (behind and behind[0].turn < head.turn):
                admitting = self._admit(head)
                if not admitting:
                    continue
                self.waiting.remove(head)
                sequence = head
                insort(self.running, sequence, key=_order)
            elif behind:
                sequence = behind.popleft()
            else:
                break
            pieces.append(Piece(sequence, min(sequence.missing, budget)))
            budget -= pieces[-1].count
        self.clock += sum(piece.count for piece in pieces)
        return pieces

    def _lowest(self) -> float:
        """The priority down to which sequences take part in the next step: where one has a prompt to compute, those
        behind it wait, so that its first token comes as soon as if it were alone. They wait for some steps at the most.
        """
        prompts = [one.priority for one in self.running if one.missing > 1]
        if self.waiting and self._fits(self.waiting[0], self.find(self.waiting[0])):
            prompts.append(self.waiting[0].priority)
        if not (prompts and self.running and min(prompts) < self.running[-1].priority):
            self._skipped = 0
            return math.inf
        self._skipped = (self._skipped + 1) % (_MOST_SKIPPED + 1)
        return min(prompts) if self._skipped else math.inf

    def _make_way(self) -> None:
        """Preempt those of lower priority until the first in line can join; none, where its adapter would still have to
        wait for those that stay."""
        while self.waiting and self.running and self.waiting[0].priority < self.running[-1].priority:
            head = self.waiting[0]
            stay = [other for other in self.running if other.priority <= head.priority]
            if not self._have_slots((*stay, head)) or self._fits(head, self.find(head)):
                return
            self._preempt(self.running[-1])

    def _have_slots(self, sequences: Iterable[Sequence]) -> bool:
        """Whether the adapters of these fit one batch."""
        return len({sequence.adapter for sequence in sequences} - {None}) <= self._adapter_slots

    def _fits(self, sequence: Sequence, found: list[int]) -> bool:
        """Whether a sequence may join those that run."""
        if len(self.running) >= self._max_sequences:
            return False
        if not self._have_slots((*self.running, sequence)):
            return False
        wanted = self.pages_for(len(sequence.tokens)) - len(found) + self.pool.idle(found)
        # Alone it may have all there is: it was not taken if that is too little.
        return not self.running or self.pool.free - wanted >= self._watermark

    def _admit(self, sequence: Sequence) -> bool:
        """Take the pages for all tokens of a waiting sequence, if it may join now."""
        found = self.find(sequence)
        if not self._fits(sequence, found):
            return False
        sequence.pages = self.pool.share(found)
        sequence.pages += self.pool.take(self.pages_for(len(sequence.tokens)) - len(found))
        sequence.computed = len(found) * self._page_size
        sequence.published = len(found)
        if sequence.cached is None:
            sequence.cached = sequence.computed
            self.prefix_queries += len(sequence.tokens)
            self.prefix_hits += sequence.cached
        return True

    def _grow(self, sequence: Sequence) -> bool:
        """Make sure that there is a page for the sequence's next token; False when it had to give way itself."""
        if self.pages_for(sequence.computed + 1) <= len(sequence.pages):
            return True
        while not self.pool.free:
            victim = self.running[-1]
            self._preempt(victim)
            if victim is sequence:
                return False
        sequence.pages += self.pool.take(1)
        return True

    def _preempt(self, sequence: Sequence) -> None:
        """Take a sequence's pages; it waits, and computes its tokens again when there is room."""
        self.preemptions += 1
        self._release(sequence)
        self.running.remove(sequence)
        self.add(sequence)

    def _release(self, sequence: Sequence, *, dirty: bool = False) -> None:
        self.pool.release(sequence.pages, dirty=dirty)
        sequence.pages = []
        sequence.computed = sequence.published = 0
