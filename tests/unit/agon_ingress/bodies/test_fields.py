"""What becomes of each field of a request."""

import json
from typing import Any, TypeVar

import pytest
from pydantic import ValidationError

from agon.errors import AgonError, InvalidRequest, UnsupportedParameter
from agon.messages.formats import ChoiceFormat, JsonObjectFormat, JsonSchemaFormat, RegexFormat
from agon_ingress.asking.mapping import command
from agon_ingress.bodies.fields import ignored_header, read_object
from agon_ingress.bodies.fields import read as read_fields
from agon_ingress.bodies.policy import Asked, fates, refusals
from agon_ingress.chat.types import ChatCompletionRequest
from agon_ingress.routes import ENDPOINTS

HELLO = {"model": "nano", "messages": [{"role": "user", "content": "Hello"}]}
LEAST: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": HELLO,
    "/v1/completions": {"model": "nano", "prompt": "Hello"},
    "/v1/embeddings": {"model": "nano", "input": "Hello"},
    "/v1/responses": {"model": "nano", "input": "Hello"},
}
KINDS = [(endpoint.path, endpoint.asks) for endpoint in ENDPOINTS]
A = TypeVar("A", bound=Asked)
EACH = [(path, kind, name, fate) for path, kind in KINDS for name, fate in fates(kind).items()]


def parse(kind: type[A], body: bytes, content_type: str | None) -> tuple[A, tuple[str, ...]]:
    return read_fields(kind, read_object(kind, body, content_type))


def read(**fields: Any) -> tuple[ChatCompletionRequest, tuple[str, ...]]:
    return parse(ChatCompletionRequest, json.dumps({**HELLO, **fields}).encode(), "application/json")


def ask(path: str, kind: type[Asked], **fields: Any) -> tuple[Asked, tuple[str, ...]]:
    return parse(kind, json.dumps({**LEAST[path], **fields}).encode(), "application/json")


def refused(**fields: Any) -> AgonError:
    with pytest.raises(AgonError) as caught:
        read(**fields)
    return caught.value


@pytest.mark.parametrize(("path", "kind"), KINDS)
def test_the_least_request_is_taken(path: str, kind: type[Asked]) -> None:
    assert ask(path, kind)[1] == ()


def test_every_implemented_field_arrives() -> None:
    given = {
        "stream": True,
        "max_completion_tokens": 5,
        "n": 2,
        "temperature": 0,
        "top_p": 0.5,
        "top_k": 4,
        "min_p": 0.1,
        "presence_penalty": 1.5,
        "frequency_penalty": -0.5,
        "repetition_penalty": 1.1,
        "seed": -1,
        "stop": ["a", "b"],
        "stop_token_ids": [1, 2],
        "min_tokens": 2,
        "ignore_eos": True,
        "store": True,
        "metadata": {"a": "b"},
        "cache_salt": "s",
        "prompt_cache_key": "k",
        "logprobs": True,
        "top_logprobs": 3,
        "reasoning_effort": "low",
        "chat_template_kwargs": {"enable_thinking": False},
        "parallel_tool_calls": False,
    }
    request, ignored = read(**given, stream_options={"include_usage": True}, logit_bias={"50": -100})
    assert ignored == ()
    told = request.model_dump(mode="json")
    for name, value in given.items():
        assert told[name] == value, name
    assert request.logit_bias == {50: -100}
    assert request.stream_options is not None
    assert request.stream_options.include_usage


def test_one_stop_string_is_a_list_of_one() -> None:
    assert read(stop="x")[0].stop == ("x",)


@pytest.mark.parametrize(("path", "kind", "name"), [each[:3] for each in EACH if each[3] == "accepted"])
def test_a_field_without_effect_is_neither_refused_nor_named(path: str, kind: type[Asked], name: str) -> None:
    asked, ignored = ask(path, kind, **{name: {"any": "thing"}})
    assert (asked, ignored) == ask(path, kind)


@pytest.mark.parametrize(("path", "kind", "name"), [each[:3] for each in EACH if each[3] == "refused"])
def test_an_unsupported_field_is_refused_by_name(path: str, kind: type[Asked], name: str) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        ask(path, kind, **{name: {"type": "something"}})
    error = caught.value
    assert (error.status, error.code, error.param) == (400, "unsupported_parameter", name)
    assert name in error.message
    for value in (None, *refusals(kind)[name].neutral):
        assert ask(path, kind, **{name: value})[1] == (), "a value that asks for nothing is taken"


