"""What a rating compute needs to know besides what every service needs."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from agon.settings import Settings

Positive = Annotated[timedelta, Field(gt=timedelta(0))]


class RatingComputeSettings(Settings):
    """`AGON_*` variables of `agon_rating_compute`, on top of the shared ones."""

    batch: Annotated[int, Field(ge=1, le=10_000)] = 2000
    """The most votes that one transaction counts."""
    refit_every: Positive = timedelta(milliseconds=200)
    """The live boards are refitted at most this often, however fast votes come."""
    announce_every: Positive = timedelta(seconds=2)
    """How often Kafka gets the boards that have changed."""
    look_every: Positive = timedelta(seconds=1)
    """How often to look for boards that another process left behind."""
    publish_every: Positive = timedelta(hours=1)
    """How often a run is published of every slice that has new votes."""
    kafka_timeout: Positive = timedelta(seconds=10)
    redis_timeout: Positive = timedelta(seconds=2)
