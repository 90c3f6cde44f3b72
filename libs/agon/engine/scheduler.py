"""Who computes how many tokens in a step. One rule: the computed tokens of a sequence catch up with its tokens.

A decode is a sequence with one token to go, a prompt is one with many; a resumed or preempted one looks like a prompt.
"""

from bisect import insort
from dataclasses import dataclass
from operator import attrgetter

from agon.engine.pages import PagePool
from agon.engine.params import Limits
from agon.engine.sequence import Sequence

_order = attrgetter("order")
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
    """Keeps `running` (all pages for their tokens taken) and `waiting`, both in order, and plans steps."""

    def __init__(self, pool: PagePool, limits: Limits) -> None:
        self.pool = pool
        self.running: list[Sequence] = []
        self.waiting: list[Sequence] = []
        self.preemptions = 0
        self._page_size = limits.page_size
        self._max_sequences = limits.max_sequences
        self._budget = limits.max_batch_tokens
        self._watermark = max(1, int(pool.count * _WATERMARK))

    def pages_for(self, tokens: int) -> int:
        return -(-tokens // self._page_size)

    def add(self, sequence: Sequence) -> None:
        """Let a sequence wait for its turn. It must fit the pool alone: the caller has refused what cannot."""
        insort(self.waiting, sequence, key=_order)

    def fork(self, sequence: Sequence, leader: Sequence) -> None:
        """Add a sequence with the same prompt as `leader`, which has computed it: the prompt's full pages are shared,
        except the one that holds its last token, which must be computed for its logits."""
        shared = (sequence.prompt_length - 1) // self._page_size
        sequence.pages = self.pool.share(leader.pages[:shared])
        sequence.computed = sequence.proved = shared * self._page_size
        self.add(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence and take its pages back."""
        for queue in (self.running, self.waiting):
            if sequence in queue:
                queue.remove(sequence)
        self._release(sequence)

    def plan(self) -> list[Piece]:
        """The next step's work, decodes first. Empty only when there is nothing to do."""
        pieces: list[Piece] = []
        budget = self._budget
        preemptions = self.preemptions
        for sequence in [sequence for sequence in self.running if sequence.missing == 1]:
            if sequence.pages and self._grow(sequence):
                pieces.append(Piece(sequence, 1))
                budget -= 1
        for sequence in self.running:
            if budget and sequence.missing > 1:
                pieces.append(Piece(sequence, min(sequence.missing, budget)))
                budget -= pieces[-1].count
        # Whoever was preempted in this step does not come back in the same step.
        while budget and self.waiting and preemptions == self.preemptions and self._admit(self.waiting[0]):
            sequence = self.waiting.pop(0)
            insort(self.running, sequence, key=_order)
            pieces.append(Piece(sequence, min(sequence.missing, budget)))
            budget -= pieces[-1].count
        return pieces

    def _admit(self, sequence: Sequence) -> bool:
        """Take the pages for all tokens of a waiting sequence, if it may join now."""
        if len(self.running) >= self._max_sequences:
            return False
        if self.running:
            if self.pool.free - self._lacking(sequence) < self._watermark:
                return False
        else:
            # Nobody runs, so only shares of waiting choices can be in the way, and the first in line must go on.
            while self.pool.free < self._lacking(sequence):
                self._preempt(self._newest_holder())
        sequence.pages += self.pool.take(self._lacking(sequence))
        return True

    def _lacking(self, sequence: Sequence) -> int:
        """Pages that a sequence still needs for the tokens it has."""
        return self.pages_for(len(sequence.tokens)) - len(sequence.pages)

    def _grow(self, sequence: Sequence) -> bool:
        """Make sure that there is a page for the sequence's next token; False when it had to give way itself."""
        if self.pages_for(sequence.computed + 1) <= len(sequence.pages):
            return True
        while not self.pool.free:
            victim = self._newest_holder()
            self._preempt(victim)
            if victim is sequence:
                return False
        sequence.pages += self.pool.take(1)
        return True

    def _newest_holder(self) -> Sequence:
        return max((s for s in (*self.running, *self.waiting) if s.pages), key=_order)

    def _preempt(self, sequence: Sequence) -> None:
        """Take a sequence's pages; it waits, and computes its tokens again when there is room."""
        self.preemptions += 1
        self._release(sequence)
        if sequence in self.running:
            self.running.remove(sequence)
            self.add(sequence)

    def _release(self, sequence: Sequence) -> None:
        self.pool.release(sequence.pages, dirty=sequence.computed > sequence.proved)
        sequence.pages = []
        sequence.computed = sequence.proved = 0
