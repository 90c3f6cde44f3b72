"""What another server answers to an embedding; its streams are told in the integration tests."""

import base64
import json
import struct
from typing import Any

import pytest

from agon.backends import Finished, Job, Tokens
from agon.backends.upstream_answer import Answer
from agon.errors import UpstreamFailed
from agon.messages import GenerationRequest


def answer(*inputs: str) -> Answer:
    asked = {"request_id": "r", "model": "m", "kind": "embedding", "inputs": inputs}
    return Answer(Job(GenerationRequest.model_validate(asked)))


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def told(*vectors: tuple[int, Any]) -> bytes:
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in vectors]
    return json.dumps({"data": data, "usage": {"prompt_tokens": 5, "total_tokens": 5}}).encode()


def test_vectors_are_the_texts_of_their_choices_whichever_way_they_were_written() -> None:
    asked = answer("one", "two")
    events = asked.embedded(told((1, [0.5, -1.0]), (0, packed(1.0, 2.0))))
    assert events == [
        Tokens("default/r", 1, 0, (), packed(0.5, -1.0), "stop"),
        Tokens("default/r", 0, 0, (), packed(1.0, 2.0), "stop"),
    ]
    assert asked.finished() == Finished("default/r", 5, 0)


def test_a_vector_that_is_missing_is_an_error() -> None:
    asked = answer("one", "two")
    asked.embedded(told((0, [1.0])))
    with pytest.raises(UpstreamFailed):
        asked.finished()


@pytest.mark.parametrize(
    "data",
    [
        b"no json",
        b"[]",
        b'{"data": 3}',
        told((1, [1.0])),
        told((-1, [1.0])),
        told((0, [1.0]), (0, [1.0])),
        told((0, "no base64")),
        told((0, base64.b64encode(b"abc").decode())),
        told((0, ["a"])),
        told((0, [1e300])),
    ],
)
def test_what_is_no_list_of_vectors_is_an_error_of_the_upstream(data: bytes) -> None:
    with pytest.raises(UpstreamFailed):
        answer("one").embedded(data)
