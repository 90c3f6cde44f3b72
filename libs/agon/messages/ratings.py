"""Ratings on the compacted topic `arena.ratings.v1`, keyed by arena/slice/model."""

from typing import Annotated

from pydantic import Field

from agon.messages.base import Id, Message, ModelName, Time


class RatingPublished(Message):
    """Where a model stands. Ratings are on Elo's scale (400 points are odds of 10 to 1), with a 95 % interval."""

    tenant: Id
    arena: Id
    slice: str
    method: str
    model: ModelName
    rank: Annotated[int, Field(ge=1)]
    rank_best: Annotated[int, Field(ge=1)]
    rank_worst: Annotated[int, Field(ge=1)]
    rating: float
    lower: float | None
    upper: float | None
    votes: Annotated[int, Field(ge=0)]
    as_of: Annotated[int, Field(ge=0)]
    """The `seq` of the last vote that the fit knew."""
    published_at: Time
