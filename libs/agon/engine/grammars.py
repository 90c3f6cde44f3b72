"""Guides become grammars: compiled once, in threads of their own, kept while they are used."""

import json
import time
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

from agon.engine.guided import Matcher
from agon.engine.sampling import Guide
from agon.engine.tokenizer import Tokenizer
from agon.errors import InvalidRequest

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

_MOST_KEPT = 128
_MOST_CHARACTERS = 64 * 1024
_SECONDS = 3.0
_LOOKED_AFTER = 0.05  # seconds, where one is waited for
_THREADS = 4  # one that takes its time leaves the others to those who come behind it
_EXPLAINING = 1.0  # seconds, for finding the place in a schema that cannot be followed
# One space, or a new line with its indentation: a model that is not sure what comes next would otherwise write white
# space until it may write no more.
_JSON: "JsonCompileOptions" = {"whitespace_pattern": r"\x20|\x0A\x20{0,24}"}


@dataclass(slots=True)
class GrammarCounts:
    """What has been compiled, for metrics."""

    asked: int = 0
    """Answers that were to follow one."""
    refused: int = 0
    compiled: int = 0
    seconds: float = 0.0
    """Spent on compiling."""


@dataclass(slots=True)
class Grammar:
    """One guide's, while it is compiled and after; `began` is when its turn came, by `_clocks`. Whoever holds it need
    not care whether it is kept."""

    guide: Guide
    began: tuple[float, float] | None = None
    start: "Future[Any]" = field(default_factory=Future)

    @property
    def ready(self) -> bool:
        """Whether it is compiled, refused, or has had its time."""
        return self.start.done() or (self.began is not None and _since(self.began) > _SECONDS)


def _clocks() -> tuple[float, float]:
    """The time, and the processor time of this process, in seconds."""
    return time.monotonic(), time.process_time()


def _since(began: tuple[float, float]) -> float:
    """Seconds that could be used since then: a process that was stopped, or had no processor, has not had its time."""
    return min(now - then for now, then in zip(_clocks(), began, strict=True))


class Grammars:
    """One model's grammars. For one thread, but for those that compile: a large schema takes as long as a hundred steps
    of a batch, which must not wait for it."""

    def __init__(self, tokenizer: Tokenizer, vocabulary: int) -> None:
        self.counts = GrammarCounts()
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._view: Any = None  # llguidance's, made with the first grammar: it takes a second for a large vocabulary
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="agon-grammars")
        self._lock = Lock()  # of what the threads share: the view and the counts
        self._kept: OrderedDict[Guide, Grammar] = OrderedDict()

    @property
    def kept(self) -> int:
        """Grammars in memory."""
        return len(self._kept)

    def begin(self, guide: Guide) -> Grammar:
        """A guide's grammar: one that is kept, or one that begins to be compiled."""
        if len(guide.source) > _MOST_CHARACTERS:
            what = f"the answer's format has {len(guide.source):,} characters; at most {_MOST_CHARACTERS:,} are taken"
            refused = Grammar(guide)  # and not even kept
            refused.start.set_exception(InvalidRequest(what, param="response_format"))
            return refused
        grammar = self._kept.get(guide)
        if grammar is None:
            self._make_room()  # before it is in: it may be compiled before this thread goes on
            grammar = self._kept[guide] = Grammar(guide)
            self._pool.submit(self._compile, grammar)
        else:
            self._kept.move_to_end(guide)
        return grammar

    def matcher(self, grammar: Grammar, end_ids: frozenset[int]) -> Matcher:
        """A fresh matcher for an answer that ends with one of `end_ids`. Waits if the grammar is not `ready`.

        Raises `InvalidRequest` for a guide that cannot be followed, with the place in a schema where that is known.
        """
        self.counts.asked += 1
        while not grammar.ready:
            wait([grammar.start], _LOOKED_AFTER)
        try:
            start = grammar.start.result(0)
        except TimeoutError:
            self.counts.refused += 1
            what = f"the format of the answer takes more than {_SECONDS:g} s to prepare; make it simpler"
            raise InvalidRequest(what, param="response_format") from None
        except InvalidRequest:
            self.counts.refused += 1
            raise
        return Matcher(start, self._view, end_ids, self._vocabulary)

    def _make_room(self) -> None:
        """For one more: forget the least recently used, but none that is being compiled, as who asks for it again shall
        find it."""
        finished = [guide for guide, grammar in self._kept.items() if grammar.ready]
        for guide in finished[: max(0, len(self._kept) + 1 - _MOST_KEPT)]:
            del self._kept[guide]

    def _compile(self, grammar: Grammar) -> None:
        moment = time.monotonic()
        try:
            view = self._viewed()
            grammar.began = _clocks()  # only now: the vocabulary's size is not this guide's fault
            start, error = self._start_of(grammar.guide, view), None
        except Exception as raised:
            start, error = None, raised
        except BaseException as panic:  # llguidance's own, which must not be taken for that of the step
            start, error = None, InvalidRequest(f"the format of the answer cannot be prepared: {_line(panic)}")
        with self._lock:
            self.counts.compiled += error is None
            self.counts.seconds += time.monotonic() - moment
        if error is None:
            grammar.start.set_result(start)
        else:
            grammar.start.set_exception(error)

    def _viewed(self) -> Any:
        """llguidance's view of the vocabulary; whoever comes first makes it."""
        from llguidance import LLTokenizer

        with self._lock:
            if self._view is None:
                size = max(self._vocabulary, self._tokenizer.size)
                self._view = LLTokenizer(self._tokenizer.serialised(), n_vocab=size)
            return self._view

    def _start_of(self, guide: Guide, view: Any) -> Any:
        """llguidance's matcher at the beginning of a guide's grammar. Raises `InvalidRequest`."""
        from llguidance import LLMatcher

        start = LLMatcher(view, grammar_of(guide), log_level=0)
        if start.is_error():
            raise InvalidRequest(_explained(guide, start.get_error(), view), param="response_format")
        start.consume_tokens([])  # else it does not look yet
        if start.is_stopped():
            raise InvalidRequest("the format of the answer allows no text at all", param="response_format")
        return start


