"""What the registry names and this worker lacks is loaded; what it withdraws and this worker has is dropped."""

from typing import Any

import pytest

from agon.backends import AdaptableBackend
from agon.backends.scripted import ScriptedBackend
from agon.errors import SetupError
from agon.messages import ModelCard, now
from agon_inference.adapters import due
from agon_inference.models import Models

BASE = ModelCard(model="base", digest="sha256:b", backend="engine", context_length=10, created_at=now())


def adapter(name: str, **changes: Any) -> ModelCard:
    return BASE.model_copy(update={"model": name, "base": "base", "source": f"/adapters/{name}", **changes})


def test_adapters_of_our_models_are_loaded_and_others_are_not() -> None:
    cards = [
        BASE, adapter("new"), adapter("here"), adapter("elsewhere", base="other"), adapter("settings", source=None),
        adapter("gone", state="withdrawn"), adapter("going", state="withdrawn"),
    ]  # fmt: skip
    load, drop = due({card.model: card for card in cards}, ["base"], ["base", "here", "going"])
    assert [card.model for card in load] == ["new"]
    assert drop == ["going"]


class Adaptable(ScriptedBackend):
    """A script that takes adapters, whatever they are."""

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self.adapters: dict[str, ModelCard] = {}

    def load_adapter(self, name: str, source: str) -> None:
        self.adapters[name] = adapter(name, digest=f"sha256:{source}")

    def drop_adapter(self, name: str) -> None:
        del self.adapters[name]


def models() -> tuple[Adaptable, Models]:
    backend = Adaptable("base")
    assert isinstance(backend, AdaptableBackend)
    return backend, Models({"base": backend}, lambda _: None, lambda _: None)


async def test_an_adapter_is_served_between_load_and_drop_and_its_host_is_known_for_ever() -> None:
    backend, made = models()
    await made.load_adapter(adapter("poet", digest="sha256:/adapters/poet"))
    assert made.names == ("base", "poet")
    assert made.serves("poet", "base")
    made.drop_adapter("poet")
    assert (made.names, made.serves("poet", "base"), made.host("poet")) == (("base",), False, "base")
    assert not backend.adapters


async def test_files_that_are_not_what_was_registered_are_not_served() -> None:
    backend, made = models()
    with pytest.raises(SetupError, match="registered as sha256:another"):
        await made.load_adapter(adapter("poet", digest="sha256:another"))
    assert made.names == ("base",)
    assert not backend.adapters


async def test_an_adapter_of_what_is_no_engine_is_refused() -> None:
    made = Models({"base": ScriptedBackend("base")}, lambda _: None, lambda _: None)
    with pytest.raises(SetupError, match="not run by an engine"):
        await made.load_adapter(adapter("poet"))
