"""A body becomes a typed request, or an error that says where it is wrong."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import orjson
from pydantic import ValidationError

from agon.errors import InvalidRequest, UnsupportedParameter
from agon_ingress.bodies.policy import Asked, fates, option_objects, refusals
from agon_ingress.http.errors import unknown_model
from agon_ingress.http.findings import invalid

MOST_NAMED = 32  # names in `x-ignored-params`; a header must stay small whatever a client sends

_NO_NAME = ("string_pattern_mismatch", "string_too_long")  # of a text that is no model's name

A = TypeVar("A", bound=Asked)


def read(kind: type[A], raw: Mapping[str, Any]) -> tuple[A, tuple[str, ...]]:
    """A JSON object as a request; also returns the names that were ignored.

    Raises `InvalidRequest` (with `param` as a path, such as `messages[0].content`) or `UnsupportedParameter`.
    """
    known, refused, objects = fates(kind), refusals(kind), option_objects(kind)
    for name, value in raw.items():
        if name in refused and value is not None and value not in refused[name].neutral:
            told = refused[name].why or "Leave it out."
            raise UnsupportedParameter(f"`{name}` is not supported by this server. {told}", param=name)
    kind.refuse_within(raw)
    given = {
        name: _without_nulls(value) if name in objects and isinstance(value, dict) else value
        for name, value in raw.items()
        if value is not None and known.get(name) == "implemented"
    }
    try:
        # JSON again, because strict JSON is what OpenAI's types mean: "5" is no number, but a list is a tuple.
        request = kind.model_validate_json(orjson.dumps(kind.amend(given)), strict=True)
    except orjson.JSONEncodeError as error:  # it reads deeper than it writes
        raise InvalidRequest(f"the body is nested too deep: {error}", code="invalid_json") from None
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        if all(one["loc"] == ("model",) and one["type"] in _NO_NAME for one in found):
            raise unknown_model(str(raw["model"])) from None
        raise invalid(found, given, known) from None
    return request, tuple(name for name in raw if name not in known)


def _without_nulls(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def read_object(kind: type[Asked], body: bytes, content_type: str | None) -> dict[str, Any]:
    """A JSON object from a body, which may be missing where every field may be. Raises `InvalidRequest` that says what
    is wrong with it, and 415 for another type."""
    if not body and not any(field.is_required() for field in kind.model_fields.values()):
        return {}
    given = (content_type or "application/json").partition(";")[0].strip().lower()
    if given != "application/json" and not given.endswith("+json"):
        error = InvalidRequest(
            f"the content type is `{given[:100]}`; send `application/json`", code="unsupported_media_type"
        )
        error.status = 415
        raise error
    try:
        raw = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not valid JSON: {error}", code="invalid_json") from None
    if not isinstance(raw, dict):
        raise InvalidRequest("the body must be a JSON object", code="invalid_json")
    return raw


def ignored_header(names: Iterable[str]) -> dict[str, str]:
    """`x-ignored-params`, with names percent-encoded where a header could not carry them; empty for none."""
    told = [quote(name[:64], safe="-_.~[]/+ ") for name in names]
    if not told:
        return {}
    more = [f"and {len(told) - MOST_NAMED} more"] if len(told) > MOST_NAMED else []
    return {"x-ignored-params": ", ".join(told[:MOST_NAMED] + more)}