def grammar_of(guide: Guide) -> str:
    """A guide in llguidance's words. Raises `InvalidRequest` for a JSON schema that is none."""
    from llguidance import LLMatcher

    match guide.kind:
        case "json_schema":
            try:
                return LLMatcher.grammar_from_json_schema(guide.source, overrides=_JSON)
            except ValueError as error:
                raise InvalidRequest(f"the JSON schema is none: {_line(error)}", param="response_format") from None
        case "regex":
            return LLMatcher.grammar_from_regex(guide.source)
        case "choice":
            return LLMatcher.grammar_from_lark("start: " + " | ".join(map(json.dumps, json.loads(guide.source))))
        case "grammar":
            return LLMatcher.grammar_from_lark(guide.source)


def _explained(guide: Guide, error: str, view: Any) -> str:
    kind = {"json_schema": "JSON schema", "regex": "regular expression", "grammar": "grammar", "choice": "choice"}
    where = ""
    if guide.kind == "json_schema":
        where = f" at {_faulty(json.loads(guide.source), view)}"
    return f"the {kind[guide.kind]} cannot be followed{where}: {_line(error)}"


def _faulty(schema: Any, view: Any) -> str:
    """The JSON pointer of the innermost part of a schema that cannot be compiled by itself."""
    from llguidance import LLMatcher

    path, part, deeper = "#", schema, True
    until = time.monotonic() + _EXPLAINING
    while deeper:
        deeper = False
        for step, inner in _parts(part):
            alone = inner
            if isinstance(schema, dict) and isinstance(inner, dict):
                alone = {name: schema[name] for name in ("$defs", "definitions") if name in schema} | inner
            source = json.dumps(alone)
            if time.monotonic() < until and LLMatcher.validate_grammar(
                LLMatcher.grammar_from_json_schema(source, overrides=_JSON), view
            ):
                path, part, deeper = f"{path}/{step}", inner, True
                break
    return path


def _parts(schema: Any) -> Iterator[tuple[str, Any]]:
    """The schemas directly inside of one, with the way to them."""
    if not isinstance(schema, dict):
        return
    for keyword in ("properties", "patternProperties", "$defs", "definitions"):
        inner = schema.get(keyword)
        for name, part in inner.items() if isinstance(inner, dict) else ():
            yield f"{keyword}/{name}", part
    for keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
        inner = schema.get(keyword)
        for index, part in enumerate(inner if isinstance(inner, list) else ()):
            yield f"{keyword}/{index}", part
    for keyword in ("items", "additionalProperties", "not", "if", "then", "else", "contains"):
        if isinstance(schema.get(keyword), dict):
            yield keyword, schema[keyword]


def _line(error: Any) -> str:
    return " ".join(str(error).split())[:300]
