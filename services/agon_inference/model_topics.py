"""A worker's topics, before it reads them."""

import asyncio
import logging
from collections.abc import Collection

from agon.bus import topic_admin
from agon.errors import SetupError
from agon_inference.settings import InferenceSettings

_log = logging.getLogger(__name__)
_AGAIN_SECONDS = 0.2


async def make_topics(settings: InferenceSettings, models: Collection[str]) -> None:
    """Create each model's topics, and those of all services where nobody has yet: a worker may be the first to come.

    Kafka may take its time to be there; then this raises `SetupError`.
    """
    until = asyncio.get_running_loop().time() + settings.startup_timeout.total_seconds()
    told = False
    while True:
        try:
            await topic_admin.apply(settings.kafka_url, settings.topic_prefix, models)
            return
        except SetupError as error:
            if asyncio.get_running_loop().time() >= until:
                raise
            if not told:
                _log.info("waiting for Kafka: %s", error)
                told = True
        await asyncio.sleep(_AGAIN_SECONDS)
