"""What becomes of each field of a request: implemented, without effect, refused by name, or unknown."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import orjson
from pydantic import ValidationError

from agon.errors import InvalidRequest, UnsupportedParameter
from agon.messages.requests import UNSUPPORTED, WITHOUT_EFFECT, unsupported_fields
from agon_ingress.chat_types import ChatCompletionRequest
from agon_ingress.errors import invalid

IMPLEMENTED = frozenset(ChatCompletionRequest.model_fields)
MOST_NAMED = 32  # names in `x-ignored-params`; a header must stay small whatever a client sends

_REFUSED_IN_MESSAGE = ("tool_calls", "function_call", "audio")


def parse(body: bytes, content_type: str | None) -> tuple[ChatCompletionRequest, tuple[str, ...]]:
    """Read a chat request's body; also returns the names that were ignored.

    Raises `InvalidRequest` (with `param` as a path, such as `messages[0].content`) or `UnsupportedParameter`.
    """
    raw = read_object(body, content_type)
    for name in unsupported_fields(raw, IMPLEMENTED):
        raise UnsupportedParameter(f"`{name}` is not supported by this server. Leave it out.", param=name)
    _refuse_in_messages(raw.get("messages"))
    given = {name: value for name, value in raw.items() if value is not None}
    try:
        # JSON again, because strict JSON is what OpenAI's types mean: "5" is no number, but a list is a tuple.
        request = ChatCompletionRequest.model_validate_json(orjson.dumps(given), strict=True)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_context=False, include_input=False)) from None
    if request.stream_options is not None and not request.stream:
        raise InvalidRequest("stream_options: only with `stream: true`", param="stream_options", code="invalid_value")
    both = {request.max_tokens, request.max_completion_tokens} - {None}
    if len(both) > 1:
        told = "max_tokens and max_completion_tokens differ: give one of them"
        raise InvalidRequest(told, param="max_tokens", code="invalid_value")
    return request, tuple(name for name in raw if name not in IMPLEMENTED | WITHOUT_EFFECT | UNSUPPORTED)


def read_object(body: bytes, content_type: str | None) -> dict[str, Any]:
    """A JSON object from a body. Raises `InvalidRequest` that says what is wrong with it, and 415 for another type."""
    kind = (content_type or "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        error = InvalidRequest(
            f"the content type is `{kind[:100]}`; send `application/json`", code="unsupported_media_type"
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


def _refuse_in_messages(messages: Any) -> None:
    """What a message can hold that this server does not do. Everything else about messages is left to the types."""
    for place, message in enumerate(messages if isinstance(messages, list) else ()):
        if not isinstance(message, dict):
            continue
        where = f"messages[{place}]"
        if message.get("role") == "function":
            raise UnsupportedParameter(f"{where}.role: `function` is not supported; use `tool`.", param=f"{where}.role")
        for name in _REFUSED_IN_MESSAGE:
            if message.get(name):
                raise UnsupportedParameter(f"{where}.{name} is not supported by this server.", param=f"{where}.{name}")
        content = message.get("content")
        for index, part in enumerate(content if isinstance(content, list) else ()):
            if isinstance(part, Mapping) and isinstance(kind := part.get("type"), str) and kind != "text":
                raise UnsupportedParameter(
                    f"{where}.content[{index}]: parts of type `{kind[:64]}` are not supported; this server takes text.",
                    param=f"{where}.content[{index}].type",
                )
