"""A record of a model's topic becomes a request that can run, or a refusal that says why. Pure."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import eq
from typing import Any

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
    """A record that can't run. `reason` is the dead letter's `error-type`. One that has an id has an end, too."""

    reason: str
    error: AgonError
    tenant: str | None = None
    request_id: str | None = None
    """Both or none."""


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
        fields = json.loads(value)
    except (ValueError, RecursionError) as error:
        return Refusal("invalid_json", InvalidRequest(f"the record is no JSON: {error}"))
    if not isinstance(fields, dict):
        return Refusal("wrong_type", InvalidRequest(f"the record is a JSON {_kind(fields)}, not an object"))
    tenant, request_id = _identity(fields)

    def refuse(reason: str, error: AgonError) -> Refusal:
        return Refusal(reason, error, tenant, request_id)

    if names := list(unsupported_fields(fields)):
        what = f"{', '.join(names)}: not supported by this server; leave it out"
        return refuse("unsupported_parameter", UnsupportedParameter(what, param=names[0]))
    try:
        request = GenerationRequest.decode(value)
    except ValidationError as error:
        return refuse("invalid_request", _explain(error))
    except (ValueError, OverflowError) as error:
        # A moment at the edge of the calendar has no UTC, which validation learns too late.
        return refuse("invalid_request", InvalidRequest(f"a value is out of range: {error}"))
    if not serves(request.model, model):
        what = f"this topic carries requests for the model `{model}`, not `{request.model}`"
        return refuse("unknown_model", ModelNotFound(what, param="model"))
    return complete(request, arrived_at(record), limits)


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


def _identity(fields: dict[str, Any]) -> tuple[str | None, str | None]:
    """The tenant and the id of a record that may be wrong in all else; both or none."""
    tenant, request_id = fields.get("tenant", "default"), fields.get("request_id")
    for part in (tenant, request_id):
        if not isinstance(part, str) or not ID_REGEX.match(part):
            return None, None
    return tenant, request_id


def _explain(error: ValidationError) -> InvalidRequest:
    wrong = error.errors(include_url=False, include_input=False)
    told = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'request'}: {e['msg']}" for e in wrong[:_SHOWN_ERRORS])
    more = f" (and {len(wrong) - _SHOWN_ERRORS} more)" if len(wrong) > _SHOWN_ERRORS else ""
    where = wrong[0]["loc"]
    return InvalidRequest(f"{told[:_LONGEST_ERROR]}{more}", param=str(where[0]) if where else None)


def _kind(value: Any) -> str:
    return {list: "array", str: "string", bool: "boolean", type(None): "null"}.get(type(value), "number")
