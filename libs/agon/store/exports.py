"""Votes as they leave the house: read in order through a cursor, so that memory does not grow with their number."""

from collections.abc import AsyncIterator
from datetime import date
from typing import Any

from agon.store.pool import Pool

AT_ONCE = 20_000
"""Rows of a piece, which becomes one file, at most."""
MOST_CHARACTERS = 32_000_000
"""Of conversations in a piece, but for the one that goes beyond: texts take several times as much while they are
written."""
_FETCHED = 500

VOTES = """
SELECT v.tenant, v.arena, v.seq, v.verdict, v.reason, v.vote_id, v.battle_id, v.turn, v.voter, v.voter_kind, v.outcome,
       v.model_a, v.model_b, v.winner, v.slices, v.language, b.draw_probability, b.policy_hash, v.voted_at, v.judged_at,
       v.seconds_to_vote, v.leaf
FROM analytics.votes v LEFT JOIN agon.battles b USING (tenant, battle_id)
WHERE v.tenant = $1 AND ($2::text IS NULL OR v.arena = $2) ORDER BY v.arena, v.seq
"""

# The columns of lmarena-ai/arena-human-preference-100k, counted votes only and without those taken back.
PREFERENCES = """
SELECT v.arena, coalesce(v.battle_id, v.vote_id) AS question_id, v.model_a, v.model_b,
       CASE v.outcome WHEN 'a' THEN 'model_a' WHEN 'b' THEN 'model_b' WHEN 'tie' THEN 'tie' ELSE 'tie (bothbad)' END
           AS winner,
       v.voter AS judge, v.turn, coalesce(b.language, 'unknown') AS language,
       extract(epoch FROM v.voted_at)::float8 AS tstamp, v.judged_at, v.slices,
       (SELECT json_agg(json_build_array(t.prompt, t.answer_a, t.answer_b, t.tokens_a, t.tokens_b)
                        ORDER BY t.turn)::text
        FROM agon.battle_turns t WHERE t.tenant = v.tenant AND t.battle_id = v.battle_id AND t.turn <= v.turn) AS turns
FROM agon.votes v LEFT JOIN agon.battles b USING (tenant, battle_id)
WHERE v.tenant = $1 AND ($2::text IS NULL OR v.arena = $2) AND v.verdict = 'counted'
  AND NOT EXISTS (SELECT FROM agon.votes r
                  WHERE r.tenant = v.tenant AND r.vote_id = v.vote_id AND r.verdict = 'retracted')
ORDER BY v.arena, v.seq
"""

_PATIENCE = 60.0


async def read(pool: Pool, query: str, tenant: str, arena: str | None) -> AsyncIterator[tuple[str, date, list[Any]]]:
    """Rows of one of the queries above, as (arena, day of judging in UTC, rows), in order; at most `AT_ONCE` rows and
    some `MOST_CHARACTERS` each.

    All of one snapshot, in one transaction that lasts as long as the reading.
    """
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = '10min'")
        await connection.execute("SET LOCAL timezone = 'UTC'")
        # In the order of the index, looking up what belongs to each vote: nothing is sorted or hashed before the first
        # row, however many there are.
        for way in ("sort", "incremental_sort", "hashjoin", "mergejoin"):
            await connection.execute(f"SET LOCAL enable_{way} = off")
        cursor = await connection.cursor(query, tenant, arena)
        piece: list[Any] = []
        place: tuple[str, date] | None = None
        characters = 0
        while rows := await cursor.fetch(_FETCHED, timeout=_PATIENCE):
            for row in rows:
                its = _where(row)
                if place is not None and (its != place or len(piece) == AT_ONCE or characters >= MOST_CHARACTERS):
                    yield *place, piece
                    piece, characters = [], 0
                place = its
                piece.append(row)
                characters += len(row.get("turns") or "")
        if place is not None:
            yield *place, piece


def _where(row: Any) -> tuple[str, date]:
    return row["arena"], row["judged_at"].date()
