"""Published runs: every slice fitted from scratch, kept for ever, and recorded in the ledger with its inputs."""

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from typing import Any

from agon import __version__
from agon.errors import InvalidRequest
from agon.ledger import canonical, leaf_hash, root
from agon.messages import rfc3339
from agon.ratings import METHOD, PairCells, Ranking, rank_models
from agon.ratings.ranking import CENTRE, FEW_VOTES
from agon.store import cells, runs
from agon.store.cells import Slice
from agon.store.leaderboard import Board
from agon.store.pool import Pool, classify
from agon.store.runs import Run
from agon_rating_compute.boards import to_board

_log = logging.getLogger(__name__)

# What a recount has to know besides the votes.
PARAMETERS: Mapping[str, Any] = {"ties": "half", "both_bad": "half", "mean": int(CENTRE), "few_votes": FEW_VOTES}


async def publish_all(pool: Pool, tenant: str | None = None, arena: str | None = None) -> list[Board]:
    """Publish a run of every slice that has votes which no run knows; of one tenant or arena, or of all."""
    published = []
    for where in await runs.unpublished(pool, METHOD, tenant, arena):
        try:
            board = await _publish(pool, where)
        except InvalidRequest as error:
            _log.error("no run of %s/%s/%s: %s", where.tenant, where.arena, where.slice, error)
            continue
        if board is not None:
            published.append(board)
    return published


async def publish_regularly(pool: Pool, every: float) -> None:
    """Until cancelled. Several processes may do so: one run per slice and `as_of` is kept."""
    while True:
        await asyncio.sleep(every)
        try:
            for board in await publish_all(pool):
                _log.info("published %s/%s as of vote %d", board.arena, board.slice, board.as_of)
        except Exception as error:
            if classify(error) == "bug":
                raise
            _log.warning("runs are published later: %r", error)


async def _publish(pool: Pool, where: Slice) -> Board | None:
    mark, found = await cells.read(pool, where)
    leaves = await runs.leaves_up_to(pool, where, mark)
    ranking = await asyncio.to_thread(rank_models, PairCells.of(found))
    head = await asyncio.to_thread(root, leaves)
    board = to_board(where, mark, ranking)
    entry = canonical(ledger_entry(where.tenant, board, len(leaves), head))
    stored = await runs.publish(pool, _run(where.tenant, board, ranking, entry))
    return board if stored else None


def _run(tenant: str, board: Board, ranking: Ranking, entry: bytes) -> Run:
    return Run(
        tenant,
        board,
        None if ranking.fit is None else ranking.fit.gradient,
        None if ranking.fit is None else ranking.fit.iterations,
        PARAMETERS,
        __version__,
        entry.decode(),
        leaf_hash(entry),
    )


def ledger_entry(tenant: str, board: Board, tree_size: int, head: bytes) -> dict[str, Any]:
    """A run as the ledger records it: its inputs (the first `tree_size` leaves), its method, a hash of its result."""
    return {
        "type": "leaderboard",
        "tenant": tenant,
        "arena": board.arena,
        "slice": board.slice,
        "method": board.method,
        "parameters": dict(PARAMETERS),
        "code_version": __version__,
        "as_of": board.as_of,
        "votes": board.votes,
        "tree_size": tree_size,
        "root": head.hex(),
        "result_sha256": result_hash(board),
        "published_at": rfc3339(board.published_at) if board.published_at else None,
    }


def result_hash(board: Board) -> str:
    """SHA-256 over the rows with the models sorted, numbers in the shortest form that reads back as the same."""
    rows: list[Any] = [
        [row.model, row.votes, row.rank, row.rank_best, row.rank_worst, *map(repr, (row.rating, row.lower, row.upper))]
        for row in sorted(board.rows, key=lambda row: row.model)
    ]
    return hashlib.sha256(canonical(rows)).hexdigest()
