"""A response, whole or as a stream: one machine makes both, so that its last event has what a whole answer says."""

from collections.abc import Iterable, Iterator, Sequence

from agon.dialects import Arguments, Call, Piece, Reasoning, Text, call_id
from agon.engine.events import TokenLogprob
from agon.errors import AgonError, InvalidRequest, RateLimited
from agon.messages import CompletionChoice
from agon.messages.completions import TokenLogprob as RecordedLogprob
from agon.stream.frames import Delta, End
from agon_ingress.asking.telling import Ends, Listener, Speech
from agon_ingress.responses.events import (
    ArgumentsDeltaEvent,
    ArgumentsDoneEvent,
    ErrorEvent,
    ItemEvent,
    LifeEvent,
    PartEvent,
    ReasoningDeltaEvent,
    ReasoningDoneEvent,
    ResponseEvent,
    TextDeltaEvent,
    TextDoneEvent,
)
from agon_ingress.responses.items import named
from agon_ingress.responses.types import (
    CallItem,
    ErrorCode,
    IncompleteDetails,
    InputTokensDetails,
    ItemStatus,
    MessageItem,
    OutputItem,
    OutputText,
    OutputTokensDetails,
    ReasoningItem,
    ReasoningText,
    Response,
    ResponseError,
    ResponseUsage,
    TextAlternative,
    TextLogprob,
)

_PREFIXES: dict[type[OutputItem], str] = {MessageItem: "msg", ReasoningItem: "rs", CallItem: "fc"}


