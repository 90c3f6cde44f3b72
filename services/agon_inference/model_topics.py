"""A worker's topics, before it reads them."""

import asyncio
import logging
from collections.abc import Iterable

from agon.bus.topic_admin import apply_model
from agon.errors import SetupError
from agon_inference.settings import InferenceSettings

_log = logging.getLogger(__name__)
_AGAIN_SECONDS = 1.0


async def make_topics(settings: InferenceSettings, models: Iterable[str]) -> None:
    """Create each model's topics. Kafka may take its time to be there; then this raises `SetupError`."""
    until = asyncio.get_running_loop().time() + settings.startup_timeout.total_seconds()
    for model in models:
        while True:
            try:
                await apply_model(settings.kafka_url, settings.topic_prefix, model)
                break
            except SetupError as error:
                if asyncio.get_running_loop().time() >= until:
                    raise
                _log.info("waiting for Kafka: %s", error)
            await asyncio.sleep(_AGAIN_SECONDS)
