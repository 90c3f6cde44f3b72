"""A database as services leave it: battles with answers, judged votes, cells, boards and runs."""

import asyncio
import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from agon.ledger import leaf_hash, vote_entry
from agon.messages import rfc3339
from agon.store import cells, leaderboard, votes
from agon.store.cells import Slice
from agon.store.leaderboard import LiveBoard
from agon.store.relays import judged_between
from agon.store.votes import JudgedRow, Leaf
from agon_rating_compute.boards import to_board
from agon_rating_compute.counting import changes
from agon_rating_compute.runs import publish_all

MODELS = ("acme/large", "acme/small", "nano-1m", "nano-6m")
OUTCOMES = ("a", "b", "tie", "both_bad")
START = datetime(2026, 11, 20, 9, tzinfo=UTC)
ANSWER = "Two:\n- 1\n- 2"
OTHERS = ("Two.", "**Two**, of course, because one and one are two.", "# Answer\n`2`\n- 2\n- two\n- II")


async def fill(database_url: str, many: int = 240, seed: int = 3) -> None:
    """`many` votes on battles over some days, the last ones taken back, counted, on live boards and in two runs."""
    rng = random.Random(seed)
    pool = await asyncpg.create_pool(database_url, min_size=1, max_size=2)
    try:
        await _models(pool)
        rows = [_vote(rng, n) for n in range(many)]
        rows += [
            row._replace(seq=many + n + 1, leaf=many + n, verdict="retracted", reason="retracted: a slip")
            for n, row in enumerate(rows[-5:])
        ]
        await _battles(pool, rows[:many])
        async with pool.acquire() as connection, connection.transaction():
            await votes.append(connection, rows, leaf_of)
        await _count(pool, 0, many // 2)
        await publish_all(pool)
        await _count(pool, many // 2, len(rows))
        await publish_all(pool)
    finally:
        await pool.close()


async def _models(pool: Any) -> None:
    await pool.executemany(
        "INSERT INTO agon.models (model, digest, state, backend, owned_by, description, context_length, arena, "
        "created_at) VALUES ($1, 'd', 'active', 'engine', 'acme', 'a model', 2048, true, $2)",
        [(model, START) for model in MODELS],
    )


def _vote(rng: random.Random, n: int) -> JudgedRow:
    left, right = rng.sample(MODELS, 2)
    weights = (5, 3, 1, 1) if left < right else (3, 5, 1, 1)
    at = START + timedelta(minutes=20 * n)
    slices = ("overall", f"language-{rng.choice(('en', 'de'))}", f"category-{rng.choice(('maths', 'code'))}")
    return JudgedRow(
        "default", "main", n + 1, "counted", None, f"v{n}", f"b{n}", 1, f"voter-{rng.randrange(30)}",
        rng.choices(OUTCOMES, weights)[0], left, right, slices, at, at + timedelta(seconds=1), n,  # type: ignore[arg-type]
    )  # fmt: skip


def leaf_of(row: JudgedRow) -> Leaf:
    """The ledger's line about a vote."""
    fields: dict[str, Any] = row._asdict()
    leaf = fields.pop("leaf")
    entry = vote_entry(**{**fields, **{name: rfc3339(fields[name]) for name in ("voted_at", "judged_at")}})
    return Leaf(row.tenant, row.arena, leaf, "vote", entry.decode(), leaf_hash(entry))


async def _battles(pool: Any, rows: Sequence[JudgedRow]) -> None:
    await pool.executemany(
        """
        INSERT INTO agon.battles (tenant, battle_id, arena, session_hash, model_a, model_b, digest_a, digest_b,
            draw_probability, policy, policy_hash, nonce, commitment, prompt_hash, language, created_at, voted_turn,
            voted_outcome, revealed_at)
        VALUES ('default', $1, 'main', $2, $3, $4, 'd', 'd', 0.1666, '{}', 'p', 'n', 'c', 'h', $5, $6, 1, $7, $6)
        """,
        [(r.battle_id, r.voter, r.model_a, r.model_b, r.slices[1][9:], r.voted_at, r.outcome) for r in rows],
    )
    prompt = json.dumps([{"role": "user", "content": "What is 1 plus 1?"}])
    await pool.executemany(
        """
        INSERT INTO agon.battle_turns (tenant, battle_id, turn, prompt, request_a, request_b, seed_a, seed_b,
            created_at, status, answer_a, answer_b, tokens_a, tokens_b, first_token_a_s, first_token_b_s, finished_a_s,
            finished_b_s, shown_at, done_at, categories, prompt_characters)
        VALUES ('default', $1, 1, $2, $3, $4, 1, 2, $5, 'finished', $6, $8, 5, 3, 0.1, 0.2, 1.5, 0.9, $5, $7,
                '{maths}', 17)
        """,
        [
            (r.battle_id, prompt, f"{r.battle_id}-a", f"{r.battle_id}-b", r.voted_at - timedelta(seconds=30), ANSWER,
             r.voted_at - timedelta(seconds=10), OTHERS[n % len(OTHERS)])
            for n, r in enumerate(rows)
        ],
    )  # fmt: skip
    await pool.executemany(
        """
        INSERT INTO agon.requests (tenant, request_id, model, kind, status, prompt_tokens, completion_tokens,
            cached_tokens, accepted_at, admitted_at, first_token_at, finished_at, worker, attempt)
        VALUES ('default', $1, $2, 'chat', 'finished', 12, $3, 0, $4, $4, $4, $5, 'w', 1)
        """,
        [
            (f"{r.battle_id}-{side}", model, tokens, r.voted_at - timedelta(seconds=30), r.voted_at)
            for r in rows
            for side, model, tokens in (("a", r.model_a, 5), ("b", r.model_b, 3))
        ],
    )


async def _count(pool: Any, after: int, to: int) -> None:
    """Votes into cells, cells onto live boards: as the rating compute does."""
    from agon.ratings import PairCells, rank_models

    async with pool.acquire() as connection, connection.transaction():
        await cells.lock_mark(connection, ("default", "main"))
        judged = await judged_between(connection, ("default", "main"), after, to)
        await cells.add(connection, ("default", "main"), changes(judged), to)
    boards = []
    for behind in await leaderboard.behind(pool):
        where: Slice = behind.where
        mark, found = await cells.read(pool, where)
        ranking = await asyncio.to_thread(rank_models, PairCells.of(found))
        boards.append(LiveBoard("default", to_board(where, mark, ranking), 0.0))
    await leaderboard.publish(pool, boards)
