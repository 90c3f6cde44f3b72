"""One choice of one request: its tokens, how many of them are computed, and what they have said so far."""

from dataclasses import dataclass, field

from agon.engine.detokenize import TextStream
from agon.engine.params import Request
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
    """Tokens that end the answer; empty with `ignore_eos`."""
    limit: int
    """The most tokens of an answer, the context's room included."""


class Sequence:
    """`computed` of `tokens` (prompt, then answer) have their keys and values in `pages`; a step makes it catch up."""

    __slots__ = (
        "choice", "computed", "drawing", "finish_reason", "key", "order", "pages", "prompt_length", "proved", "text",
        "tokens",
    )  # fmt: skip

    def __init__(self, key: str, choice: int, order: tuple[int, int, int], prompt: list[int], drawing: Drawing) -> None:
        self.key = key
        self.choice = choice
        self.order = order
        """(priority, arrival, choice): the smaller goes first, the greatest is preempted first."""
        self.tokens = list(prompt)
        self.prompt_length = len(prompt)
        self.drawing = drawing
        self.text = TextStream(drawing.stop)
        self.finish_reason: str | None = None
        self.computed = 0
        self.proved = 0
        """How many computed tokens have since led to finite logits, which they could not had theirs been NaN."""
        self.pages: list[int] = []

    @property
    def missing(self) -> int:
        """Tokens to compute before the next one can be drawn."""
        return len(self.tokens) - self.computed

    @property
    def answered(self) -> int:
        """Tokens of the answer so far."""
        return len(self.tokens) - self.prompt_length

    def push(self, token: int, tokenizer: Tokenizer) -> str:
        """Add a token of the answer and return the text to show for it; sets `finish_reason` when it was the last."""
        self.tokens.append(token)
        if token in self.drawing.end_ids:
            self.finish_reason = "stop"
            return self.text.close()
        text = self.text.push(tokenizer.token_bytes(token))
        if not self.text.stopped and self.answered >= self.drawing.limit:
            self.finish_reason = "length"
            text += self.text.close()
        if self.text.stopped:
            self.finish_reason = "stop"
        return text


@dataclass(slots=True)
class Group:
    """A request in the engine: the sequences of its choices that have not ended, and what it has cost."""

    request: Request
    prompt_tokens: int
    open: dict[int, Sequence]
    completion_tokens: int = 0
    waiting_for_prompt: list[Sequence] = field(default_factory=list)
    """Choices that start once the first has computed the prompt, whose pages they then share."""
