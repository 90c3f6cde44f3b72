"""What becomes of each field of a chat request."""

import json
from typing import Any

import pytest

from agon.errors import AgonError, InvalidRequest, UnsupportedParameter
from agon.messages.requests import NEUTRAL, UNSUPPORTED, WITHOUT_EFFECT
from agon_ingress.chat_types import ChatCompletionRequest
from agon_ingress.fields import IMPLEMENTED, ignored_header, parse

HELLO = {"model": "nano", "messages": [{"role": "user", "content": "Hello"}]}


def read(**fields: Any) -> tuple[ChatCompletionRequest, tuple[str, ...]]:
    return parse(json.dumps({**HELLO, **fields}).encode(), "application/json")


def refused(**fields: Any) -> AgonError:
    with pytest.raises(AgonError) as caught:
        read(**fields)
    return caught.value


def test_the_least_request_is_taken() -> None:
    request, ignored = read()
    assert request.model == "nano"
    assert request.n == 1
    assert not request.store
    assert ignored == ()


def test_every_implemented_field_arrives() -> None:
    given = {
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens": 5,
        "n": 2,
        "temperature": 0,
        "top_p": 0.5,
        "top_k": 4,
        "seed": -1,
        "stop": ["a", "b"],
        "ignore_eos": True,
        "store": True,
        "metadata": {"a": "b"},
        "cache_salt": "s",
        "prompt_cache_key": "k",
    }
    request, ignored = read(**given)
    assert ignored == ()
    told = request.model_dump(mode="json")
    for name, value in given.items():
        if name != "stream_options":
            assert told[name] == value, name
    assert request.stream_options is not None
    assert request.stream_options.include_usage


def test_one_stop_string_is_a_list_of_one() -> None:
    assert read(stop="x")[0].stop == ("x",)


@pytest.mark.parametrize("name", sorted(WITHOUT_EFFECT - IMPLEMENTED))
def test_a_field_without_effect_is_neither_refused_nor_named(name: str) -> None:
    assert read(**{name: "anything"})[1] == ()


@pytest.mark.parametrize("name", sorted(UNSUPPORTED - IMPLEMENTED))
def test_an_unsupported_field_is_refused_by_name(name: str) -> None:
    error = refused(**{name: {"type": "something"}})
    assert isinstance(error, UnsupportedParameter)
    assert (error.status, error.code, error.param) == (400, "unsupported_parameter", name)
    assert name in error.message


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in NEUTRAL.items() for value in values])
def test_a_value_that_asks_for_nothing_is_taken(name: str, value: Any) -> None:
    assert read(**{name: value})[1] == ()


def test_null_is_as_good_as_left_out() -> None:
    request, ignored = read(n=None, temperature=None, stop=None, tools=None, logprobs=None, metadata=None, stream=None)
    assert request == read()[0]
    assert ignored == ()


def test_unknown_fields_are_ignored_and_named() -> None:
    _, ignored = read(chat_template_kwargs={}, zebra=1)
    assert ignored == ("chat_template_kwargs", "zebra")
    assert ignored_header(ignored) == {"x-ignored-params": "chat_template_kwargs, zebra"}


def test_the_header_of_ignored_names_stays_small_and_printable() -> None:
    header = ignored_header(["a\r\nset-cookie: x", "ключ", *(f"field_{i}" * 50 for i in range(1000))])
    value = header["x-ignored-params"]
    assert value.isascii()
    assert value.isprintable()
    assert len(value) < 8000
    assert value.endswith("and 970 more")
    assert ignored_header(()) == {}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"temperature": "0.5"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 17}, "n"),
        ({"n": True}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
        ({"seed": 2**63}, "seed"),
        ({"seed": 10**30}, "seed"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": [""]}, "stop[0]"),
        ({"stop": 5}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": 3}}, "stream_options.include_usage"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(fields: dict[str, Any], param: str) -> None:
    error = refused(**fields)
    assert isinstance(error, InvalidRequest)
    assert (error.status, error.code, error.param) == (400, "invalid_value", param)
    assert param in error.message
    assert "pydantic" not in error.message


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "function", "name": "f", "content": "x"}, "messages[0].role"),
        ({"role": "assistant", "content": None, "tool_calls": [{}]}, "messages[0].tool_calls"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
            "messages[0].content[0].type",
        ),
    ],
)
def test_what_a_message_can_hold_and_this_server_can_not_is_refused_by_path(message: Any, param: str) -> None:
    error = refused(messages=[message])
    assert (error.code, error.param) == ("unsupported_parameter", param)


def test_text_parts_are_taken_with_what_else_they_carry() -> None:
    parts = [{"type": "text", "text": "a", "prompt_cache_breakpoint": True}, {"type": "text", "text": "b"}]
    assert read(messages=[{"role": "user", "content": parts}])[0].messages[0].text() == "ab"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"a":"\\ud800"}', b"[" * 100_000, b"NaN"]
)
def test_a_body_that_is_no_json_object_is_told_so(body: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(body, "application/json")
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


def test_another_content_type_is_415() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(b"a=b", "application/x-www-form-urlencoded")
    assert caught.value.status == 415


@pytest.mark.parametrize("kind", [None, "application/json; charset=utf-8", "APPLICATION/JSON", "application/x+json"])
def test_json_by_any_name_is_json(kind: str | None) -> None:
    assert parse(json.dumps(HELLO).encode(), kind)[0].model == "nano"
