"""Adapters that the registry names: loaded while the worker runs, and dropped when they are withdrawn."""

import asyncio
import logging
from collections.abc import Collection, Mapping
from contextlib import aclosing

from aiokafka.errors import KafkaError

from agon.bus import registry
from agon.errors import SetupError
from agon.messages import ModelCard
from agon_inference.models import Models
from agon_inference.settings import InferenceSettings

_log = logging.getLogger(__name__)
_AGAIN_SECONDS = 1.0


def due(
    cards: Mapping[str, ModelCard], hosts: Collection[str], served: Collection[str]
) -> tuple[list[ModelCard], list[str]]:
    """What is to be loaded and what dropped, so that all adapters of `hosts` are served that are registered with a
    source, and none that is withdrawn."""
    ours = [card for card in cards.values() if card.base in hosts]
    loaded = [card for card in ours if card.state == "active" and card.source and card.model not in served]
    return loaded, [card.model for card in ours if card.state == "withdrawn" and card.model in served]


class Adapters:
    """Follows the registry, for ever."""

    def __init__(self, settings: InferenceSettings, models: Models) -> None:
        self._settings = settings
        self._models = models
        self.settled = asyncio.Event()
        """Set once what was registered when the worker started is served, or could not be."""

    async def run(self) -> None:
        while True:
            try:
                async with aclosing(registry.follow(self._settings)) as snapshots:
                    async for cards in snapshots:
                        await self._settle(cards)
                        self.settled.set()
            except (KafkaError, OSError) as error:
                _log.info("following the registry again: %r", error)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _settle(self, cards: Mapping[str, ModelCard]) -> None:
        load, drop = due(cards, self._models.hosts, self._models.names)
        for model in drop:
            self._models.drop_adapter(model)
            _log.info("%s is withdrawn: it takes no more requests", model)
        for card in load:
            try:
                await self._models.load_adapter(card)
            except SetupError as error:
                # It is not served here; what else this worker serves must not suffer.
                _log.error("the adapter %s is not served: %s", card.model, error)
            else:
                _log.info("%s is loaded, an adapter of %s", card.model, card.base)
