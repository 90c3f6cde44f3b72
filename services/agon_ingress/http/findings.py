"""What pydantic finds wrong with a request, as the one error that OpenAI would answer."""

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from agon.errors import InvalidRequest

_MOST = 100
"""Findings that are looked at: each is held against all others."""


def param_path(location: Iterable[str | int]) -> str | None:
    """`("messages", 0, "content")` as people write it: `messages[0].content`. None for the whole body.

    pydantic also names the member of a union that it tried (`str`, `tuple[TextPart,...]`): no words of the client's.
    """
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step.isidentifier() and step not in {"str", "int", "float", "bool", "body"}:
            path += f".{step}" if path else step
    return path or None


def found_path(location: Sequence[str | int], body: Any, *, missing: bool) -> str | None:
    """The same, held against the body that was wrong: a step that is not in it is a member of a union, unless it is
    the last one of what is missing."""
    path = ""
    for place, step in enumerate(location):
        inner = _within(body, step)
        if inner is not _NOTHING:
            name = f"[{step}]" if isinstance(step, int) else step[:64]
            path += f".{name}" if path and isinstance(step, str) else name
            body = inner
        elif missing and place == len(location) - 1:
            path += f".{step}" if path else str(step)
    return path or None


_NOTHING = object()


def _within(value: Any, step: str | int) -> Any:
    """What lies there in a JSON value; `_NOTHING` where nothing does."""
    if isinstance(value, Mapping):
        return value.get(step, _NOTHING)
    return value[step] if isinstance(value, list) and isinstance(step, int) and step < len(value) else _NOTHING


def invalid(errors: Sequence[Any], body: Any = None, known: Container[str] = ()) -> InvalidRequest:
    """pydantic's findings as one error: the first gives `param` and `code`, the message tells up to five. `body` is
    what was read, where that is at hand; `known` are the fields that a finding about several of them may begin with.

    For a union pydantic tells why each member did not fit; of those, what lies deepest is what the client meant.
    """
    errors = errors[:_MOST]
    for error in errors:
        if error["type"] == "json_invalid":
            return InvalidRequest(f"the body is not valid JSON: {error['ctx']['error']}", code="invalid_json")
        if error["loc"] == ("body",) and error["type"] in ("missing", "model_attributes_type"):
            return InvalidRequest(
                "the body must be a JSON object, sent with the header `content-type: application/json`",
                code="invalid_json",
            )
    at: dict[str, list[Any]] = {}
    for error in map(_of_tag, errors if body is None else _of_fitting(errors, body)):
        if body is None:
            path = param_path(error["loc"])
        else:
            path = found_path(error["loc"], body, missing=error["type"] in ("missing", "value_error"))
        at.setdefault(path or "", []).append(error)
    found = {path: _union(some) for path, some in at.items()}
    codes = {path: _code(_meant(some)) for path, some in at.items()}
    meant = {path: told for path, told in found.items() if not any(_inside(other, path) for other in found)}
    told = [f"{path}: {message}" if path else message for path, message in meant.items()]
    more = f" (and {len(told) - 5} more)" if len(told) > 5 else ""
    first = next(iter(meant))
    word = meant[first].partition(" ")[0].rstrip(":")
    param = first or (word if word in known else None)
    return InvalidRequest("; ".join(told[:5]) + more, param=param, code=codes[first])


def _of_fitting(errors: Sequence[Any], body: Any) -> Sequence[Any]:
    """Of a union's findings those of the members whose type the value has, wherever there are such members."""
    unions: dict[Any, dict[Any, list[Any]]] = {}
    for error in errors:
        value = body
        for place, step in enumerate(error["loc"]):
            value = _within(value, step)
            if value is _NOTHING:
                if error["type"] != "missing" or place < len(error["loc"]) - 1:
                    unions.setdefault(error["loc"][:place], {}).setdefault(step, []).append(error)
                break
    other: list[Any] = []
    for members in unions.values():
        fitting = [step for step, some in members.items() if not any(map(_of_type, some))]
        other += [error for step, some in members.items() if fitting and step not in fitting for error in some]
    return [error for error in errors if error not in other]


def _of_tag(error: Any) -> Any:
    """A finding about the field that says which member of a union an object is: at the place of that field."""
    name = error["ctx"]["discriminator"].strip("'") if error["type"].startswith("union_tag") else ""
    if not name.isidentifier():
        return error
    at = {**error, "loc": (*error["loc"], name)}
    if error["type"] == "union_tag_not_found":
        return {**at, "type": "missing", "msg": "Field required"}
    *some, last = error["ctx"]["expected_tags"].split(", ")
    return {**at, "msg": f"Input should be {', '.join(some)} or {last}" if some else f"Input should be {last}"}


def _meant(errors: Sequence[Any]) -> Any:
    """Of the findings at one place, one for each member of a union: that of the member whose type the value has."""
    tags = [error for error in errors if error["type"].startswith("union_tag")]
    return next(iter([*tags, *(error for error in errors if not _of_type(error))]), errors[0])


def _union(errors: Sequence[Any]) -> str:
    """Where the value has the type of no member, all of them are named."""
    if len(errors) == 1 or not all(map(_of_type, errors)):
        return _told(str(_meant(errors)["msg"]))
    begin = "Input should be "
    kinds = dict.fromkeys(_told(str(error["msg"])).removeprefix(begin) for error in errors)
    return begin + " or ".join(kinds)


def _of_type(error: Mapping[str, Any]) -> bool:
    return str(error["type"]).endswith("_type")


_BOUNDS = {
    "greater_than": "below_min_value",
    "greater_than_equal": "below_min_value",
    "less_than": "above_max_value",
    "less_than_equal": "above_max_value",
}
_CODES = {
    "missing": "missing_required_parameter",
    "string_too_short": "empty_string",
    "string_too_long": "string_above_max_length",
    "too_long": "array_above_max_length",
}


def _code(error: Mapping[str, Any]) -> str:
    """OpenAI's word for one of pydantic's findings."""
    kind = error["type"]
    if (bound := _BOUNDS.get(kind)) is not None:
        number = "decimal" if any(isinstance(limit, float) for limit in error["ctx"].values()) else "integer"
        return f"{number}_{bound}"
    if kind == "too_long" and error["ctx"]["field_type"] == "Dictionary":
        return "object_above_max_properties"
    if kind == "too_short" and error["ctx"]["field_type"] == "Tuple":
        return "empty_array"
    if kind.endswith("_type") or kind in ("int_from_float", "int_parsing"):
        return "invalid_type"
    return _CODES.get(kind, "invalid_value")


_NOT_MORE = re.compile(r" after validation, not (more|\d+)$")


def _told(message: str) -> str:
    """pydantic's words without Python's: what it holds in a tuple is a list in JSON."""
    return (
        _NOT_MORE.sub("", message)
        .removeprefix("Value error, ")
        .replace("Dictionary should", "Object should")
        .replace("Tuple should", "List should")
        .replace("valid tuple", "valid list")
    )


def _inside(path: str, outer: str) -> bool:
    return path.startswith((f"{outer}.", f"{outer}[")) if outer else False
