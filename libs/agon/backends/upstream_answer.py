"""What another server answers, as events: the chunks of a stream, or the vectors of an embedding. No I/O."""

import base64
import json
import struct
from collections.abc import Mapping
from typing import Any

from agon.backends.base import Event, Failed, Finished, Job, Tokens
from agon.backends.dialect import logprobs_of
from agon.errors import AgonError, UpstreamFailed

_ERROR_CHARACTERS = 500  # of its message that are passed on
TOKEN_ID = -1
"""The id of every token of an upstream: nobody here knows the real ones."""


class Answer:
    """One answer: what comes of it in, events out."""

    def __init__(self, job: Job) -> None:
        self.key = job.key
        self.done = False
        self._counts = [0] * job.request.choices
        self._reasons: list[str | None] = [None] * job.request.choices
        self._usage: Mapping[str, Any] = {}

    def read(self, data: bytes) -> list[Event]:
        """The events in one chunk. Raises `UpstreamFailed` for what is no chunk, or tells of an error."""
        if data.startswith(b"[DONE]"):
            self.done = True
            return []
        try:
            chunk = json.loads(data)
            if error := chunk.get("error"):
                raise UpstreamFailed(f"the upstream failed: {message_of(error)}")
            if chunk.get("usage"):
                self._usage = dict(chunk["usage"])
            return [event for choice in chunk.get("choices") or () for event in self._choice(choice)]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise UpstreamFailed("the upstream sent something that is no chunk of an answer") from error

    def embedded(self, data: bytes) -> list[Event]:
        """The vectors in a whole answer, each as the text of its choice: base64 of little-endian float32. Raises
        `UpstreamFailed` for what is none."""
        try:
            told = json.loads(data)
            self._usage = dict(told.get("usage") or {})
            events: list[Event] = []
            for item in told["data"]:
                vector = item["embedding"]
                if not isinstance(vector, str):  # not every server knows base64
                    vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
                elif len(base64.b64decode(vector, validate=True)) % 4:
                    raise ValueError("no float32")
                index = int(item["index"])
                if index < 0 or self._reasons[index] is not None:
                    raise ValueError(f"the vector {index} is none, or came before")
                self._reasons[index] = "stop"
                events.append(Tokens(self.key, index, 0, (), vector, "stop"))
            return events
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, struct.error) as error:
            raise UpstreamFailed("the upstream sent something that is no list of vectors") from error

    def _choice(self, choice: Mapping[str, Any]) -> list[Event]:
        index = int(choice.get("index", 0))
        if index < 0 or self._reasons[index] is not None:
            raise ValueError(f"choice {index} goes on after its end")
        text = (choice.get("delta") or {}).get("content") or choice.get("text") or ""
        reason = choice.get("finish_reason")
        if reason == "content_filter":
            raise UpstreamFailed("the upstream's content filter cut the answer", code="content_filter")
        logprobs = logprobs_of(choice.get("logprobs"))
        if not text and not reason and not logprobs:
            return []
        at = self._counts[index]
        count = len(logprobs) if logprobs else 1 if text else 0
        self._counts[index] += count
        # Whatever else an answer may end with (a call of a tool that we did not offer) is an end by itself.
        self._reasons[index] = ("length" if reason == "length" else "stop") if reason else None
        return [Tokens(self.key, index, at, (TOKEN_ID,) * count, str(text), self._reasons[index], logprobs)]

    def finished(self) -> Finished:
        """The end. Raises `UpstreamFailed` when the stream broke off before each choice had its own."""
        if None in self._reasons:
            raise UpstreamFailed("the upstream's stream broke off")
        return Finished(self.key, *self._tokens(), self._cached())

    def failed(self, error: AgonError) -> Failed:
        return Failed(self.key, error, *self._tokens())

    def _tokens(self) -> tuple[int, int]:
        counted = sum(self._counts)
        return _count(self._usage.get("prompt_tokens"), 0), _count(self._usage.get("completion_tokens"), counted)

    def _cached(self) -> int:
        details = self._usage.get("prompt_tokens_details")
        return _count(details.get("cached_tokens"), 0) if isinstance(details, Mapping) else 0


def message_of(error: Any) -> str:
    said = error.get("message", "") if isinstance(error, Mapping) else error
    return " ".join(str(said).split())[:_ERROR_CHARACTERS] or "no reason given"


def _count(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and value >= 0 else otherwise
