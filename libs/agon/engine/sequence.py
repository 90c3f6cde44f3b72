"""One choice of one request: its tokens, how many of them are computed, and what they have said so far."""

from dataclasses import dataclass, field

from agon.engine.adapter import Adapter
from agon.engine.contest import Contest
from agon.engine.detokenize import TextStream
from agon.engine.events import TokenLogprob, Tokens
from agon.engine.pages import link
from agon.engine.params import Request
from agon.engine.shaping import Shape
from agon.engine.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Drawing:
    """A request's parameters with the model's defaults filled in."""

    temperature: float
    top_k: int
    top_p: float
    seed: int
    stop: tuple[str, ...]
    end_ids: frozenset[int]
    """Tokens that end the answer: the model's own unless they are ignored, and the request's."""
    limit: int
    """The most tokens of an answer, the context's room included; 0 where only the prompt is told or scored."""
    min_p: float = 0.0
    typical_p: float = 1.0
    min_tokens: int = 0
    logprobs: int | None = None
    """Alternatives to tell with each token's log-probability; None where neither is asked for."""


class Sequence:
    """`computed` of `tokens` (prompt, then answer) have their keys and values in `pages`; a step makes it catch up."""

    __slots__ = (
        "adapter", "cached", "chain", "choice", "computed", "drawing", "finish_reason", "key", "order", "pages",
        "preface", "prompt_length", "prompt_scores", "published", "shape", "text", "tokens", "turn",
    )  # fmt: skip

    def __init__(
        self,
        key: str,
        choice: int,
        order: tuple[int, int, int],
        prompt: list[int],
        drawing: Drawing,
        root: bytes,
        adapter: Adapter | None = None,
        shape: Shape | None = None,
        preface: str = "",
    ) -> None:
        self.key = key
        self.choice = choice
        self.order = order
        """(priority, arrival, choice): the greatest is preempted first."""
        self.turn: tuple[int, ...] = ()
        """(priority, tokens computed when it would be done had it been alone, arrival, choice): the smaller goes first.
        Empty until it waits."""
        self.tokens = list(prompt)
        self.prompt_length = len(prompt)
        self.drawing = drawing
        self.adapter = adapter
        self.shape = shape
        """What is done to its logits; None for nothing."""
        self.text = TextStream(drawing.stop, self._may_end if shape is not None else None)
        self.preface = preface
        """Shown before the answer's text."""
        self.prompt_scores: list[TokenLogprob] | None = None
        """Log-probabilities of the prompt's tokens so far, where they are wanted and not told yet."""
        self.finish_reason: str | None = None
        self.computed = 0
        self.pages: list[int] = []
        self.published = 0
        """How many of the pages others can find."""
        self.chain = [root]
        """The root of its hash chain, then the hashes of its full pages, as far as somebody has asked for them."""
        self.cached: int | None = None
        """Tokens that were found in the cache when it first ran; None before."""

    @property
    def missing(self) -> int:
        """Tokens to compute before the next one can be drawn."""
        return len(self.tokens) - self.computed

    @property
    def answered(self) -> int:
        """Tokens of the answer so far."""
        return len(self.tokens) - self.prompt_length

    @property
    def priority(self) -> int:
        """Lower goes first."""
        return self.order[0]

    def chain_of(self, pages: int, page_size: int) -> list[bytes]:
        """The root and the hashes of the first `pages` pages, all of them full."""
        while len(self.chain) <= pages:
            end = len(self.chain) * page_size
            self.chain.append(link(self.chain[-1], self.tokens[end - page_size : end]))
        return self.chain[: pages + 1]

    @property
    def unscored(self) -> bool:
        """Whether log-probabilities of the prompt's tokens are wanted that are not computed yet."""
        return self.prompt_scores is not None and len(self.prompt_scores) < self.prompt_length

    def push(self, token: int, tokenizer: Tokenizer) -> str:
        """Add a token of the answer and return the text to show for it; sets `finish_reason` when it was the last."""
        preface = self.preface if not self.answered else ""
        self.tokens.append(token)
        if self.shape is not None:
            self.shape.push(token)
        if token in self.drawing.end_ids:
            self.finish_reason = "stop"
            return preface + self.text.close()
        text = preface + self.text.push(tokenizer.token_bytes(token))
        complete = self.shape is not None and self.shape.complete
        if not self.text.stopped and (complete or self.answered >= self.drawing.limit):
            self.finish_reason = "stop" if complete else "length"
            text += self.text.close()
        if self.text.stopped:
            self.finish_reason = "stop"
        return text

    def _may_end(self, shown: str, rest: str) -> bool:
        """Whether a stop string ends the answer here."""
        assert self.shape is not None
        return self.shape.may_end(shown, rest)


@dataclass(slots=True)
class Group:
    """A request in the engine: the sequences of its choices that have not ended, and what it has cost.

    Moments are in seconds of the monotonic clock.
    """

    request: Request
    prompt_tokens: int
    open: dict[int, Sequence]
    arrived_at: float
    started_at: float | None = None
    """When the first of its tokens was computed."""
    drawn_at: float | None = None
    """When the first token of its answer was drawn, by this engine."""
    leader: Sequence | None = None
    """The choice that goes first: the others wait until it has computed the prompt, whose pages they then find."""
    followers: list[Sequence] = field(default_factory=list)
    completion_tokens: int = 0
    contest: Contest | None = None
    """Where more choices are generated than told."""

    @property
    def cached_tokens(self) -> int:
        """Tokens of the prompt that were found in the cache."""
        return min(self.leader.cached or 0, self.prompt_tokens) if self.leader else 0

    def close_empty(self) -> list[Tokens]:
        """End all open choices without a token, and tell so."""
        told = [Tokens(self.request.key, choice, 0, (), one.preface, "length") for choice, one in self.open.items()]
        self.open.clear()
        return told
