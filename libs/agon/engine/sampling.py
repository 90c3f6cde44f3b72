"""How an answer is drawn, when it ends, what form it has, and what is told of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from agon.errors import InvalidRequest

MOST_TOP_LOGPROBS = 20
MOST_CHOICES = 128


@dataclass(frozen=True, slots=True)
class Guide:
    """What form an answer must have. Made by its class methods; `source` is written as `kind` says."""

    kind: Literal["json_schema", "regex", "choice", "grammar"]
    source: str

    @classmethod
    def json_object(cls) -> Self:
        """Any JSON object."""
        return cls.json_schema({"type": "object"})

    @classmethod
    def json_schema(cls, schema: Mapping[str, Any] | bool) -> Self:
        """JSON that is valid under a schema (draft 2020-12, as far as docs/engine.md says)."""
        if isinstance(schema, bool):
            schema = {} if schema else {"not": {}}
        return cls("json_schema", json.dumps(schema))

    @classmethod
    def regex(cls, pattern: str) -> Self:
        """Text that the whole of this regular expression matches (Rust's syntax, without look-around)."""
        return cls("regex", pattern)

    @classmethod
    def choice(cls, *texts: str) -> Self:
        """One of these texts."""
        return cls("choice", json.dumps(texts))

    @classmethod
    def grammar(cls, lark: str) -> Self:
        """Text of a context-free grammar, whose first rule is `start`, in llguidance's variant of Lark's language."""
        return cls("grammar", lark)


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to draw an answer. What is None is the model's own default (its `generation_config.json`).

    A row of logits goes this way: penalties, bias, what may not come (guide, `min_tokens`), temperature, top-k, top-p,
    min-p, typical, draw. Raises `InvalidRequest` for a value out of its range, naming the parameter.
    """

    temperature: float | None = None
    """0 or more; 0 is greedy."""
    top_p: float | None = None
    """In (0, 1]: draw from the fewest tokens that hold this much probability."""
    top_k: int | None = None
    """Draw from the k most probable tokens; 0 or -1 for all."""
    min_p: float | None = None
    """0 to 1: draw from tokens that are at least this share as probable as the most probable one."""
    typical_p: float | None = None
    """In (0, 1]: draw from the tokens whose surprise is nearest to the entropy, and that hold this much probability."""
    presence_penalty: float = 0.0
    """-2 to 2: taken from the logits of tokens that the answer has."""
    frequency_penalty: float = 0.0
    """-2 to 2: taken from the logits of tokens for each time that the answer has them."""
    repetition_penalty: float | None = None
    """Above 0: divides positive logits of tokens that the prompt or the answer has, multiplies negative ones."""
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Added to the logits of these token ids; each -100 to 100."""
    seed: int | None = None
    """64 bits, signed. The same seed gives the same tokens, whatever else is in the batch. None: a random one."""
    max_tokens: int | None = None
    """The most tokens of each choice; the model's context is the limit in any case. 0: nothing is generated, the prompt
    is told (`echo`) or scored (`prompt_logprobs`)."""
    min_tokens: int = 0
    """0 to `max_tokens`: no token, and no stop string, ends a choice before it has so many."""
    n: int = 1
    """1 to 128 choices."""
    best_of: int | None = None
    """`n` to 128: generate so many, tell the `n` with the greatest sum of log-probabilities once all have ended."""
    stop: tuple[str, ...] | str = ()
    """The answer ends before the first of these strings."""
    stop_token_ids: tuple[int, ...] = ()
    """The answer ends with the first of these tokens, whose own text is not shown."""
    ignore_eos: bool = False
    """Go on behind the model's own end tokens."""
    guide: Guide | None = None
    """What form the answer must have. It has it whenever its finish reason is `stop`."""
    logprobs: int | None = None
    """0 to 20: tell each token's log-probability, and this many alternatives."""
    prompt_logprobs: int | None = None
    """0 to 20: tell the same of the prompt's tokens."""
    echo: bool = False
    """Each choice's text begins with the prompt's."""

    def __post_init__(self) -> None:
        if isinstance(self.stop, str):
            object.__setattr__(self, "stop", (self.stop,))
        _check(self.temperature is None or 0 <= self.temperature < float("inf"), "temperature", "must be 0 or more")
        _check(self.top_p is None or 0 < self.top_p <= 1, "top_p", "must be above 0 and at most 1")
        _check(self.top_k is None or self.top_k >= -1, "top_k", "must be -1 or more")
        _check(self.min_p is None or 0 <= self.min_p <= 1, "min_p", "must be 0 to 1")
        _check(self.typical_p is None or 0 < self.typical_p <= 1, "typical_p", "must be above 0 and at most 1")
        _check(-2 <= self.presence_penalty <= 2, "presence_penalty", "must be -2 to 2")
        _check(-2 <= self.frequency_penalty <= 2, "frequency_penalty", "must be -2 to 2")
        _check(
            self.repetition_penalty is None or 0 < self.repetition_penalty < float("inf"),
            "repetition_penalty", "must be above 0",
        )  # fmt: skip
        _check(all(-100 <= bias <= 100 for bias in self.logit_bias.values()), "logit_bias", "must be -100 to 100")
        _check(self.seed is None or -(2**63) <= self.seed < 2**63, "seed", "must fit 64 bits, signed")
        _check(self.max_tokens is None or self.max_tokens >= 0, "max_tokens", "must be 0 or more")
        most = self.min_tokens if self.max_tokens is None else self.max_tokens
        _check(0 <= self.min_tokens <= most, "min_tokens", "must be 0 to max_tokens")
        _check(1 <= self.n <= MOST_CHOICES, "n", f"must be 1 to {MOST_CHOICES}")
        _check(
            self.best_of is None or self.n <= self.best_of <= MOST_CHOICES, "best_of", f"must be n to {MOST_CHOICES}"
        )
        _check(all(self.stop), "stop", "must not hold an empty string")
        for name in ("logprobs", "prompt_logprobs"):
            wanted = getattr(self, name)
            _check(wanted is None or 0 <= wanted <= MOST_TOP_LOGPROBS, name, f"must be 0 to {MOST_TOP_LOGPROBS}")

    @property
    def drawn(self) -> int:
        """How many choices are generated: of empty ones none is the best."""
        return self.n if self.max_tokens == 0 else self.best_of or self.n


def _check(good: bool, param: str, message: str) -> None:
    if not good:
        raise InvalidRequest(f"{param} {message}", param=param)
