"""The least JSON that a schema allows, as far as the common keywords go."""

from collections.abc import Mapping
from typing import Any

_LEAST: dict[str, Any] = {"string": "text", "integer": 1, "number": 1.5, "boolean": True, "null": None}
_DEEPEST = 32


def example(schema: Any, root: Mapping[str, Any] | None = None, depth: int = 0) -> Any:
    """A value. Objects have all properties that are required (all of them, where none is), arrays as many items as
    they must. What is nested too deep, or refers to nothing, is null."""
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return None if schema is not True else {}
    root = schema if root is None else root
    if isinstance(ref := schema.get("$ref"), str):
        return example(_found(root, ref), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if isinstance(choices := schema.get("enum"), list) and choices:
        return choices[0]
    for keyword in ("anyOf", "oneOf", "allOf"):
        if isinstance(parts := schema.get(keyword), list) and parts:
            return example(parts[0], root, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema or depth == 0 else "string")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    match kind:
        case "object":
            properties = schema.get("properties")
            properties = properties if isinstance(properties, Mapping) else {}
            names = schema.get("required") or properties
            return {name: example(properties.get(name, {}), root, depth + 1) for name in names}
        case "array":
            return [example(schema.get("items", {}), root, depth + 1)] * max(1, int(schema.get("minItems", 1)))
        case "integer" | "number":
            return schema.get("minimum", _LEAST[kind])
        case "string":
            return _LEAST["string"].ljust(int(schema.get("minLength", 0)), "x")[: schema.get("maxLength")]
    return _LEAST.get(str(kind))


def _found(root: Mapping[str, Any], ref: str) -> Any:
    part: Any = root
    for step in ref.removeprefix("#").strip("/").split("/") if ref.startswith("#") else ("",):
        part = part.get(step) if isinstance(part, Mapping) and step else part if ref == "#" else None
    return part
