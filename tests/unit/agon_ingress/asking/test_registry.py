"""Which models a request may name, and where it goes."""

from agon.messages import ModelCard, now
from agon.stream.heartbeat import Load, WorkerState
from agon.topics import Keys, Topics
from agon_ingress.asking.registry import Registry


def card(model: str, base: str | None = None) -> ModelCard:
    return ModelCard(model=model, digest="d", backend="engine", context_length=64, base=base, created_at=now())


def test_an_adapter_is_listed_as_a_model_and_its_requests_go_to_its_bases_workers() -> None:
    topics = Topics("t.")
    registry = Registry(topics, Keys("t:"))
    registry.cards = {"base": card("base"), "tuned": card("tuned", "base")}
    load = Load(0, 0, 4)
    registry.workers = (
        WorkerState("w1", "i1", {"base": load, "tuned": load}, {topics.requests("base"): [3]}, 0.0),
        WorkerState("w2", "i2", {"base": load}, {topics.requests("base"): [0, 1, 2]}, 0.0),
    )
    registry.loaded.set()
    assert [each.model for each in registry.served()] == ["base", "tuned"]
    assert registry.check("tuned").base == "base"
    assert registry.topic("tuned") == registry.topic("base") == topics.requests("base")
    assert {registry.place("tuned", range(4), None) for _ in range(9)} == {3}, "only w1 has the adapter"
