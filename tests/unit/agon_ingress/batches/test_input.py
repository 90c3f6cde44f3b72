"""An input file is read line by line, however its bytes arrive; what is wrong with a line is told with its number."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agon.store.batch_lines import Line
from agon_ingress.batches.input import MOST_ERRORS, Reading, lines

URL = "/v1/chat/completions"
BODY = {"model": "m", "messages": []}


def line(**changes: Any) -> bytes:
    return orjson.dumps({"custom_id": "a", "method": "POST", "url": URL, "body": BODY, **changes})


def reading(**changes: Any) -> Reading:
    return Reading(URL, **{"most_lines": 100, "most_bytes": 1000, "models": {"m"}, **changes})


async def read(data: bytes, cuts: list[int], most: int = 1000) -> list[tuple[int, bytes]]:
    async def parts() -> AsyncIterator[bytes]:
        at = 0
        for cut in [*sorted(cuts), len(data)]:
            yield data[at:cut]
            at = cut

    return [found async for found in lines(parts(), most)]


@given(st.lists(st.binary(max_size=20)), st.lists(st.integers(0, 200)))
async def test_lines_are_the_same_however_the_bytes_arrive(texts: list[bytes], cuts: list[int]) -> None:
    data = b"\n".join(texts)
    expected = [(number, text) for number, text in enumerate(data.split(b"\n"), 1) if text.strip()]
    assert await read(data, [cut for cut in cuts if cut <= len(data)]) == expected


async def test_a_line_that_is_too_long_takes_no_more_memory_than_a_part_and_is_refused() -> None:
    data = b"x" * 100_000 + b"\n" + line()
    found = await read(data, list(range(0, 100_000, 1000)))
    assert [number for number, _ in found] == [1, 2]
    assert len(found[0][1]) <= 7000
    one = reading()
    assert [one.read(*each) for each in found] == [None, Line(2, "a", orjson.dumps(BODY).decode())]
    assert [(error["line"], error["code"]) for error in one.errors] == [(1, "line_too_long")]


@pytest.mark.parametrize(
    ("data", "code", "param"),
    [
        (b"{", "invalid_json_line", None),
        (b"[]", "invalid_json_line", None),
        (b'{"custom_id": "\xff"}', "invalid_json_line", None),
        (line(custom_id=None), "missing_required_parameter", "custom_id"),
        (line(custom_id=""), "invalid_value", "custom_id"),
        (line(custom_id=7), "invalid_value", "custom_id"),
        (line(custom_id="a\0"), "invalid_value", "custom_id"),
        (line(custom_id="a" * 513), "invalid_value", "custom_id"),
        (line(method="GET"), "invalid_method", "method"),
        (line(url="/v1/embeddings"), "invalid_url", "url"),
        (line(body=[]), "invalid_type", "body"),
        (line(body={**BODY, "model": "other"}), "model_not_found", "body.model"),
    ],
)
def test_what_is_wrong_with_a_line_is_told_in_openais_words(data: bytes, code: str, param: str | None) -> None:
    one = reading()
    assert one.read(3, data) is None
    assert [(error["line"], error["code"], error["param"]) for error in one.errors] == [(3, code, param)]


def test_a_custom_id_is_taken_once() -> None:
    one = reading()
    assert one.read(1, line()) is not None
    assert one.read(2, line()) is None
    assert one.read(3, line(custom_id="a" * 512)) is not None
    assert [error["code"] for error in one.errors] == ["duplicate_custom_id"]


def test_what_is_wrong_with_a_body_is_left_to_its_endpoint() -> None:
    one = reading()
    assert one.read(1, line(body={"model": 7, "zebra": True})) is not None
    assert not one.errors


def test_a_batch_has_so_many_requests_and_no_more() -> None:
    one = reading(most_lines=2)
    assert all(one.read(number, line(custom_id=str(number))) for number in (1, 2))
    assert not one.hopeless
    assert one.read(3, line(custom_id="3")) is None
    assert one.hopeless
    assert [error["code"] for error in one.errors] == ["too_many_tasks"]


def test_a_file_without_a_request_is_wrong() -> None:
    one = reading()
    one.end()
    assert [error["code"] for error in one.errors] == ["empty_file"]


def test_reading_ends_after_so_many_errors() -> None:
    one = reading(most_lines=1000)
    number = 0
    while not one.hopeless:
        number += 1
        one.read(number, b"{")
    assert number == len(one.errors) == MOST_ERRORS
