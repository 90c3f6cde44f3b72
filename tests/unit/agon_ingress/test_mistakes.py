"""Mistakes of clients that are told by their place, before a worker is asked."""

from typing import Any

import pytest

from agon_ingress.bodies.json_schemas import fault
from unit.agon_ingress.offline import ask, offline, post


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "strin"}, "`type` must be one of"),
        ({"properties": {"a": {"type": ["string", "nul"]}}}, "properties.a: `type`"),
        ({"properties": []}, "`properties` must be an object of schemas"),
        ({"properties": {"a": 5}}, "properties.a: `5` is no schema"),
        ({"required": "a"}, "`required` must be a list of names"),
        ({"anyOf": []}, "`anyOf` must be a list of schemas"),
        ({"items": {"enum": []}}, "items: `enum` must be a list"),
        ({"$ref": "#/$defs/b", "$defs": {"a": {}}}, "`$ref` leads nowhere"),
    ],
)
def test_what_is_wrong_is_named(schema: Any, told: str) -> None:
    assert told in (fault(schema) or "")


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"type": ["string", "null"], "enum": ["a", None]},
        {"properties": {"type": {"type": "string"}, "a": {"$ref": "#/$defs/a~1b"}}, "$defs": {"a/b": False}},
        {"items": [{"type": "string"}], "additionalProperties": False},
    ],
)
def test_schemas_are_taken(schema: Any) -> None:
    assert fault(schema) is None


MESSAGES = [{"role": "user", "content": "Hi"}]
BROKEN = {"type": "object", "properties": {"a": {"type": "strin"}}}


async def test_an_error_of_a_tools_schema_names_the_tool() -> None:
    tools = [
        {"type": "function", "function": {"name": "f"}},
        {"type": "function", "function": {"name": "g", "parameters": BROKEN}},
    ]
    told = await post(offline(), "/v1/chat/completions", {"model": "m", "messages": MESSAGES, "tools": tools})
    assert (told.status, told.error["param"]) == (400, "tools[1].function.parameters")
    assert told.error["code"] == "invalid_function_parameters"
    functions = [{"type": "function", "name": "g", "parameters": BROKEN}]
    told = await post(offline(), "/v1/responses", {"model": "m", "input": "Hi", "tools": functions})
    assert (told.status, told.error["param"]) == (400, "tools[0].parameters")


@pytest.mark.parametrize(("lacks", "given"), [("name", {"schema": {}}), ("schema", {"name": "a"})])
async def test_a_json_schema_needs_its_name_and_a_schema(lacks: str, given: Any) -> None:
    form = {"type": "json_schema", "json_schema": given}
    for path, more in (("/v1/chat/completions", {"messages": MESSAGES}), ("/v1/completions", {"prompt": "Hi"})):
        told = await post(offline(), path, {"model": "m", "response_format": form, **more})
        assert (told.status, told.error["param"]) == (400, f"response_format.json_schema.{lacks}")
        assert told.error["code"] == "missing_required_parameter"


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({str(n): "x" for n in range(16)}, None),
        ({str(n): "x" for n in range(17)}, "object_above_max_properties"),
        ({"k" * 64: "v" * 512}, None),
        ({"k" * 65: "v"}, "string_above_max_length"),
        ({"k": "v" * 513}, "string_above_max_length"),
        ({"k": 5}, "invalid_type"),
    ],
)
async def test_metadata_is_limited_at_the_bound_and_one_beyond(metadata: Any, code: str | None) -> None:
    for path, more in (("/v1/chat/completions", {"messages": MESSAGES}), ("/v1/responses", {"input": "Hi"})):
        told = await post(offline(), path, {"model": "m", "metadata": metadata, **more})
        assert (told.status, told.error["code"]) == ((503, "unavailable") if code is None else (400, code))


