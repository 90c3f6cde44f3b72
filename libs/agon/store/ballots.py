"""Counted votes one by one, for the methods that counts are not enough for; those taken back are left out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agon.store.cells import Slice
from agon.store.pool import Pool

AT_ONCE = 5_000
"""Votes whose answers are in memory at a time."""

Style = Callable[[Iterable[str]], npt.NDArray[np.floating[Any]]]
"""What is seen of texts: (N,) -> (N, F)"""


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


_QUERY = """
SELECT v.model_a, v.model_b, v.outcome, v.voter, t.answer_a, t.answer_b
FROM agon.votes v LEFT JOIN agon.battle_turns t USING (tenant, battle_id, turn)
WHERE v.tenant = $1 AND v.arena = $2 AND v.seq <= $3 AND v.verdict = 'counted' AND v.slices @> ARRAY[$4::text]
  AND NOT EXISTS (SELECT FROM agon.votes r WHERE r.tenant = v.tenant AND r.vote_id = v.vote_id
                  AND r.verdict = 'retracted' AND r.arena = v.arena AND r.seq <= $3)
ORDER BY v.seq
"""


async def read(pool: Pool, where: Slice, as_of: int, style: Style) -> Ballots:
    """The votes of a slice that count as of seq `as_of`. Texts are looked at and forgotten, block by block."""
    rows: list[tuple[str, str, str, str, bool]] = []
    styles: tuple[list[Any], list[Any]] = ([], [])
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        cursor = await connection.cursor(_QUERY, where.tenant, where.arena, as_of, where.slice)
        while block := await cursor.fetch(AT_ONCE):
            for side, answer in enumerate(("answer_a", "answer_b")):
                styles[side].append(style([row[answer] or "" for row in block]))
            rows += [(*tuple(row)[:4], row["answer_a"] is not None and row["answer_b"] is not None) for row in block]
    left, right, outcome, voter, answered = (list(column) for column in zip(*rows, strict=True)) if rows else [[]] * 5
    a, b = (np.concatenate(blocks) if blocks else style([]) for blocks in styles)
    return Ballots(left, right, outcome, voter, np.array(answered, dtype=bool), a, b)
