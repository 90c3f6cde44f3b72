"""What a vote ingest needs to know besides what every service needs."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field, SecretStr

from agon.settings import Settings

Positive = Annotated[timedelta, Field(gt=timedelta(0))]


class VoteIngestSettings(Settings):
    """`AGON_*` variables of `agon_vote_ingest`, on top of the shared ones."""

    session_secret: Annotated[SecretStr, Field(min_length=1)] = Field(default=SecretStr(""), validate_default=True)
    """The same as the ingress': without it no ticket can be checked, so there is no way to run without one."""

    batch: Annotated[int, Field(ge=1, le=10_000)] = 5000
    """The most votes that one transaction stores: measured, more gains little."""
    relay_every: Positive = timedelta(seconds=1)
    """How often the relay looks without being woken: for votes held back by a delay, and after an outage."""
    relay_timeout: Annotated[timedelta, Field(gt=timedelta(0), lt=timedelta(seconds=10))] = timedelta(seconds=8)
    """How long Kafka may take for a batch: less than the 10 s after which Postgres ends the waiting transaction."""
