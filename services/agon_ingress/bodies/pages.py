"""Lists as OpenAI tells them, page by page: `after` is the id of the last object of the page before."""

from collections.abc import Sequence
from typing import Annotated, Generic, Literal, Protocol, TypeVar

from fastapi import Query
from pydantic import AfterValidator

from agon.errors import InvalidRequest
from agon.messages.base import ID_REGEX
from agon_ingress.bodies.openai_types import Told

Limit = Annotated[int, Query(ge=1, le=100, description="The most objects of a page.")]
After = Annotated[
    str | None,
    Query(max_length=128, description="The id of the last object of the page before."),
    AfterValidator(lambda given: given or None),
]
Order = Annotated[Literal["asc", "desc"], Query(description="By time: the oldest or the newest first.")]


class Named(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T")
N = TypeVar("N", bound=Named)


class Page(Told, Generic[T]):
    """Some of a list's objects; `has_more` says whether others follow."""

    object: Literal["list"] = "list"
    data: tuple[T, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool


def cut(found: Sequence[N], limit: int) -> dict[str, object]:
    """The fields of a page, of what was found behind the one before; `found` may be longer than the page."""
    data = tuple(found[:limit])
    return {
        "data": data,
        "first_id": data[0].id if data else None,
        "last_id": data[-1].id if data else None,
        "has_more": len(found) > limit,
    }


def turn(found: Sequence[N], after: str | None, limit: int, order: str) -> dict[str, object]:
    """The fields of a page of a list that is all there, oldest first. Raises `InvalidRequest` for an `after` that is
    not in it."""
    ordered = found if order == "asc" else found[::-1]
    if after is not None:
        begin = next((index for index, one in enumerate(ordered) if one.id == after), None)
        if begin is None:
            raise unknown_after(after)
        ordered = ordered[begin + 1 :]
    return cut(ordered, limit)


def possible(after: str) -> str:
    """An `after` that may name something. Raises `InvalidRequest` for one that can't."""
    if not ID_REGEX.fullmatch(after):
        raise unknown_after(after)
    return after


def unknown_after(after: str) -> InvalidRequest:
    """What is told about an `after` that names nothing of the list."""
    return InvalidRequest(f"after: nothing in this list has the id `{after}`", param="after", code="invalid_value")
