"""What is wrong with a JSON schema that a client sent, found before a worker is asked. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

_TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = ("items", "additionalProperties", "unevaluatedProperties", "not", "contains", "if", "then", "else")


def fault(schema: Any) -> str | None:
    """The first thing that makes this no JSON schema, with its place; None where all is well. Not for a schema that is
    nested so deep that it can't be walked."""
    return next(_faults(schema, "", schema), None)


def _faults(schema: Any, place: str, root: Any) -> Iterator[str]:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, Mapping):
        yield f"{_at(place)}{_shown(schema)} is no schema: neither an object nor a boolean"
        return
    yield from _own_faults(schema, place, root)
    for name in _NAMED:
        some = schema.get(name, {})
        if not isinstance(some, Mapping):
            yield f"{_at(place)}`{name}` must be an object of schemas, not {_shown(some)}"
            continue
        for key, inner in some.items():
            yield from _faults(inner, f"{place}.{name}.{key[:64]}", root)
    for name in _LISTED:
        some = schema.get(name, [True])
        if not isinstance(some, list) or not some:
            yield f"{_at(place)}`{name}` must be a list of schemas, not {_shown(some)}"
            continue
        for index, inner in enumerate(some):
            yield from _faults(inner, f"{place}.{name}[{index}]", root)
    for name in _SINGLE:
        inner = schema.get(name, True)
        if name == "items" and isinstance(inner, list):  # a tuple, as older drafts write it
            for index, one in enumerate(inner):
                yield from _faults(one, f"{place}.items[{index}]", root)
        else:
            yield from _faults(inner, f"{place}.{name}", root)


def _own_faults(schema: Mapping[str, Any], place: str, root: Any) -> Iterator[str]:
    kinds = schema.get("type", "object")
    if kinds not in _TYPES if isinstance(kinds, str) else not _are_types(kinds):
        yield f"{_at(place)}`type` must be one of {', '.join(_TYPES)}, or a list of them, not {_shown(kinds)}"
    required = schema.get("required", [])
    if not (isinstance(required, list) and all(isinstance(name, str) for name in required)):
        yield f"{_at(place)}`required` must be a list of names, not {_shown(required)}"
    choices = schema.get("enum", [None])
    if not (isinstance(choices, list) and choices):
        yield f"{_at(place)}`enum` must be a list of values, not {_shown(choices)}"
    reference = schema.get("$ref", "#")
    if not isinstance(reference, str):
        yield f"{_at(place)}`$ref` must be text, not {_shown(reference)}"
    elif reference.startswith("#") and not _leads_somewhere(reference, root):
        yield f"{_at(place)}`$ref` leads nowhere: {_shown(reference)}"


def _are_types(kinds: Any) -> bool:
    return isinstance(kinds, list) and bool(kinds) and all(isinstance(one, str) and one in _TYPES for one in kinds)


def _leads_somewhere(reference: str, root: Any) -> bool:
    """A JSON pointer within the schema; anchors are left to the worker."""
    if not reference.startswith("#/"):
        return True
    for step in reference.removeprefix("#/").split("/"):
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(root, Mapping) and step in root:
            root = root[step]
        elif isinstance(root, list) and step.isdecimal() and int(step) < len(root):
            root = root[int(step)]
        else:
            return False
    return True


def _at(place: str) -> str:
    return f"{place.removeprefix('.')}: " if place else ""


def _shown(value: Any) -> str:
    return f"`{str(value)[:60]}`"
