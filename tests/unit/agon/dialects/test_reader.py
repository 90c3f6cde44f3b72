"""Calls and reasoning in what models write."""

import json
from keyword import iskeyword
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agon.dialects import Reader, ReasoningStyle, Spoken, ToolFormat, fold

OFFERED = ("get_weather", "f", "search.web", "no-args")
FORMATS: tuple[ToolFormat, ...] = ("hermes", "llama3", "mistral", "pythonic")


def read(text: str, tools: ToolFormat | None = "hermes", cuts: Any = (), reasoning: Any = None) -> Spoken:
    """The text fed in pieces that end at `cuts`."""
    reader = Reader(tools, OFFERED, reasoning)
    spoken = Spoken()
    at = 0
    for cut in [*sorted(cuts), len(text)]:
        fold(reader.feed(text[at:cut]), spoken)
        at = max(at, cut)
    fold(reader.end(), spoken)
    assert reader.calls == len(spoken.calls)
    return spoken


WEATHER = ("get_weather", '{"city": "Rome"}')
HERMES = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'


@pytest.mark.parametrize(
    ("tools", "text", "said", "calls"),
    [
        ("hermes", HERMES, "", [WEATHER]),
        ("hermes", f"Let me look.\n{HERMES}", "Let me look.", [WEATHER]),
        ("hermes", f"{HERMES}\n{HERMES}\n", "", [WEATHER, WEATHER]),
        ("hermes", f"{HERMES}\nDone. ", "Done.", [WEATHER]),
        ("hermes", HERMES.removesuffix("\n</tool_call>"), "", [WEATHER]),
        ("hermes", '<tool_call>{"arguments": {"a": [1, "}"]}, "name": "f"}</tool_call>', "",
         [("f", '{"a": [1, "}"]}')]),
        ("hermes", '<tool_call>{"name": "f"}</tool_call>', "", [("f", "{}")]),
        ("hermes", '<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}</tool_call>', "", [("f", '{"a": 1}')]),
        ("llama3", '{"name": "f", "parameters": {"a": "x"}}', "", [("f", '{"a": "x"}')]),
        ("llama3", '<|python_tag|>{"name": "f", "parameters": {}}', "", [("f", "{}")]),
        ("llama3", '{"name": "f", "parameters": {}}; {"name": "f", "parameters": {"b": 2}}', "",
         [("f", "{}"), ("f", '{"b": 2}')]),
        ("mistral", '[TOOL_CALLS][{"name": "f", "arguments": {}}, {"name": "f", "arguments": {"b": 2}}]', "",
         [("f", "{}"), ("f", '{"b": 2}')]),
        ("mistral", ' [{"name": "f", "arguments": {"a": 1}}]', "", [("f", '{"a": 1}')]),
        ("mistral", '[TOOL_CALLS]get_weather[ARGS]{"city": "Rome"}', "", [WEATHER]),
        ("mistral", 'get_weather{"city": "Rome"}f{}', "", [WEATHER, ("f", "{}")]),
        ("pythonic", "[get_weather(city='Rome')]", "", [WEATHER]),
        ("pythonic", '[f(a=[1, 2], b={"c": None}), search.web(q="a, (b]")]', "",
         [("f", '{"a": [1, 2], "b": {"c": null}}'), ("search.web", '{"q": "a, (b]"}')]),
        ("pythonic", "[f(a=true, b=[null, False])]", "", [("f", '{"a": true, "b": [null, false]}')]),
        ("pythonic", "[f()]\n", "", [("f", "{}")]),
    ],
)  # fmt: skip
def test_a_call_is_read_in_each_format(tools: ToolFormat, text: str, said: str, calls: Any) -> None:
    spoken = read(text, tools)
    assert (spoken.text, spoken.calls) == (said, calls)


@pytest.mark.parametrize(
    "text",
    [
        "Hello there. ",
        "  a < b, <b>bold</b> <tool",
        "<tool_call>no json</tool_call>",
        '<tool_call>{"name": "unknown", "arguments": {}}</tool_call>',
        '{"name": "unknown", "parameters": {}}',
        '{"answer": 42}',
        "[link](http://x)",
        "[1, 2, 3]",
        "[unknown(a=1)]",
        "[f(1)]",
        "[f(a=b)]",
        "get_weather is a tool",
        "{",
        "[",
        "\n",
        "[TOOL_CALLS] are rare",
        "[" * 500,
        "[f(a=" + "[" * 5000,
    ],
)
@pytest.mark.parametrize("tools", [*FORMATS, None])
def test_what_is_no_call_is_text_to_the_last_character(tools: ToolFormat | None, text: str) -> None:
    assert read(text, tools) == Spoken(text)


def test_a_second_tag_within_a_broken_call_can_begin_one() -> None:
    assert read(f"<tool_call>{HERMES}").calls == [WEATHER]