def test_null_is_as_good_as_left_out() -> None:
    assert read(stream=True, stream_options={"include_usage": None})[0] == read(stream=True, stream_options={})[0]
    request, ignored = read(n=None, temperature=None, stop=None, tools=None, logprobs=None, metadata=None, stream=None)
    assert request == read()[0]
    assert ignored == ()


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("fields", "form"),
    [
        ({"response_format": {"type": "json_object"}}, JsonObjectFormat),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, "strict": True}}},
         JsonSchemaFormat),
        ({"guided_json": SCHEMA}, JsonSchemaFormat),
        ({"guided_json": json.dumps(SCHEMA)}, JsonSchemaFormat),
        ({"guided_regex": "a+"}, RegexFormat),
        ({"guided_choice": ["yes", "no"]}, ChoiceFormat),
        ({"structured_outputs": {"json": SCHEMA}}, JsonSchemaFormat),
        ({"structured_outputs": {"choice": ["yes", "no"]}}, ChoiceFormat),
        ({"structured_outputs": {"json_object": True}}, JsonObjectFormat),
    ],
)  # fmt: skip
def test_a_form_can_be_asked_for_in_three_ways(fields: dict[str, Any], form: type) -> None:
    asked = read(**fields)[0].form
    assert isinstance(asked, form)
    if isinstance(asked, JsonSchemaFormat):
        assert asked.json_schema.schema_ == SCHEMA


def test_text_is_no_form() -> None:
    assert read(response_format={"type": "text"})[0].form is None


def test_unknown_fields_are_ignored_and_named() -> None:
    _, ignored = read(giraffe={}, zebra=1)
    assert ignored == ("giraffe", "zebra")
    assert ignored_header(ignored) == {"x-ignored-params": "giraffe, zebra"}


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
        ({"top_p": 1.1}, "top_p"),
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
        ({"logprobs": 3}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"min_p": 2}, "min_p"),
        ({"logit_bias": {"x": 1}}, "logit_bias.x"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"name": "a"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_object"}, "guided_regex": "a"}, "guided_regex"),
        ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "structured_outputs"),
        ({"guided_json": "{"}, "guided_json"),
        ({"guided_choice": []}, "guided_choice"),
        ({"tools": [{"type": "function", "function": {"name": "no good"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "often", "tools": [TOOL]}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "g"}}, "tools": [TOOL]}, "tool_choice"),
        ({"tool_choice": {"type": "custom", "custom": {"name": "f"}}, "tools": [TOOL]}, "tool_choice.type"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}, "tools": [TOOL]},
         "tool_choice.allowed_tools.tools"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "assistant", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "1", "type": "function"}]}]},
         "messages[0].tool_calls[0].function"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_by_its_path(fields: dict[str, Any], param: str) -> None:
    error = refused(**fields)
    assert isinstance(error, InvalidRequest)
    assert (error.status, error.type, error.param) == (400, "invalid_request_error", param)
    assert param in error.message
    assert "pydantic" not in error.message


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model": None}, "missing_required_parameter"),
        ({"n": "2"}, "invalid_type"),
        ({"seed": 1.5}, "invalid_type"),
        ({"messages": "Hello"}, "invalid_type"),
        ({"n": 0}, "integer_below_min_value"),
        ({"n": 17}, "integer_above_max_value"),
        ({"temperature": 2.0001}, "decimal_above_max_value"),
        ({"top_p": -0.1}, "decimal_below_min_value"),
        ({"messages": []}, "empty_array"),
        ({"stop": ["a"] * 5}, "array_above_max_length"),
        ({"stop": ""}, "empty_string"),
        ({"metadata": {"a": "x" * 513}}, "string_above_max_length"),
        ({"reasoning_effort": "huge"}, "invalid_value"),
        ({"tool_choice": "required"}, "invalid_value"),
    ],
)
def test_what_is_wrong_with_it_has_openais_code(fields: dict[str, Any], code: str) -> None:
    assert refused(**fields).code == code


@pytest.mark.parametrize("deep", [100, 190, 300, 900])
def test_what_is_too_deep_to_be_read_is_refused_unless_it_is_ignored(deep: int) -> None:
    nested = '{"a":' * deep + "1" + "}" * deep
    hello = json.dumps(HELLO)[:-1]
    assert parse(ChatCompletionRequest, f'{hello}, "unknown": {nested}}}'.encode(), None)[1] == ("unknown",)
    body = f'{hello}, "chat_template_kwargs": {nested}}}'.encode()
    if deep <= 190:
        assert parse(ChatCompletionRequest, body, None)[0].chat_template_kwargs
    else:
        with pytest.raises(InvalidRequest) as caught:
            parse(ChatCompletionRequest, body, None)
        assert caught.value.code == "invalid_json"


