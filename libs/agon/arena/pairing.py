"""Who plays whom. A policy draws a pair from a pool and says how probable that pair was, so that whoever analyses the
votes later can weigh them; the coin for the sides is fair and not part of the policy."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agon.arena.commitment import digest
from agon.errors import SetupError, Unavailable

KINDS = ("uniform", "active")


@dataclass(frozen=True, slots=True)
class Pair:
    """A drawn pair. `probability` is that of the unordered pair, over (0, 1]; `policy` says how it was drawn."""

    model_a: str
    model_b: str
    probability: float
    policy: Mapping[str, Any]

    @property
    def policy_hash(self) -> str:
        return digest(self.policy)


class Pairing(Protocol):
    """A pairing policy."""

    def draw(self, pool: Sequence[str], coin: random.Random) -> Pair:
        """Draw from models of which each is there once. Raises `Unavailable` for fewer than two."""


class Uniform:
    """Every pair of the pool is as probable as every other."""

    def draw(self, pool: Sequence[str], coin: random.Random) -> Pair:
        models = sorted(pool)
        if len(models) < 2:
            raise too_few(len(models))
        model_a, model_b = coin.sample(models, 2)
        pairs = len(models) * (len(models) - 1) // 2
        return Pair(model_a, model_b, 1 / pairs, {"kind": "uniform", "pool": models})


def named(first: str, second: str, coin: random.Random) -> Pair:
    """A pair that somebody asked for; only the sides are drawn."""
    model_a, model_b = coin.sample((first, second), 2)
    return Pair(model_a, model_b, 1.0, {"kind": "named", "pool": sorted((first, second))})


def too_few(models: int) -> Unavailable:
    """There is nobody to play against."""
    return Unavailable(
        f"A battle needs two models, and the arena has {models} that can play at the moment. "
        "Start a worker that serves another one, or try again shortly."
    )


def kind_of(policy: Mapping[str, Any]) -> str:
    """The kind of pairing that an arena's `pairing` entry asks for. Raises `SetupError` for one that is not known."""
    kind = policy.get("kind", "uniform")
    if kind not in KINDS:
        raise SetupError(f"the arena's pairing policy {kind!r} is not known: choose from {', '.join(KINDS)}")
    return str(kind)
