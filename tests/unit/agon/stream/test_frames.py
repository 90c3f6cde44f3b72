import msgspec
import pytest

from agon.stream.frames import Admission, Delta, End, body, decode, encode, out


@pytest.mark.parametrize(
    ("what", "kind", "tokens"),
    [
        (Admission("w:1", 7, 2, 1.5), "admitted", 0),
        (Delta((1, 2), "ab", "stop"), "delta", 2),
        (End("failed", 7, 2, 0, 2.5, "it broke", "server_error", "engine_failed"), "final", 0),
    ],
)
def test_a_frame_comes_back_as_it_went(what: Admission | Delta | End, kind: str, tokens: int) -> None:
    sent = out("t/r", 3, 5, 1, what)
    frame = decode(sent.data)
    assert (sent.choice, sent.at, sent.tokens, sent.kind) == (1, 5, tokens, kind)
    assert (frame.request, frame.attempt, frame.at, frame.choice, frame.kind) == ("t/r", 3, 5, 1, kind)
    assert body(frame) == what


def test_a_frame_is_a_plain_msgpack_array() -> None:
    data = encode("t/r", 1, 0, 0, Delta((9,), "x"))
    assert msgspec.msgpack.decode(data) == [1, "t/r", 1, 0, 0, "delta", [[9], "x", None, None, None]]


@pytest.mark.parametrize("data", [b"", b"\x90", b"no msgpack", msgspec.msgpack.encode([1, "t/r", 1, 0, 0, "gone", []])])
def test_bytes_that_are_no_frame_are_refused(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(data)
