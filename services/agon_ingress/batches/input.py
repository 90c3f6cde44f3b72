"""The input file of a batch: a request in each line. What is wrong with a line itself is told here, and the whole batch
fails; what is wrong with the body in it, the endpoint's own path finds when its turn comes, as for HTTP. Pure."""

from collections.abc import AsyncIterator, Collection
from typing import Any

import orjson

from agon.errors import AgonError, InvalidRequest, ModelNotFound
from agon.store.batch_lines import Line

MOST_ERRORS = 100
"""Errors of one file that are told."""
_ENVELOPE = 4096
"""Bytes that a line may have besides its body."""
_LONGEST_ID = 512
_FIELDS = ("custom_id", "method", "url", "body")


async def lines(parts: AsyncIterator[bytes], most_bytes: int) -> AsyncIterator[tuple[int, bytes]]:
    """The lines of a file that have something in them, numbered from 1; one that is longer than a body may be is told
    without its end."""
    number, held, limit = 1, bytearray(), most_bytes + _ENVELOPE
    async for part in parts:
        *whole, rest = part.split(b"\n")
        for piece in whole:
            held += piece
            if held.strip():
                yield number, bytes(held)
            held.clear()
            number += 1
        if len(held) <= limit:
            held += rest
    if held.strip():
        yield number, bytes(held)


class Reading:
    """Reads the lines of one batch. `errors` are told in OpenAI's words, the first ones of them."""

    def __init__(self, endpoint: str, *, most_lines: int, most_bytes: int, models: Collection[str]) -> None:
        self.errors: list[dict[str, Any]] = []
        self.total = 0
        self._endpoint = endpoint
        self._most_lines = most_lines
        self._most_bytes = most_bytes
        self._models = models
        self._seen: set[str] = set()

    @property
    def hopeless(self) -> bool:
        """There is no point in reading on."""
        return len(self.errors) >= MOST_ERRORS or self.total > self._most_lines

    def read(self, number: int, data: bytes) -> Line | None:
        """A line, or None where something is wrong with it."""
        self.total += 1
        if self.total > self._most_lines:
            told = f"the file has more than {self._most_lines:,} requests, which is the most of a batch"
            self.note(InvalidRequest(told, code="too_many_tasks"))
            return None
        try:
            return self._line(number, data)
        except AgonError as error:
            self.note(error, number)
            return None

    def end(self) -> None:
        """The file has been read to its end."""
        if not self.total and not self.errors:
            self.note(InvalidRequest("the file has no request in it", code="empty_file"))

    def _line(self, number: int, data: bytes) -> Line:
        if len(data) > self._most_bytes + _ENVELOPE:
            raise InvalidRequest(f"the line is longer than {self._most_bytes:,} bytes", code="line_too_long")
        try:
            given = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise InvalidRequest(f"the line is not valid JSON: {error}", code="invalid_json_line") from None
        if not isinstance(given, dict):
            raise InvalidRequest("the line is no JSON object", code="invalid_json_line")
        for name in _FIELDS:
            if given.get(name) is None:
                raise InvalidRequest(f"`{name}` is missing", param=name, code="missing_required_parameter")
        custom_id, body = given["custom_id"], given["body"]
        if not isinstance(custom_id, str) or not 1 <= len(custom_id) <= _LONGEST_ID or "\0" in custom_id:
            told = f"`custom_id` must be a text of 1 to {_LONGEST_ID} characters"
            raise InvalidRequest(told, param="custom_id", code="invalid_value")
        if custom_id in self._seen:
            told = f"the custom_id `{custom_id[:64]}` is that of an earlier line"
            raise InvalidRequest(told, param="custom_id", code="duplicate_custom_id")
        self._seen.add(custom_id)
        if given["method"] != "POST":
            raise InvalidRequest("`method` must be `POST`", param="method", code="invalid_method")
        if given["url"] != self._endpoint:
            told = f"`url` must be `{self._endpoint}`, the endpoint of the batch"
            raise InvalidRequest(told, param="url", code="invalid_url")
        if not isinstance(body, dict):
            raise InvalidRequest("`body` must be a JSON object", param="body", code="invalid_type")
        model = body.get("model")
        if isinstance(model, str) and model not in self._models:
            raise ModelNotFound(f"the model `{model[:200]}` does not exist", param="body.model")
        return Line(number, custom_id, orjson.dumps(body).decode())

    def note(self, error: AgonError, number: int | None = None) -> None:
        """Something is wrong with this line, or with the file."""
        self.errors.append(
            {"code": error.code or error.type, "line": number, "message": error.message, "param": error.param}
        )