def test_arguments_come_as_they_are_written() -> None:
    reader = Reader("hermes", OFFERED)
    assert reader.feed('<tool_call>{"name": "f"') != []
    told = [
        fold(reader.feed(part), Spoken(calls=[("f", "")])).calls[0][1] for part in (', "arguments": {"a', '": 1', "}")
    ]
    assert told == ['{"a', '": 1', "}"]


def test_an_answer_that_is_cut_off_keeps_what_was_told() -> None:
    assert read(HERMES[:60]).calls == [("get_weather", HERMES[HERMES.index('{"city') : 60])]


@pytest.mark.parametrize(
    ("style", "text", "reasoning", "said"),
    [
        ("think", "<think>\nHm, 2.\n</think>\n\nIt is 2.", "Hm, 2.", "It is 2."),
        ("think", "It is <think>2</think>.", "", "It is <think>2</think>."),
        ("think", "<think>cut off ", "cut off", ""),
        ("think", "<think></think>x", "", "x"),
        ("think", "<thin", "", "<thin"),
        ("think_open", "Hm, a < b </thin\n</think>\nYes", "Hm, a < b </thin", "Yes"),
        ("think_open", "never closed", "never closed", ""),
        (None, "<think>a</think>b", "", "<think>a</think>b"),
    ],
)
def test_reasoning_is_kept_apart(style: ReasoningStyle | None, text: str, reasoning: str, said: str) -> None:
    spoken = read(text, "hermes", reasoning=style)
    assert (spoken.reasoning, spoken.text) == (reasoning, said)


def test_a_call_behind_reasoning_is_read() -> None:
    spoken = read(f"<think>I need the weather.</think>\n{HERMES}", reasoning="think")
    assert spoken == Spoken("", "I need the weather.", [WEATHER])


SCRAPS = st.sampled_from(
    ["<tool_call>", "</tool_call>", "<think>", "</think>", "[TOOL_CALLS]", "[ARGS]", "<|python_tag|>", HERMES, "\n",
     " ", '{"name": "f"', ', "arguments": ', ', "parameters": ', '{"a": "\\"}"}', "}", "{", "[", "]", "f(a=1)", ", ",
     ";", "f", '"', "get_weather", "word", "<", '{"name": "f", "arguments": {"a": 1}}', "'"]
)  # fmt: skip


@given(
    st.lists(SCRAPS | st.text(max_size=3), max_size=12).map("".join),
    st.sampled_from([*FORMATS, None]),
    st.sampled_from([None, "think", "think_open"]),
    st.data(),
)
def test_however_the_text_is_cut_it_says_the_same(text: str, tools: Any, style: Any, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=12))
    assert read(text, tools, cuts, style) == read(text, tools, (), style)


VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 999) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.from_regex(r"[a-z]{1,5}", fullmatch=True).filter(lambda key: not iskeyword(key))
CALLS = st.lists(
    st.tuples(st.sampled_from(("f", "get_weather")), st.dictionaries(KEYS, VALUES, max_size=3)), min_size=1, max_size=3
)


def written(tools: ToolFormat, calls: list[tuple[str, dict[str, Any]]]) -> str:
    """As a model of this kind would write it."""
    match tools:
        case "hermes":
            return "\n".join(f"<tool_call>\n{json.dumps({'name': n, 'arguments': a})}\n</tool_call>" for n, a in calls)
        case "llama3":
            return "; ".join(json.dumps({"name": n, "parameters": a}) for n, a in calls)
        case "mistral":
            return "[TOOL_CALLS]" + json.dumps([{"name": n, "arguments": a} for n, a in calls])
        case "pythonic":
            told = (f"{n}({', '.join(f'{k}={v!r}' for k, v in a.items())})" for n, a in calls)
            return f"[{', '.join(told)}]"


@given(st.sampled_from(FORMATS), CALLS)
def test_what_was_called_arrives(tools: ToolFormat, calls: list[tuple[str, dict[str, Any]]]) -> None:
    spoken = read(written(tools, calls), tools)
    assert spoken.text == ""
    assert [(name, json.loads(arguments)) for name, arguments in spoken.calls] == calls


@pytest.mark.parametrize("tools", [*FORMATS, None])
@pytest.mark.parametrize("begin", ["", "Hello", "<think>", "<think>Hm", "[", '{"name": "f", "parameters": {}}'])
def test_a_model_that_says_nothing_but_white_space_any_more_is_read_in_time(tools: Any, begin: str) -> None:
    """In a time that grows with the text. Where it grew with its square, this took minutes."""
    spoken = read(begin + "\n" * 50_000, tools, reasoning="think")
    assert len(spoken.calls) <= 1
    reader = Reader(tools, OFFERED, "think")
    for piece in (begin, *("\n\n",) * 5_000):
        reader.feed(piece)
    assert len(reader.end()) <= 1
