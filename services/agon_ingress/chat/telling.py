"""A chat completion, whole or as a stream. The stream is the hot path: all but the words is laid out once."""

import orjson

from agon.dialects import Arguments, Call, Piece, Reasoning, Spoken, Text, call_id, fold
from agon.engine.events import TokenLogprob
from agon.errors import AgonError
from agon.messages import ToolCall
from agon.messages.tools import FunctionCall
from agon.stream.frames import Delta
from agon.stream.logprobs import choice_logprobs
from agon_ingress.asking.telling import Ends, Head, Listener, Speech, usage_of
from agon_ingress.chat.types import ChatCompletion, ChatCompletionChunk, Choice, Logprobs, ResponseMessage
from agon_ingress.http import sse
from agon_ingress.http.sse import string


class WholeChat:
    """Collects an answer of `n` choices."""

    def __init__(self, head: Head, speech: Speech, n: int, metadata: dict[str, str] | None = None) -> None:
        self._head = head
        self._speech = speech
        self._metadata = metadata
        self._listeners = [Listener(speech) for _ in range(n)]
        self._spoken = [Spoken() for _ in range(n)]
        self._logprobs: list[list[TokenLogprob] | None] = [None] * n
        self._reasons: list[str | None] = [None] * n

    def delta(self, choice: int, delta: Delta) -> None:
        pieces, reason = self._listeners[choice].hear(delta)
        fold(pieces, self._spoken[choice])
        if delta.logprobs is not None:
            self._logprobs[choice] = [*(self._logprobs[choice] or ()), *delta.logprobs]
        self._reasons[choice] = reason or self._reasons[choice]

    def body(self, ends: Ends) -> ChatCompletion:
        return ChatCompletion(
            id=self._head.id,
            created=self._head.created,
            model=self._head.model,
            system_fingerprint=self._head.fingerprint,
            choices=tuple(
                Choice(
                    index=index,
                    message=self._message(index, spoken),
                    logprobs=None if said is None else logprobs_of(said),
                    finish_reason=reason,
                )
                for index, (spoken, said, reason) in enumerate(
                    zip(self._spoken, self._logprobs, self._reasons, strict=True)
                )
            ),
            usage=usage_of(ends, _reasoning_tokens(self._speech, self._listeners)),
            metadata=self._metadata,
        )

    def _message(self, index: int, spoken: Spoken) -> ResponseMessage:
        calls = tuple(
            ToolCall(id=call_id(self._head.id, index, number), function=FunctionCall(name=name, arguments=arguments))
            for number, (name, arguments) in enumerate(spoken.calls)
        )
        return ResponseMessage(
            content=spoken.text or None if calls else spoken.text,
            tool_calls=calls or None,
            reasoning_content=spoken.reasoning or None,
        )


class ChatStream:
    """Writes the chunks. `include_usage` puts `usage: null` into all but the last, as OpenAI does."""

    def __init__(self, head: Head, speech: Speech, n: int, *, include_usage: bool) -> None:
        self._head = head
        self._speech = speech
        self._include_usage = include_usage
        self._listeners = [Listener(speech) for _ in range(n)]
        self._logprobs: list[list[TokenLogprob] | None] = [None] * n
        self._empty = ChatCompletionChunk(
            id=head.id, created=head.created, model=head.model, system_fingerprint=head.fingerprint, choices=()
        )
        stem = orjson.dumps(self._empty.model_dump(exclude={"choices", "usage"})).removesuffix(b"}")
        self._heads = tuple(b'data: %b,"choices":[{"index":%d,"delta":' % (stem, choice) for choice in range(n))
        self._contents = tuple(head + b'{"content":' for head in self._heads)
        self._close = b"}]" + (b',"usage":null' if include_usage else b"") + b"}\n\n"
        self._tail = b',"logprobs":null,"finish_reason":null' + self._close
        self._content_tail = b"}" + self._tail

    def begin(self) -> bytes:
        """The first chunk of every choice has the role."""
        return b"".join(head + b'{"role":"assistant","content":""}' + self._tail for head in self._heads)

    def delta(self, choice: int, delta: Delta) -> bytes:
        if self._speech.plain and delta.logprobs is None and delta.finish_reason is None:
            return self._contents[choice] + string(delta.text) + self._content_tail if delta.text else b""
        if delta.logprobs is not None:
            self._logprobs[choice] = [*(self._logprobs[choice] or ()), *delta.logprobs]
        pieces, reason = self._listeners[choice].hear(delta)
        out = [self._chunk(choice, self._said(choice, piece)) for piece in pieces]
        if reason is not None:
            out.append(self._chunk(choice, b"{}", reason))
        return b"".join(out)

    def end(self, ends: Ends) -> bytes:
        if not self._include_usage:
            return sse.DONE
        usage = usage_of(ends, _reasoning_tokens(self._speech, self._listeners))
        chunk = self._empty.model_copy(update={"usage": usage})
        return b"data: " + chunk.model_dump_json().encode() + b"\n\n" + sse.DONE

    def error(self, error: AgonError) -> bytes:
        return sse.error_event(error)

    def _chunk(self, choice: int, delta: bytes, reason: str | None = None) -> bytes:
        """A chunk has the log-probabilities of all tokens since the last one: some of them show nothing."""
        said, self._logprobs[choice] = self._logprobs[choice], None
        logprobs = b"null" if said is None else logprobs_of(said).model_dump_json().encode()
        finish = b"null" if reason is None else string(reason)
        return b'%b%b,"logprobs":%b,"finish_reason":%b%b' % (self._heads[choice], delta, logprobs, finish, self._close)

    def _said(self, choice: int, piece: Piece) -> bytes:
        match piece:
            case Text(text):
                return b'{"content":%b}' % string(text)
            case Reasoning(text):
                return b'{"reasoning_content":%b}' % string(text)
            case Call(index, name):
                named = b'{"name":%b,"arguments":""}' % string(name)
                told = (index, string(call_id(self._head.id, choice, index)), named)
                return b'{"tool_calls":[{"index":%d,"id":%b,"type":"function","function":%b}]}' % told
            case Arguments(index, text):
                return b'{"tool_calls":[{"index":%d,"function":{"arguments":%b}}]}' % (index, string(text))


def logprobs_of(tokens: list[TokenLogprob]) -> Logprobs:
    """As OpenAI tells them."""
    return Logprobs(content=choice_logprobs(tokens).content)


def _reasoning_tokens(speech: Speech, listeners: list[Listener]) -> int | None:
    return None if speech.reasoning is None else sum(listener.reasoning_tokens for listener in listeners)
