"""What an answer that calls tools can look like, in each format, held against llguidance."""

import json
from typing import Any

import pytest
from llguidance import LLMatcher, LLTokenizer

from agon import nano
from agon.backends.tool_guides import tool_grammar
from agon.dialects import Reader, ReasoningStyle, ToolFormat, fold
from agon.errors import InvalidRequest, UnsupportedParameter
from agon.messages import GenerationRequest

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": CITY}}
NOW = {"type": "function", "function": {"name": "now"}}
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'
GOOD: dict[ToolFormat, list[str]] = {
    "hermes": [CALL, f"{CALL}\n{CALL}", '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'],
    "llama3": [
        '{"name": "get_weather", "parameters": {"city": "Rome", "days": 3}}',
        '{"name": "now", "parameters": {}}; {"name": "now", "parameters": {}}',
    ],
    "mistral": ['[{"name": "get_weather", "arguments": {"city": "Rome"}}, {"name": "now", "arguments": {}}]'],
    "pythonic": ['[get_weather(city="Rome", days=3), now()]'],
}
EACH = [(written, text) for written, texts in GOOD.items() for text in texts]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return LLTokenizer((nano.models()["nano-6m"] / "tokenizer.json").read_text())


def grammar(
    written: ToolFormat | None = "hermes", reasoning: ReasoningStyle | None = None, **fields: Any
) -> str | None:
    request = {"request_id": "r", "model": "m", "messages": [{"role": "user", "content": "?"}], "tools": [WEATHER, NOW]}
    return tool_grammar(GenerationRequest.model_validate({**request, **fields}), written, reasoning)


def fits(tokenizer: Any, text: str, *args: Any, **fields: Any) -> bool:
    """Whether this may be the whole answer."""
    made = grammar(*args, **fields)
    assert made is not None
    matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_lark(made), log_level=0)
    assert not matcher.is_error(), (made, matcher.get_error())
    return bool(matcher.consume_tokens(tokenizer.tokenize_str(text)) and matcher.is_accepting())


@pytest.mark.parametrize(("written", "text"), EACH)
@pytest.mark.parametrize("choice", ["required", "auto"])
def test_a_call_as_the_model_writes_it_fits_and_is_read(
    tokenizer: Any, written: ToolFormat, text: str, choice: str
) -> None:
    assert fits(tokenizer, text, written, tool_choice=choice)
    reader = Reader(written, ("get_weather", "now"))
    spoken = fold((*reader.feed(text), *reader.end()))
    assert spoken.text == ""
    assert all(isinstance(json.loads(arguments), dict) for _, arguments in spoken.calls)
    assert spoken.calls


@pytest.mark.parametrize("written", list(GOOD))
def test_where_a_call_is_required_text_does_not_fit_and_else_it_does(tokenizer: Any, written: ToolFormat) -> None:
    assert not fits(tokenizer, "Hello there", written, tool_choice="required")
    assert fits(tokenizer, "Hello there", written)
    assert fits(tokenizer, "", written)


@pytest.mark.parametrize(
    "wrong",
    [
        '<tool_call>\n{"name": "unknown", "arguments": {}}\n</tool_call>',
        '<tool_call>\n{"name": "get_weather", "arguments": {"town": "Rome"}}\n</tool_call>',
        '<tool_call>\n{"name": "get_weather", "arguments": {}}\n</tool_call>',
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": 5}}\n</tool_call>',
    ],
)
def test_arguments_are_held_to_the_schema_also_where_no_call_is_required(tokenizer: Any, wrong: str) -> None:
    for choice in ("auto", "required"):
        assert not fits(tokenizer, wrong, tool_choice=choice)
        assert not fits(tokenizer, f"Well. {wrong}", tool_choice=choice)
    assert fits(tokenizer, f"Well. {CALL}")


def test_a_named_tool_is_called_once_and_no_other(tokenizer: Any) -> None:
    named = {"type": "function", "function": {"name": "get_weather"}}
    assert fits(tokenizer, CALL, tool_choice=named)
    assert not fits(tokenizer, f"{CALL}\n{CALL}", tool_choice=named)
    assert not fits(tokenizer, GOOD["hermes"][2], tool_choice=named)


def test_only_allowed_tools_are_called(tokenizer: Any) -> None:
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "now"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    assert fits(tokenizer, GOOD["hermes"][2], tool_choice=choice)
    assert not fits(tokenizer, CALL, tool_choice=choice)


def test_one_call_at_most_where_several_are_not_wanted(tokenizer: Any) -> None:
    assert fits(tokenizer, CALL, tool_choice="required", parallel_tool_calls=False)
    assert not fits(tokenizer, f"{CALL}\n{CALL}", tool_choice="required", parallel_tool_calls=False)
    assert fits(tokenizer, "text", parallel_tool_calls=False)


@pytest.mark.parametrize(("written", "text"), EACH)
def test_reasoning_may_come_first(tokenizer: Any, written: ToolFormat, text: str) -> None:
    assert fits(tokenizer, f"<think>\nHm, [a] {{b}}.\n</think>\n\n{text}", written, "think", tool_choice="required")
    assert fits(tokenizer, text, written, "think", tool_choice="required")
    assert fits(tokenizer, f"Hm.\n</think>\n\n{text}", written, "think_open", tool_choice="required")
    assert not fits(tokenizer, text, written, "think_open", tool_choice="required")


@pytest.mark.parametrize(
    ("form", "good"),
    [
        ({"type": "json_object"}, '{"a": 1}'),
        ({"type": "json_schema", "json_schema": {"name": "a", "schema": CITY}}, '{"city": "Rome"}'),
        ({"type": "regex", "pattern": "a+/"}, "aaa/"),
        ({"type": "regex", "pattern": r"a\/b\\/"}, "a/b\\/"),
        ({"type": "regex", "pattern": "a\nb"}, "a\nb"),
        ({"type": "json_schema", "json_schema": {"name": "a", "schema": True}}, "[1]"),
        ({"type": "choice", "choices": ["yes", "no"]}, "no"),
    ],
)
def test_an_answer_in_a_form_or_a_call(tokenizer: Any, form: Any, good: str) -> None:
    assert fits(tokenizer, good, response_format=form)
    assert fits(tokenizer, CALL, response_format=form)
    assert not fits(tokenizer, "Hello there", response_format=form)


def test_parameters_of_any_value_may_be_called_and_what_is_no_schema_is_refused(tokenizer: Any) -> None:
    def tool(properties: Any) -> Any:
        parameters = {"type": "object", "properties": properties}
        return {"type": "function", "function": {"name": "f", "parameters": parameters}}

    assert fits(tokenizer, '[f(x="any")]', "pythonic", tool_choice="required", tools=[tool({"x": True})])
    for wrong in (["x"], {"x": 3}):
        with pytest.raises(InvalidRequest, match="tools: "):
            grammar("pythonic", tool_choice="required", tools=[tool(wrong)])


def test_no_grammar_where_nothing_may_be_called_and_an_error_where_nothing_can() -> None:
    assert grammar(tool_choice="none") is None
    assert grammar(None, tools=None) is None
    with pytest.raises(UnsupportedParameter):
        grammar(None)
    with pytest.raises(UnsupportedParameter):
        grammar(response_format={"type": "grammar", "grammar": 'start: "a"'})