@pytest.mark.parametrize("deep", [200, 240])
def test_between_what_can_be_written_and_what_can_be_read_too(deep: int) -> None:
    assert refused(chat_template_kwargs=json.loads('{"a":' * deep + "1" + "}" * deep)).code == "invalid_json"


def test_a_top_p_of_0_leaves_workers_the_most_probable_token() -> None:
    asked, _ = read(top_p=0)
    request = command(request_id="r", model="m", messages=asked.messages, top_p=asked.top_p)
    assert request.top_p is not None
    assert 0 < request.top_p < 1e-6


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "function", "name": "f", "content": "x"}, "messages[0].role"),
        ({"role": "assistant", "content": "x", "function_call": {"name": "f"}}, "messages[0].function_call"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
            "messages[0].content[0].type",
        ),
    ],
)
def test_what_a_message_can_hold_and_this_server_can_not_is_refused_by_path(message: Any, param: str) -> None:
    error = refused(messages=[message])
    assert (error.code, error.param) == ("unsupported_parameter", param)


def test_a_custom_tool_is_refused_by_path() -> None:
    error = refused(tools=[TOOL, {"type": "custom", "custom": {"name": "c"}}])
    assert (error.code, error.param) == ("unsupported_parameter", "tools[1].type")


def test_a_conversation_with_tools_is_taken() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    request, _ = read(
        messages=[
            {"role": "developer", "content": "Be short."},
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "42"}]},
        ],
        tools=[TOOL],
        tool_choice={
            "type": "allowed_tools",
            "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]},
        },
    )
    assert request.messages[2].tool_calls is not None
    assert request.messages[3].text() == "42"


def test_text_parts_are_taken_with_what_else_they_carry() -> None:
    parts = [{"type": "text", "text": "a", "prompt_cache_breakpoint": True}, {"type": "text", "text": "b"}]
    assert read(messages=[{"role": "user", "content": parts}])[0].messages[0].text() == "ab"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"a":"\\ud800"}', b"[" * 100_000, b"NaN"]
)
def test_a_body_that_is_no_json_object_is_told_so(body: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(ChatCompletionRequest, body, "application/json")
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


def test_another_content_type_is_415() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(ChatCompletionRequest, b"a=b", "application/x-www-form-urlencoded")
    assert caught.value.status == 415


@pytest.mark.parametrize("kind", [None, "application/json; charset=utf-8", "APPLICATION/JSON", "application/x+json"])
def test_json_by_any_name_is_json(kind: str | None) -> None:
    assert parse(ChatCompletionRequest, json.dumps(HELLO).encode(), kind)[0].model == "nano"


MANY = 3000


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/chat/completions", {"messages": [5] * MANY}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": [5] * MANY}]}),
        ("/v1/chat/completions", {"messages": [{"role": "assistant", "tool_calls": [5] * MANY}]}),
        ("/v1/chat/completions", {"tools": [5] * MANY}),
        ("/v1/chat/completions", {"stop": [5] * MANY}),
        ("/v1/chat/completions", {"stop_token_ids": ["x"] * MANY}),
        ("/v1/chat/completions", {"guided_choice": [5] * MANY}),
        ("/v1/chat/completions", {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": [5] * MANY}}}),
        ("/v1/completions", {"prompt": ["a", *[5] * MANY]}),
        ("/v1/completions", {"prompt": [[]] * MANY}),
        ("/v1/embeddings", {"input": [""] * MANY}),
        ("/v1/responses", {"input": [5] * MANY}),
        ("/v1/responses", {"input": [{"role": "user", "content": [5] * MANY}]}),
        ("/v1/responses", {"input": [{"type": "function_call_output", "call_id": "c", "output": [5] * MANY}]}),
        ("/v1/responses", {"tools": [5] * MANY}),
        ("/v1/responses", {"include": [5] * MANY}),
    ],
)
def test_a_list_is_looked_at_until_the_first_that_is_wrong(path: str, fields: dict[str, Any]) -> None:
    """Else a small body with many mistakes takes an ingress minutes, in which nobody is answered."""
    kind = dict(KINDS)[path]
    with pytest.raises(ValidationError) as caught:
        kind.model_validate_json(json.dumps({**LEAST[path], **fields}), strict=True)
    assert caught.value.error_count() < 20