class ResponseMachine:
    """Deltas in, events out; `response` is how it stands. There is one choice, and at most one open item: the last."""

    def __init__(self, response: Response, speech: Speech) -> None:
        self.response = response
        self._listener = Listener(speech)
        self._sequence = 0
        self._items: list[OutputItem] = []
        self._open = False
        self._said: list[str] = []  # of the open item
        self._pending: list[TextLogprob] = []  # of tokens that have shown nothing yet
        self._logprobs: list[TextLogprob] = []  # of the open item
        self._reason: str | None = None
        self._told_reasoning: int | None = None  # tokens, where the record says so

    def begin(self) -> Iterator[ResponseEvent]:
        yield LifeEvent(type="response.created", response=self.response, **self._number())
        kind = "response.queued" if self.response.status == "queued" else "response.in_progress"
        yield LifeEvent(type=kind, response=self.response, **self._number())

    def admitted(self) -> Iterator[ResponseEvent]:
        """A queued one is under way."""
        if self.response.status == "queued":
            self.response = self.response.model_copy(update={"status": "in_progress"})
            yield LifeEvent(type="response.in_progress", response=self.response, **self._number())

    def delta(self, delta: Delta) -> Iterator[ResponseEvent]:
        if delta.logprobs is not None:
            self._pending += map(_logprob, delta.logprobs)
        pieces, reason = self._listener.hear(delta)
        for piece in pieces:
            yield from self._piece(piece)
        self._reason = reason or self._reason

    def recorded(self, choice: CompletionChoice, reasoning_tokens: int | None) -> Iterator[ResponseEvent]:
        """The whole answer at once, as the record has it."""
        said = choice.message
        pieces = [*_one(Reasoning, said.reasoning), *_one(Text, said.content)]
        for index, call in enumerate(said.tool_calls or ()):
            pieces += [Call(index, call.function.name), Arguments(index, call.function.arguments)]
        self._told_reasoning = reasoning_tokens or 0
        for piece in pieces:
            if isinstance(piece, Text) and choice.logprobs is not None:
                self._pending = list(map(_recorded_logprob, _shown(choice.logprobs.content, piece.text)))
            yield from self._piece(piece)
        self._reason = choice.finish_reason

    def end(self, ends: Ends) -> Iterator[ResponseEvent]:
        if not self._items:
            yield from self._begin_item(MessageItem)  # an answer without a word is a message without one
        cut = self._reason == "length"
        yield from self._close("incomplete" if cut else "completed")
        self.response = self.response.model_copy(
            update={
                "status": "incomplete" if cut else "completed",
                "incomplete_details": IncompleteDetails(reason="max_output_tokens") if cut else None,
                "completed_at": None if cut else int(ends[-1].at),
                "usage": _usage(ends, self._reasoning_tokens()),
            }
        )
        kind = "response.incomplete" if cut else "response.completed"
        yield LifeEvent(type=kind, response=self.response, **self._number())

    def error(self, error: AgonError) -> Iterator[ResponseEvent]:
        yield ErrorEvent(code=error.code, message=error.message, param=error.param, **self._number())
        self.response = self.response.model_copy(
            update={
                "status": "failed",
                "error": ResponseError(code=_code(error), message=error.message),
                "output": self._output("incomplete"),
            }
        )
        yield LifeEvent(type="response.failed", response=self.response, **self._number())

    def cancelled(self, end: End | None) -> Iterator[ResponseEvent]:
        """It goes as far as it has come. OpenAI has no event of its own for this; `status` says it."""
        self.response = self.response.model_copy(
            update={
                "status": "cancelled",
                "output": self._output("incomplete"),
                "usage": None if end is None else _usage([end], self._reasoning_tokens()),
            }
        )
        yield LifeEvent(type="response.incomplete", response=self.response, **self._number())

    def _piece(self, piece: Piece) -> Iterator[ResponseEvent]:
        match piece:
            case Text(text):
                yield from self._within(MessageItem)
                told, self._pending = tuple(self._pending), []
                self._logprobs += told
                yield TextDeltaEvent(delta=text, logprobs=told, **self._place(), **self._number())
            case Reasoning(text):
                yield from self._within(ReasoningItem)
                self._pending.clear()
                yield ReasoningDeltaEvent(delta=text, **self._place(), **self._number())
            case Call(index, name):
                yield from self._close("completed")
                self._pending.clear()
                yield from self._begin_item(CallItem, call_id(self.response.id, 0, index), name)
                return
            case Arguments(_, text):
                yield ArgumentsDeltaEvent(delta=text, **self._place(), **self._number())
        self._said.append(text)

    def _within(self, kind: type[OutputItem]) -> Iterator[ResponseEvent]:
        """The open item is of this kind from here on."""
        if not (self._open and isinstance(self._items[-1], kind)):
            yield from self._close("completed")
            yield from self._begin_item(kind)

    def _begin_item(self, kind: type[OutputItem], call: str = "", name: str = "") -> Iterator[ResponseEvent]:
        index = len(self._items)
        item_id = f"{_PREFIXES[kind]}_{named(self.response.id, index)}"
        if kind is CallItem:
            item: OutputItem = CallItem(id=item_id, call_id=call, name=name, arguments="", status="in_progress")
        else:
            item = MessageItem(id=item_id, status="in_progress")
            if kind is ReasoningItem:
                item = ReasoningItem(id=item_id, status="in_progress")
        self._items.append(item)
        self._open, self._said, self._logprobs = True, [], []
        yield ItemEvent(type="response.output_item.added", output_index=index, item=item, **self._number())
        if (part := self._part("")) is not None:
            yield PartEvent(type="response.content_part.added", part=part, **self._place(), **self._number())

    def _close(self, status: ItemStatus) -> Iterator[ResponseEvent]:
        if not self._open:
            return
        text = "".join(self._said)
        match self._items[-1]:
            case MessageItem():
                told = tuple(self._logprobs)
                yield TextDoneEvent(text=text, logprobs=told, **self._place(), **self._number())
            case ReasoningItem():
                yield ReasoningDoneEvent(text=text, **self._place(), **self._number())
            case CallItem(name=name):
                yield ArgumentsDoneEvent(name=name, arguments=text, **self._place(), **self._number())
        if (part := self._part(text)) is not None:
            yield PartEvent(type="response.content_part.done", part=part, **self._place(), **self._number())
        self.response = self.response.model_copy(update={"output": self._output(status)})
        self._items = list(self.response.output)
        self._open = False
        index, item = len(self._items) - 1, self._items[-1]
        yield ItemEvent(type="response.output_item.done", output_index=index, item=item, **self._number())

    def _part(self, text: str) -> OutputText | ReasoningText | None:
        match self._items[-1]:
            case MessageItem():
                return OutputText(text=text, logprobs=tuple(self._logprobs))
            case ReasoningItem():
                return ReasoningText(text=text)
        return None

    def _output(self, status: ItemStatus) -> tuple[OutputItem, ...]:
        """All items, the open one as far as it has come."""
        if not self._open:
            return tuple(self._items)
        text = "".join(self._said)
        part = self._part(text)
        change = {"arguments": text} if part is None else {"content": (part,)}
        return (*self._items[:-1], self._items[-1].model_copy(update={"status": status, **change}))

    def _reasoning_tokens(self) -> int:
        return self._listener.reasoning_tokens if self._told_reasoning is None else self._told_reasoning

    def _place(self) -> dict[str, str | int]:
        return {"item_id": self._items[-1].id, "output_index": len(self._items) - 1}

    def _number(self) -> dict[str, int]:
        self._sequence += 1
        return {"sequence_number": self._sequence - 1}


