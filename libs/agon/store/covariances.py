"""`agon.rating_covariances`: what the newest published run knows about how sure its ratings are."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agon.store.cells import Slice
from agon.store.pool import Connection, Pool


@dataclass(frozen=True, slots=True)
class Sureness:
    """M models with log-odds `theta` (M,) and their `covariance` (M, M), as of a seq."""

    as_of: int
    models: tuple[str, ...]
    theta: npt.NDArray[np.floating[Any]]
    covariance: npt.NDArray[np.floating[Any]]


async def write(db: Pool | Connection, where: Slice, method: str, found: Sureness) -> None:
    """Replace what an older run has left."""
    await db.execute(
        """
        INSERT INTO agon.rating_covariances AS c (tenant, arena, slice, method, as_of, models, theta, covariance)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (tenant, arena, slice, method) DO UPDATE SET as_of = excluded.as_of, models = excluded.models,
            theta = excluded.theta, covariance = excluded.covariance, written_at = now()
        WHERE c.as_of < excluded.as_of
        """,
        where.tenant,
        where.arena,
        where.slice,
        method,
        found.as_of,
        list(found.models),
        found.theta.tolist(),
        found.covariance.astype("<f8").tobytes(),
    )


async def read(db: Pool | Connection, where: Slice, method: str) -> Sureness | None:
    """None where no run was published."""
    row = await db.fetchrow(
        "SELECT as_of, models, theta, covariance FROM agon.rating_covariances "
        "WHERE tenant = $1 AND arena = $2 AND slice = $3 AND method = $4",
        where.tenant,
        where.arena,
        where.slice,
        method,
    )
    if row is None:
        return None
    m = len(row["models"])
    covariance = np.frombuffer(row["covariance"], dtype="<f8").reshape(m, m)
    return Sureness(row["as_of"], tuple(row["models"]), np.array(row["theta"]), covariance)
