"""The pairing of each arena, as its policy asks for; what an active one goes by is read again once in a while."""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agon.arena.pairing import Pairing, Uniform, kind_of
from agon.store import cells, covariances
from agon.store.battles import ArenaRow
from agon.store.cells import Slice
from agon.store.leaderboard import METHOD, OVERALL
from agon.store.pool import Pool

if TYPE_CHECKING:
    from agon.arena.active import Estimate

KEPT_SECONDS = 60.0
"""An estimate is good for so long: runs are published hourly."""


@dataclass
class Pairings:
    """Pairings by arena; active ones are kept with their estimate, because reading it costs."""

    pool: Pool
    _kept: dict[tuple[str, str], tuple[float, object, Pairing]] = field(default_factory=dict)

    async def of(self, arena: ArenaRow) -> Pairing:
        """Raises `SetupError` for a policy that can't be followed."""
        policy = arena.policy.get("pairing", {})
        if kind_of(policy) == "uniform":
            return Uniform()
        from agon.arena.active import from_policy

        key = (arena.tenant, arena.arena)
        at, known, pairing = self._kept.get(key, (0.0, None, Uniform()))
        if known != policy or time.monotonic() - at > KEPT_SECONDS:
            pairing = from_policy(policy, await self._estimate(Slice(*key, OVERALL)))
            self._kept[key] = (time.monotonic(), policy, pairing)
        return pairing

    async def _estimate(self, where: Slice) -> "Estimate | None":
        import numpy as np

        from agon.arena.active import Estimate

        sure = await covariances.read(self.pool, where, METHOD)
        if sure is None:
            return None
        at = {model: i for i, model in enumerate(sure.models)}
        votes = np.zeros((len(at), len(at)))
        for left, right, counts in (await cells.read(self.pool, where))[1]:
            if left in at and right in at:
                votes[at[left], at[right]] += sum(counts)
        return Estimate(sure.as_of, sure.models, sure.theta, sure.covariance, votes + votes.T)
