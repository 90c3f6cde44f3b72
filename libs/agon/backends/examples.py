"""The least JSON that a schema allows, as far as the common keywords go."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

_LEAST: dict[str, Any] = {"string": "text", "integer": 1, "number": 1.5, "boolean": True, "null": None}
_DEEPEST = 32
_MOST = 1000
"""Values within one another: a schema that refers to itself twice would have more than anybody waits for."""
_LONGEST = 1000
"""Items of an array, characters of a string."""


def example(schema: Any) -> Any:
    """A value. Objects have all properties that are required (all of them, where none is), arrays as many items as
    they must. What is nested too deep, or refers to nothing, is null."""
    return _least(schema, schema, 0, itertools.count())


def _least(schema: Any, root: Any, depth: int, made: Iterator[int]) -> Any:
    if not isinstance(schema, Mapping) or depth > _DEEPEST or next(made) > _MOST:
        return None if schema is not True else {}
    if isinstance(ref := schema.get("$ref"), str):
        return _least(_found(root, ref), root, depth + 1, made)
    if "const" in schema:
        return schema["const"]
    if isinstance(choices := schema.get("enum"), list) and choices:
        return choices[0]
    for keyword in ("anyOf", "oneOf", "allOf"):
        if isinstance(parts := schema.get(keyword), list) and parts:
            return _least(parts[0], root, depth + 1, made)
    kind = schema.get("type", "object" if "properties" in schema or depth == 0 else "string")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    match kind:
        case "object":
            properties = schema.get("properties")
            properties = properties if isinstance(properties, Mapping) else {}
            required = schema.get("required")
            names = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
            return {name: _least(properties.get(name, {}), root, depth + 1, made) for name in names or properties}
        case "array":
            count = max(1, _size(schema, "minItems", 1))
            return [_least(schema.get("items", {}), root, depth + 1, made) for _ in range(count)]
        case "integer" | "number":
            return schema.get("minimum", _LEAST[kind])
        case "string":
            least = _LEAST["string"].ljust(_size(schema, "minLength", 0), "x")
            return least[: _size(schema, "maxLength", len(least))]
    return _LEAST.get(str(kind))


def _size(schema: Mapping[str, Any], keyword: str, default: int) -> int:
    """A keyword's number, unless it is none."""
    size = schema.get(keyword)
    return min(max(0, int(size)), _LONGEST) if isinstance(size, int | float) else default


def _found(root: Any, ref: str) -> Any:
    part: Any = root
    for step in ref.removeprefix("#").strip("/").split("/") if ref.startswith("#") else ("",):
        part = part.get(step) if isinstance(part, Mapping) and step else part if ref == "#" else None
    return part
