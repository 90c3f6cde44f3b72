"""A record of a model's topic becomes a request that can run, or a refusal that says why. Pure."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import eq
from typing import Any

import msgspec
from pydantic import ValidationError

from agon.bus.clients import Record
from agon.errors import AgonError, InvalidRequest, ModelNotFound, TooLarge, UnsupportedParameter
from agon.messages import GenerationRequest, now
from agon.messages.base import ID_REGEX
from agon.messages.requests import unsupported_fields

Serves = Callable[[str, str], bool]
_SEED_BYTES = 7  # 56 bits: within the range of a seed, never negative
_SHOWN_ERRORS = 5
_LONGEST_ERROR = 300


@dataclass(frozen=True, slots=True)
class Limits:
    """What a record may be."""

    max_bytes: int
    default_deadline: timedelta
    longest_deadline: timedelta


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that can't run. `reason` is the dead letter's `error-type`."""

    reason: str
    error: AgonError


class _Named(msgspec.Struct):
    request_id: Any
    tenant: Any = None


_names = msgspec.json.Decoder(_Named)


def arrived_at(record: Record) -> datetime:
    """When the record was produced; now, where it says nothing or nonsense (a time unit that is none of Kafka's)."""
    if record.timestamp > 0:
        try:
            return datetime.fromtimestamp(record.timestamp / 1000, UTC)
        except (ValueError, OverflowError, OSError):
            pass
    return now()


def digest(record: Record) -> str:
    """Tells two records with the same id apart: SHA-256 of the value."""
    return hashlib.sha256(record.value or b"").hexdigest()


def identify(record: Record, limits: Limits) -> tuple[str, str] | None:
    """The tenant and the id of a record, which may be wrong in all else; None for one that can't have an end.

    Reads no more than these: who knows them can ask the gate, and read the rest meanwhile.
    """
    value = record.value
    if not value or len(value) > limits.max_bytes:
        return None
    try:
        named = _names.decode(value)
        tenant, request_id = named.tenant, named.request_id
    except (ValueError, RecursionError):  # msgspec's own errors are the former, and so is that of broken UTF-8
        try:
            fields = json.loads(value)  # which takes what is JSON to most, such as a NaN
        except (ValueError, RecursionError):
            return None
        if not isinstance(fields, dict):
            return None
        tenant, request_id = fields.get("tenant"), fields.get("request_id")
    given = ("default" if tenant is None else tenant, request_id)
    return given if all(isinstance(part, str) and ID_REGEX.fullmatch(part) for part in given) else None


def decode(record: Record, model: str, limits: Limits, serves: Serves = eq) -> GenerationRequest | Refusal:
    """Read a record of `model`'s topic. The request that comes back has a seed and a deadline.

    `serves(asked, model)` tells whether requests for a model, or an adapter, belong there.
    """
    value = record.value
    if not value:
        return Refusal("invalid_json", InvalidRequest("the record has no value"))
    if len(value) > limits.max_bytes:
        error = TooLarge(f"the record has {len(value):,} bytes; at most {limits.max_bytes:,} are taken")
        return Refusal("too_large", error)
    try:
        request = GenerationRequest.decode(value)
    except (ValueError, OverflowError) as error:
        return _refusal(value, error)
    if not serves(request.model, model):
        what = f"this topic carries requests for the model `{model}`, not `{request.model}`"
        return Refusal("unknown_model", ModelNotFound(what, param="model"))
    return complete(request, arrived_at(record), limits)


def _refusal(value: bytes, wrong: ValueError | OverflowError) -> Refusal:
    """What is wrong with a record that is no request: only now is it worth reading a second time."""
    try:
        fields = json.loads(value)
    except (ValueError, RecursionError) as error:
        return Refusal("invalid_json", InvalidRequest(f"the record is no JSON: {error}"))
    if not isinstance(fields, dict):
        return Refusal("wrong_type", InvalidRequest(f"the record is a JSON {_kind(fields)}, not an object"))
    if names := list(unsupported_fields(fields)):
        what = f"{', '.join(names)}: not supported by this server; leave it out"
        return Refusal("unsupported_parameter", UnsupportedParameter(what, param=names[0]))
    if isinstance(wrong, ValidationError):
        return Refusal("invalid_request", _explain(wrong))
    # A moment at the edge of the calendar has no UTC, which validation learns too late.
    return Refusal("invalid_request", InvalidRequest(f"a value is out of range: {wrong}"))


def complete(request: GenerationRequest, arrived: datetime, limits: Limits) -> GenerationRequest:
    """Fill in what every attempt must have the same: a seed, and a deadline counted from when the record was produced.

    A deadline beyond the longest one is brought forward to it: nothing is remembered about a request for longer.
    """
    deadline = min(request.deadline or arrived + limits.default_deadline, arrived + limits.longest_deadline)
    seed = derived_seed(request) if request.seed is None else request.seed
    return request.model_copy(update={"seed": seed, "deadline": deadline})


def derived_seed(request: GenerationRequest) -> int:
    """The seed of a request that has none: the same at each attempt, another for each request."""
    return int.from_bytes(hashlib.sha256(request.key.encode()).digest()[:_SEED_BYTES])


def _explain(error: ValidationError) -> InvalidRequest:
    wrong = error.errors(include_url=False, include_input=False)
    told = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'request'}: {e['msg']}" for e in wrong[:_SHOWN_ERRORS])
    more = f" (and {len(wrong) - _SHOWN_ERRORS} more)" if len(wrong) > _SHOWN_ERRORS else ""
    where = wrong[0]["loc"]
    return InvalidRequest(f"{told[:_LONGEST_ERROR]}{more}", param=str(where[0]) if where else None)


def _kind(value: Any) -> str:
    return {list: "array", str: "string", bool: "boolean", type(None): "null"}.get(type(value), "number")
