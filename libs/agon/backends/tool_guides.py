"""What an answer that may or must call tools can look like: a grammar over the model's own format of calls.

Arguments are held to each tool's JSON schema: always where a call is required, and otherwise once a call begins. The
grammars are Lark's as llguidance reads it (a `[lazy]` rule ends with the first match).
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agon.dialects import ReasoningStyle, ToolFormat
from agon.errors import InvalidRequest, UnsupportedParameter
from agon.messages import GenerationRequest, Tool
from agon.messages.formats import ChoiceFormat, JsonObjectFormat, JsonSchemaFormat, RegexFormat
from agon.messages.tool_choice import Calling, calling

# As models write JSON that was made by `json.dumps`.
_SPACING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_TEXT = r"TEXT: /(.|\n)*/"
# What ends a regular expression in a grammar; a character behind a backslash does not.
_UNESCAPED = re.compile(r"\\.|[/\n]", re.DOTALL)
_ESCAPED = {"/": r"\/", "\n": r"\n", "\\\n": r"\n"}
_NO_ARGUMENTS = {"type": "object", "properties": {}, "additionalProperties": False}


def tool_grammar(
    request: GenerationRequest, written: ToolFormat | None, reasoning: ReasoningStyle | None
) -> str | None:
    """The grammar of a chat's answer, None where no tool may be called.

    Raises `UnsupportedParameter` where calls can't be forced: the model knows no tools, or a format of the answer was
    asked for that can't stand beside calls; `InvalidRequest` for parameters that are described by no schema.
    """
    offer = calling(request.tools, request.tool_choice, request.parallel_tool_calls)
    if not offer.names:
        return None
    if written is None:
        raise UnsupportedParameter("tools: this model's chat template knows none", param="tools")
    tools = [tool for tool in request.tools or () if tool.function.name in offer.names]
    rules = _CALLS[written](tools, offer)
    content = None if offer.required else _content(request)
    if offer.required:
        start = "calls"
    elif content is not None:
        start = "calls | content"
        rules.append(f"content: {content}")
    else:
        start, more = _FREE[written](offer)
        rules += more
    if reasoning is None:
        return "\n".join((f"start: {start}", *rules))
    # Reasoning comes first, whatever the rest must be.
    opening = "" if reasoning == "think_open" else "<think>"
    optional = "" if reasoning == "think_open" else "?"
    return "\n".join(
        (
            f"start: reasoned{optional} answer",
            "reasoned: thought SPACE",
            f"answer: {start}",
            rf"thought[lazy]: /{opening}(.|\n)*<\/think>/",
            r"SPACE: /\s*/",
            *rules,
        )
    )


def _content(request: GenerationRequest) -> str | None:
    """The other form that the answer may have, where one was asked for."""
    match request.response_format:
        case JsonObjectFormat():
            return _json({"type": "object"})
        case JsonSchemaFormat(json_schema=named):
            return _json(named.schema_)
        case RegexFormat(pattern=pattern):
            return f"/{_UNESCAPED.sub(lambda found: _ESCAPED.get(found[0], found[0]), pattern)}/"
        case ChoiceFormat(choices=choices):
            return " | ".join(map(json.dumps, choices))
        case form if form is not None and form.type != "text":
            raise UnsupportedParameter("a grammar can't stand beside tools: leave one of them out", param="tools")
    return None


def _json(schema: Any) -> str:
    if isinstance(schema, bool):
        schema = {} if schema else {"not": {}}
    if not isinstance(schema, Mapping):
        raise InvalidRequest(f"tools: {schema!r:.60} is no JSON schema: neither an object nor a boolean", param="tools")
    return "%json " + json.dumps({**schema, "x-guidance": _SPACING})


def _repeated(call: str, between: str, offer: Calling) -> str:
    return f"{call} ({between} {call})*" if offer.several else call


def _envelopes(tools: Sequence[Tool], arguments: str) -> str:
    """`{"name": "f", "arguments": {...}}` for any of the tools."""
    return " | ".join(
        f"{json.dumps(head)} {_json(tool.function.parameters or _NO_ARGUMENTS)} {json.dumps('}')}"
        for tool in tools
        for head in (f'{{"name": "{tool.function.name}", "{arguments}": ',)
    )


def _hermes(tools: Sequence[Tool], offer: Calling) -> list[str]:
    return [
        f"calls: {_repeated('tagged', json.dumps(chr(10)), offer)}",
        r'tagged: "<tool_call>\n" envelope "\n</tool_call>"',
        f"envelope: {_envelopes(tools, 'arguments')}",
    ]


def _hermes_free(offer: Calling) -> tuple[str, list[str]]:
    """Text, and calls wherever one begins."""
    called = r'head "\n" envelope "\n</tool_call>"'
    rules = [r"head[lazy]: /(.|\n)*<tool_call>/", _TEXT]
    return (f"({called})* TEXT" if offer.several else f"TEXT | {called}"), rules


def _llama3(tools: Sequence[Tool], offer: Calling) -> list[str]:
    return [
        f"calls: {_repeated('envelope', json.dumps('; '), offer)}",
        f"envelope: {_envelopes(tools, 'parameters')}",
    ]


def _mistral(tools: Sequence[Tool], offer: Calling) -> list[str]:
    return [
        f'calls: "[" {_repeated("envelope", json.dumps(", "), offer)} "]"',
        f"envelope: {_envelopes(tools, 'arguments')}",
    ]


def _pythonic(tools: Sequence[Tool], offer: Calling) -> list[str]:
    """Each call gives every argument that its schema names."""
    calls = []
    for tool in tools:
        properties = (tool.function.parameters or {}).get("properties") or {}
        if not isinstance(properties, dict):
            raise InvalidRequest(f"tools: the properties of {tool.function.name} are no object", param="tools")
        arguments = [f"{json.dumps(f'{name}=')} {_json(schema)}" for name, schema in properties.items()]
        inner = f" {json.dumps(', ')} ".join(arguments)
        calls.append(f"{json.dumps(f'{tool.function.name}(')} {inner} {json.dumps(')')}")
    return [
        f'calls: "[" {_repeated("one", json.dumps(", "), offer)} "]"',
        f"one: {' | '.join(calls)}",
    ]


def _whole_free(first: str, offer: Calling) -> tuple[str, list[str]]:
    """The whole answer is calls, or text that begins otherwise."""
    return "calls | OTHER?", [rf"OTHER: /[^{first}](.|\n)*/"]


_CALLS: dict[ToolFormat, Callable[[Sequence[Tool], Calling], list[str]]] = {
    "hermes": _hermes,
    "llama3": _llama3,
    "mistral": _mistral,
    "pythonic": _pythonic,
}
_FREE: dict[ToolFormat, Callable[[Calling], tuple[str, list[str]]]] = {
    "hermes": _hermes_free,
    "llama3": lambda offer: _whole_free("{", offer),
    "mistral": lambda offer: _whole_free(r"\[", offer),
    "pythonic": lambda offer: _whole_free(r"\[", offer),
}
