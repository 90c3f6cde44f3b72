"""What a recorder needs to know besides what every service needs."""

from typing import Annotated

from pydantic import Field

from agon.settings import Settings


class RecorderSettings(Settings):
    """`AGON_*` variables of `agon_recorder`, on top of the shared ones."""

    batch: Annotated[int, Field(ge=1, le=10_000)] = 500
    """The most records that one transaction stores."""
