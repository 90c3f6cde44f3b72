"""One byte string for one entry: JSON as in RFC 8785 (JSON Canonicalization Scheme), for what our entries hold."""

from json.encoder import encode_basestring
from typing import Any

from agon.errors import InvalidRequest

_SAFE = 2**53 - 1  # beyond it JSON readers disagree about integers (RFC 8785, section 3.2.2.3)


def canonical(entry: Any) -> bytes:
    """Encode dicts with string keys, lists, tuples, strings, booleans, None and integers up to 2^53 - 1.

    Keys are sorted by UTF-16 code units, there is no white space, and nothing is escaped that need not be. Raises
    `InvalidRequest` for anything else: floats too, because their printed form is where implementations differ.
    """
    return _text(entry).encode()


def _text(value: Any) -> str:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidRequest("a ledger entry holds text that is no Unicode (a lone surrogate)") from error
        return encode_basestring(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if abs(value) > _SAFE:
            raise InvalidRequest(f"a ledger entry can't hold the integer {value}: write it as a string")
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise InvalidRequest("a ledger entry's keys are strings")
        ascii_only = all(map(str.isascii, value))
        keys = sorted(value) if ascii_only else sorted(value, key=_utf_16)
        return "{" + ",".join([f"{_text(key)}:{_text(value[key])}" for key in keys]) + "}"
    raise InvalidRequest(f"a ledger entry can't hold {type(value).__name__}: write it as a string")


def _utf_16(key: str) -> bytes:
    return key.encode("utf-16-be", "surrogatepass")
