"""`agon adapters`: fine-tuned models are served, or not any more, without a restart."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agon.errors import ModelNotFound

if TYPE_CHECKING:
    from agon.messages import ModelCard

_DATA = click.option(
    "--data", default=".agon", show_default=True, help="The stack's folder, where AGON_KAFKA_URL is not set."
)


@click.group()
def adapters() -> None:
    """Load LoRA adapters into running workers, and drop them.

    \b
    Example:
      agon adapters load poet ./adapters/poet --base tiny
    """


@adapters.command()
@click.argument("name")
@click.argument("source")
@click.option("--base", required=True, help="The registered model that it adapts.")
@_DATA
def load(name: str, source: str, base: str, data: str) -> None:
    """Register the adapter at SOURCE, a folder as peft saves it or a hub id: all workers of its base load it.

    The workers read SOURCE themselves, so it must be there for them under the same path. `agon models` shows when it is
    served.

    \b
    Example:
      agon adapters load poet ./adapters/poet --base tiny
    """

    def made(cards: "Mapping[str, ModelCard]") -> "ModelCard":
        from agon.backends.adapters import adapter_card
        from agon.bus.registry import decide
        from agon.engine.hub import ADAPTER_CONFIG, resolve

        folder = resolve(source, ADAPTER_CONFIG)
        # A hub id is one anywhere, a path must not depend on where somebody stands.
        found = str(Path(source).expanduser().absolute()) if Path(source).expanduser().is_dir() else source
        card = adapter_card(name, _known(cards, base), folder, found)
        decide(card, cards.get(name))
        return card

    _publish(data, made)
    click.echo(f"{name} is registered: the workers of {base} load it now")


@adapters.command()
@click.argument("name")
@_DATA
def drop(name: str, data: str) -> None:
    """Withdraw an adapter: it takes no more requests, and those that run go on to their end.

    \b
    Example:
      agon adapters drop poet
    """

    def withdrawn(cards: "Mapping[str, ModelCard]") -> "ModelCard":
        card = _known(cards, name)
        if card.base is None:
            raise ModelNotFound(f"`{name}` is no adapter; stop the workers that serve it")
        return card.model_copy(update={"state": "withdrawn"})

    _publish(data, withdrawn)
    click.echo(f"{name} is withdrawn")


def _known(cards: "Mapping[str, ModelCard]", model: str) -> "ModelCard":
    if model not in cards:
        raise ModelNotFound(f"no model `{model}` is registered; `agon models` lists those that are")
    return cards[model]


def _publish(data: str, made: "Callable[[Mapping[str, ModelCard]], ModelCard]") -> None:
    """Write the card that is made of what is registered."""
    from agon.bus import registry
    from agon.bus.clients import started_producer
    from agon.cli.stack import find_backend_url
    from agon.settings import Settings
    from agon.telemetry import configure_logging

    async def publish() -> None:
        async with started_producer(settings) as producer:
            await registry.publish(settings, producer, made(await registry.read(settings)))

    configure_logging("agon", "WARNING")
    settings = Settings.load().model_copy(update={"kafka_url": find_backend_url("kafka", data)})
    asyncio.run(publish())
