"""Counted votes one by one, for the methods that counts are not enough for; those taken back are left out."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from agon.store.cells import Slice
from agon.store.pool import Pool

AT_ONCE = 5_000
"""Votes whose answers are in memory at a time."""


class Styles(NamedTuple):
    """How answers are looked at: `of` texts (N,) gives counts (N, columns), the same for the same version."""

    version: int
    columns: int
    of: Callable[[Iterable[str]], npt.NDArray[np.floating[Any]]]


@dataclass(frozen=True, slots=True)
class Ballots:
    """N votes in the order of `seq`. The style columns are 0 where the answers are not known."""

    left: list[str]
    right: list[str]
    outcome: list[str]
    voter: list[str]
    answered: npt.NDArray[np.bool_]
    """(N,) whether both answers are known"""
    style_a: npt.NDArray[np.floating[Any]]
    """(N, F)"""
    style_b: npt.NDArray[np.floating[Any]]
    """(N, F)"""


# A text is fetched only where its counts are not kept.
_QUERY = """
SELECT v.model_a, v.model_b, v.outcome, v.voter, v.battle_id, v.turn, s.style_a, s.style_b,
       CASE WHEN s.turn IS NULL THEN t.answer_a END AS answer_a,
       CASE WHEN s.turn IS NULL THEN t.answer_b END AS answer_b
FROM agon.votes v LEFT JOIN agon.battle_turns t USING (tenant, battle_id, turn)
LEFT JOIN agon.answer_styles s
    ON s.tenant = v.tenant AND s.battle_id = v.battle_id AND s.turn = v.turn AND s.version = $5
WHERE v.tenant = $1 AND v.arena = $2 AND v.seq <= $3 AND v.verdict = 'counted' AND v.slices @> ARRAY[$4::text]
  AND NOT EXISTS (SELECT FROM agon.votes r WHERE r.tenant = v.tenant AND r.vote_id = v.vote_id
                  AND r.verdict = 'retracted' AND r.arena = v.arena AND r.seq <= $3)
ORDER BY v.seq
"""

_KEEP = """
INSERT INTO agon.answer_styles AS s (tenant, battle_id, turn, version, style_a, style_b) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant, battle_id, turn) DO UPDATE SET version = excluded.version, style_a = excluded.style_a,
    style_b = excluded.style_b
WHERE s.version < excluded.version
"""


async def read(pool: Pool, where: Slice, as_of: int, styles: Styles) -> Ballots:
    """The votes of a slice that count as of seq `as_of`.

    Texts are looked at once: what was seen is kept, block by block, and read the next time.
    """
    rows: list[tuple[str, str, str, str]] = []
    seen: list[tuple[npt.NDArray[np.bool_], npt.NDArray[Any], npt.NDArray[Any]]] = []
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        cursor = await connection.cursor(_QUERY, where.tenant, where.arena, as_of, where.slice, styles.version)
        while block := await cursor.fetch(AT_ONCE):
            new = [row for row in block if row["answer_a"] is not None and row["answer_b"] is not None]
            counts = [
                (await asyncio.to_thread(styles.of, [row[side] for row in new])).tolist()
                for side in ("answer_a", "answer_b")
            ]
            looked = {(row["battle_id"], row["turn"]): pair for row, *pair in zip(new, *counts, strict=True)}
            if looked:
                kept = [(where.tenant, *key, styles.version, *pair) for key, pair in looked.items()]
                await pool.executemany(_KEEP, kept)
            seen.append(_seen(block, looked, styles.columns))
            rows += [tuple(row)[:4] for row in block]
    left, right, outcome, voter = (list(column) for column in zip(*rows, strict=True)) if rows else [[]] * 4
    nothing = _seen([], {}, styles.columns)
    answered, a, b = (np.concatenate(parts) for parts in zip(nothing, *seen, strict=True))
    return Ballots(left, right, outcome, voter, answered, a, b)


def _seen(
    block: Sequence[Any], looked: Mapping[tuple[str, int], Sequence[Sequence[float]]], columns: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[Any], npt.NDArray[Any]]:
    """(n,) whether both answers are known, and (n, F) the counts of either side; 0 where not."""
    nothing = ([0.0] * columns,) * 2
    known = [
        looked.get((row["battle_id"], row["turn"])) if row["style_a"] is None else (row["style_a"], row["style_b"])
        for row in block
    ]
    a, b = (np.array([(pair or nothing)[side] for pair in known]).reshape(-1, columns) for side in (0, 1))
    return np.array([pair is not None for pair in known], dtype=bool), a, b
