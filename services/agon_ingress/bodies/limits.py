"""How large the parts of a request may be. Each limit is a setting; the types' own bounds are the most it can be."""

from collections.abc import Iterator, Mapping
from typing import Any

from agon.errors import InvalidRequest
from agon.messages.formats import JsonSchemaFormat
from agon_ingress.bodies.json_schemas import fault
from agon_ingress.bodies.policy import Asked
from agon_ingress.chat.types import ChatCompletionRequest
from agon_ingress.completions.types import CompletionRequest
from agon_ingress.embeddings.types import EmbeddingRequest
from agon_ingress.responses.types import ResponseFormatJsonSchema, ResponseRequest
from agon_ingress.settings import IngressSettings


def refuse_too_many(raw: Mapping[str, Any], settings: IngressSettings) -> None:
    """Raises `InvalidRequest` for a body with more than any request needs, before each part of it is looked at, of a
    union for every member: reading an item of a list takes about 10 us. Token ids are as many as the body holds."""
    for name, value in raw.items():
        if isinstance(value, dict) and len(value) > settings.max_entries:
            told = f"{name}: at most {settings.max_entries:,} entries are taken, not {len(value):,}"
            raise InvalidRequest(told, param=name, code="object_above_max_properties")
        if isinstance(value, list) and value and not isinstance(value[0], int):
            objects = (item for item in value if isinstance(item, dict))
            within = sum(len(inner) for item in objects for inner in item.values() if isinstance(inner, list))
            _most(len(value), settings.max_items, name)
            _most(within, settings.max_items, name, " in the lists within")


def check(asked: Asked, settings: IngressSettings) -> None:
    """Raises `InvalidRequest` that names the part, its size and the limit."""
    match asked:
        case ChatCompletionRequest():
            _most(len(asked.messages), settings.max_messages, "messages")
            _most(len(asked.tools or ()), settings.max_tools, "tools")
        case ResponseRequest():
            _most(1 if isinstance(asked.input, str) else len(asked.input), settings.max_messages, "input")
            _most(len(asked.tools), settings.max_tools, "tools")
        case CompletionRequest():
            _most(len(asked.prompts), settings.max_inputs, "prompt")
        case EmbeddingRequest():
            _most(len(asked.inputs), settings.max_inputs, "input")
    if isinstance(asked, ChatCompletionRequest | CompletionRequest):
        _most(len(asked.stop), settings.max_stop, "stop")
        if asked.n > settings.max_n:
            told = f"n: at most {settings.max_n} answers are given, not {asked.n}"
            raise InvalidRequest(told, param="n", code="integer_above_max_value")
    for where, schema in schemas(asked):
        if depth(schema, settings.max_schema_depth) > settings.max_schema_depth:
            told = f"{where}: the schema is nested more than {settings.max_schema_depth} deep"
            raise InvalidRequest(told, param=where, code="schema_too_deep")
        if schema is not None and (wrong := fault(schema)) is not None:
            code = "invalid_function_parameters" if where.startswith("tools") else "invalid_json_schema"
            raise InvalidRequest(f"{where}: {wrong}", param=where, code=code)


def schemas(asked: Asked) -> Iterator[tuple[str, Any]]:
    """The JSON schemas in a request, with their paths."""
    if isinstance(asked, ChatCompletionRequest):
        for index, tool in enumerate(asked.tools or ()):
            yield f"tools[{index}].function.parameters", tool.function.parameters
    if isinstance(asked, ResponseRequest):
        for index, function in enumerate(asked.tools):
            yield f"tools[{index}].parameters", function.parameters
        if isinstance(asked.text.format, ResponseFormatJsonSchema):
            yield "text.format.schema", asked.text.format.schema_
    if isinstance(asked, ChatCompletionRequest | CompletionRequest) and isinstance(
        form := asked.form, JsonSchemaFormat
    ):
        yield "response_format" if asked.response_format is not None else "guided_json", form.json_schema.schema_


def depth(value: Any, most: int) -> int:
    """How many objects and arrays lie in one another; `most` + 1 for more than that."""
    level, found = [value], 0
    while level := [item for item in level if isinstance(item, dict | list)]:
        found += 1
        if found > most:
            break
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return found


def _most(size: int, most: int, where: str, what: str = "") -> None:
    if size > most:
        told = f"{where}: at most {most:,}{what} are taken, not {size:,}"
        raise InvalidRequest(told, param=where, code="array_above_max_length")