class WholeResponse:
    """Runs the machine to its end."""

    def __init__(self, response: Response, speech: Speech) -> None:
        self._machine = ResponseMachine(response, speech)

    def delta(self, choice: int, delta: Delta) -> None:
        for _ in self._machine.delta(delta):
            pass

    def body(self, ends: Ends) -> Response:
        for _ in self._machine.end(ends):
            pass
        return self._machine.response


class ResponseStream:
    """Writes each event under its name. There is no `[DONE]` here: the last event says what it is."""

    def __init__(self, response: Response, speech: Speech) -> None:
        self._machine = ResponseMachine(response, speech)

    def begin(self) -> bytes:
        return encoded(self._machine.begin())

    def delta(self, choice: int, delta: Delta) -> bytes:
        return encoded(self._machine.delta(delta))

    def end(self, ends: Ends) -> bytes:
        return encoded(self._machine.end(ends))

    def error(self, error: AgonError) -> bytes:
        return encoded(self._machine.error(error))


def encoded(events: Iterable[ResponseEvent]) -> bytes:
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (event.type.encode(), event.model_dump_json(by_alias=True).encode())
        for event in events
    )


def _code(error: AgonError) -> ErrorCode:
    if isinstance(error, RateLimited):
        return "rate_limit_exceeded"
    return "invalid_prompt" if isinstance(error, InvalidRequest) else "server_error"


def _logprob(token: TokenLogprob) -> TextLogprob:
    return TextLogprob(
        token=token.token,
        logprob=token.logprob or 0.0,
        bytes=tuple(token.data or b""),
        top_logprobs=tuple(
            TextAlternative(token=one.token, logprob=one.logprob, bytes=tuple(one.data or b"")) for one in token.top
        ),
    )


def _one(kind: type[Text] | type[Reasoning], text: str | None) -> list[Piece]:
    return [kind(text)] if text else []


def _shown(tokens: Sequence[RecordedLogprob], text: str) -> Sequence[RecordedLogprob]:
    """Those tokens that show the text: reasoning comes before them, and what ended the answer shows nothing."""
    last = len(tokens)
    while last and not tokens[last - 1].bytes:
        last -= 1
    first, left = last, len(text.encode())
    while first and left > 0:
        first -= 1
        left -= len(tokens[first].bytes or ())
    return tokens[first:last]


def _recorded_logprob(token: RecordedLogprob) -> TextLogprob:
    return TextLogprob(
        token=token.token,
        logprob=token.logprob,
        bytes=token.bytes or (),
        top_logprobs=tuple(
            TextAlternative(token=one.token, logprob=one.logprob, bytes=one.bytes or ()) for one in token.top_logprobs
        ),
    )


def _usage(ends: Ends, reasoning_tokens: int) -> ResponseUsage:
    prompt, completion = sum(end.prompt_tokens for end in ends), sum(end.completion_tokens for end in ends)
    return ResponseUsage(
        input_tokens=prompt,
        input_tokens_details=InputTokensDetails(cached_tokens=sum(end.cached_tokens for end in ends)),
        output_tokens=completion,
        output_tokens_details=OutputTokensDetails(reasoning_tokens=reasoning_tokens),
        total_tokens=prompt + completion,
    )
