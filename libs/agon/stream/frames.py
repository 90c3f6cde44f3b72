"""Frames: what a worker writes about a running request, and what an ingress turns into a client's stream.

A frame is a msgpack array `[version, request, attempt, at, choice, kind, body]`. `at` is the number of tokens that its
choice had before it, so that a reader can drop what it has seen and notice what it has missed.

| kind       | body                                                                                     |
|------------|------------------------------------------------------------------------------------------|
| `admitted` | `Admission`: the prompt was tokenised and accepted; `at` is 0                            |
| `delta`    | `Delta`: new tokens and their text; text may be empty while a stop string is held back.  |
|            | One without tokens may come first: the log-probabilities of the prompt                   |
| `final`    | `End`: how the whole request ended; the last frame of every list, exactly one            |

There is one for every token, some of them kept for long: none can be part of a cycle, so the garbage collector need not
look at them (`gc=False`).
"""

from typing import Literal, NamedTuple

import msgspec

from agon.engine.events import TokenLogprob

VERSION = 1

FrameKind = Literal["admitted", "delta", "final"]


class Admission(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Who admitted the request, and what the prompt costs. Times are epoch seconds by the worker's clock."""

    worker: str
    prompt_tokens: int
    cached_tokens: int
    at: float


class Delta(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """New tokens of one choice. `text` is what may be shown; `finish_reason` is set on the choice's last delta.
    `logprobs` has one item for each token, `prompt_logprobs` one for each of the prompt, where asked for."""

    token_ids: tuple[int, ...]
    text: str
    finish_reason: str | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None
    prompt_logprobs: tuple[TokenLogprob, ...] | None = None


class End(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The end of the whole request: `status` as in `agon.messages.completions.Status`, an error unless finished."""

    status: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    at: float
    error_message: str | None = None
    error_type: str | None = None
    error_code: str | None = None
    error_param: str | None = None


class Frame(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One entry of a request's list. `request` is `tenant/request_id`; `body` is encoded by kind."""

    version: int
    request: str
    attempt: int
    at: int
    choice: int
    kind: FrameKind
    body: msgspec.Raw


Body = Admission | Delta | End

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Frame)
_bodies: dict[str, msgspec.msgpack.Decoder[Body]] = {
    "admitted": msgspec.msgpack.Decoder(Admission),
    "delta": msgspec.msgpack.Decoder(Delta),
    "final": msgspec.msgpack.Decoder(End),
}
_kinds: dict[type, FrameKind] = {Admission: "admitted", Delta: "delta", End: "final"}


def encode(request: str, attempt: int, at: int, choice: int, body: Body) -> bytes:
    """One frame as bytes."""
    return _encoder.encode((VERSION, request, attempt, at, choice, _kinds[type(body)], body))


def decode(data: bytes) -> Frame:
    """Read one frame. Raises `msgspec.DecodeError` for bytes that are none."""
    return _decoder.decode(data)


def body(frame: Frame) -> Body:
    """The frame's body, typed by its kind."""
    return _bodies[frame.kind].decode(frame.body)


class Out(NamedTuple):
    """A frame on its way to the gate: the encoded bytes, and what the gate must know to judge them."""

    choice: int
    at: int
    tokens: int
    data: bytes
    kind: FrameKind


def out(request: str, attempt: int, at: int, choice: int, body: Body) -> Out:
    """Encode one frame for `Gate.append`."""
    kind = _kinds[type(body)]
    tokens = len(body.token_ids) if isinstance(body, Delta) else 0
    return Out(choice, at, tokens, _encoder.encode((VERSION, request, attempt, at, choice, kind, body)), kind)