@pytest.mark.parametrize(
    ("prompt", "code", "param", "told"),
    [
        ([], "empty_array", "prompt", "at least 1 item"),
        ([[]], "empty_array", "prompt[0]", "at least 1 item"),
        (5, "invalid_type", "prompt", "a valid string or a valid array"),
        ([[1], []], "empty_array", "prompt[1]", "at least 1 item"),
        ([1, -1], "integer_below_min_value", "prompt[1]", "greater than or equal to 0"),
        (["a", 5], "invalid_type", "prompt[0]", "prompt[1]: Input should be a valid string"),
    ],
)
async def test_an_error_of_a_union_tells_what_the_value_is_near_to(
    prompt: Any, code: str, param: str, told: str
) -> None:
    answer = await post(offline(), "/v1/completions", {"model": "m", "prompt": prompt})
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, code, param)
    assert told in answer.error["message"]


@pytest.mark.parametrize(
    "message",
    [{"content": None, "refusal": "No."}, {"content": [{"type": "refusal", "refusal": "No."}]}],
)
async def test_an_assistants_refusal_is_what_it_said(message: Any) -> None:
    body = {"model": "m", "messages": [*MESSAGES, {"role": "assistant", **message}, *MESSAGES]}
    assert (await post(offline(), "/v1/chat/completions", body)).status == 503  # as far as it gets without Kafka


@pytest.mark.parametrize("path", ["/v1/chat/completions/", "/v1/files/", "/v1/responses/", "/v1/chat/completion"])
async def test_a_path_that_is_almost_right_is_a_clear_404_and_no_redirect(path: str) -> None:
    told = await post(offline(), path, {"model": "m", "messages": MESSAGES})
    assert told.status == 404
    assert "GET / names what there is" in told.error["message"]


async def test_an_answer_of_no_tokens_is_for_an_echo() -> None:
    body = {"model": "m", "prompt": "Hi", "max_tokens": 0}
    told = await post(offline(), "/v1/completions", body)
    assert (told.status, told.error["param"]) == (400, "max_tokens")
    assert (await post(offline(), "/v1/completions", {**body, "echo": True})).status == 503


@pytest.mark.parametrize("headers", [{"content_type": "application/x-www-form-urlencoded"}, {}])
@pytest.mark.parametrize("path", ["/arena/battles", "/arena/battles/b/vote", "/arena/battles/b/turns"])
async def test_a_body_that_is_no_object_is_told_how_to_be_one(path: str, headers: dict[str, str]) -> None:
    """curl without a header sends JSON as a form."""
    told = await post(offline(), path, b'{"prompt": "Hi"}' if headers else b"", **headers)
    assert (told.status, told.error["code"]) == (400, "invalid_json")
    assert "content-type: application/json" in told.error["message"]


@pytest.mark.parametrize("name", ["no such model", "x" * 201, "a\tb"])
async def test_a_text_that_is_no_model_s_name_is_a_model_that_does_not_exist(name: str) -> None:
    told = await post(offline(), "/v1/chat/completions", {"model": name, "messages": MESSAGES})
    assert (told.status, told.error["param"], told.error["code"]) == (404, "model", "model_not_found")


@pytest.mark.parametrize(
    ("query", "param", "code"),
    [
        ("limit=0", "limit", "integer_below_min_value"),
        ("limit=many", "limit", "invalid_type"),
        (f"after={'x' * 129}", "after", "string_above_max_length"),
    ],
)
async def test_a_wrong_value_in_the_address_is_named_as_the_client_wrote_it(query: str, param: str, code: str) -> None:
    told = await ask(offline(), "GET", f"/v1/batches?{query}")
    assert (told.status, told.error["param"], told.error["code"]) == (400, param, code)
    assert told.error["message"].startswith(f"{param}: ")


async def test_a_method_that_a_path_does_not_take_is_told_with_all_that_it_takes() -> None:
    for path, allowed in (("/v1/files", "GET, HEAD, POST"), ("/v1/models/a/b", "DELETE, GET, HEAD")):
        told = await ask(offline(), "PATCH", path)
        assert (told.status, told.headers["allow"]) == (405, allowed)


async def test_an_empty_content_encoding_is_none() -> None:
    told = await post(offline(), "/v1/responses", {"model": "m", "input": "Hi", "store": False}, content_encoding="")
    assert told.status == 503


async def test_an_error_within_a_list_is_told_by_the_member_whose_type_the_others_have() -> None:
    told = await post(offline(), "/v1/embeddings", {"model": "e", "input": ["a", ""]})
    assert (told.status, told.error["code"], told.error["param"]) == (400, "empty_string", "input[1]")
