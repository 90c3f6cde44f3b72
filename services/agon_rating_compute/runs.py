"""Published runs: every slice fitted from scratch, kept for ever, and recorded in the ledger with its inputs."""

import asyncio
import hashlib
import logging
from itertools import pairwise
from typing import Any

from agon import __version__
from agon.errors import InvalidRequest
from agon.ledger import Frontier, canonical, leaf_hash
from agon.messages import rfc3339
from agon.ratings import STYLE, PairCells, PairSums, Ranking, style_of, votes_to_separate
from agon.ratings.text import STYLE_VERSION
from agon.store import ballots, cells, runs
from agon.store.ballots import Styles
from agon.store.cells import Slice
from agon.store.covariances import Sureness
from agon.store.leaderboard import Board
from agon.store.pool import Pool, classify
from agon.store.runs import Run
from agon.store.votes import Arena
from agon_rating_compute.boards import to_board
from agon_rating_compute.methods import FROM_BALLOTS, PARAMETERS, rank

_log = logging.getLogger(__name__)

STYLES = Styles(STYLE_VERSION, len(STYLE), style_of)
AT_ONCE = 20_000
"""Leaf hashes in memory at a time."""

Heads = dict[tuple[Arena, int], Frontier]
"""(arena, seq) -> its ledger's tree up to this vote, which all slices and methods have in common"""


async def publish_all(pool: Pool, tenant: str | None = None, arena: str | None = None) -> list[Board]:
    """Publish a run of every method and slice that has votes which no run knows; of one tenant or arena, or of all.

    A run that can't be made is logged, and due again the next time; it holds up no other. Raises what Postgres does
    while it is away.
    """
    published = []
    heads: Heads = {}
    for method in PARAMETERS:
        for where in await runs.unpublished(pool, method, tenant, arena):
            which = f"{where.tenant}/{where.arena}/{where.slice} by {method}"
            try:
                board = await _publish(pool, where, method, heads)
            except InvalidRequest as error:
                _log.error("no run of %s: %s", which, error)
            except Exception as error:
                if classify(error) == "transient":
                    raise
                _log.exception("no run of %s, which is a bug", which)
            else:
                published += [] if board is None else [board]
    return published


async def publish_regularly(pool: Pool, every: float) -> None:
    """Until cancelled. Several processes may do so: one run per slice and `as_of` is kept."""
    while True:
        await asyncio.sleep(every)
        try:
            for board in await publish_all(pool):
                _log.info("published %s/%s as of vote %d", board.arena, board.slice, board.as_of)
        except Exception as error:
            _log.warning("runs are published later: %r", error, exc_info=classify(error) == "bug")


async def _tree(pool: Pool, arena: Arena, seq: int) -> Frontier:
    """An arena's ledger up to the vote with this seq, from where an earlier run has left it, block by block."""
    size = await runs.tree_size(pool, arena, seq)
    at, peaks = await runs.read_frontier(pool, arena, size)
    tree = Frontier(at, tuple(peaks))
    while tree.size < size:
        leaves = await runs.leaf_hashes(pool, arena, tree.size, min(tree.size + AT_ONCE, size))
        tree = await asyncio.to_thread(tree.extended, leaves)
    if tree.size > at:
        await runs.write_frontier(pool, arena, tree.size, tree.peaks)
    return tree


async def _publish(pool: Pool, where: Slice, method: str, heads: Heads) -> Board | None:
    mark, found = await cells.read(pool, where)
    votes = await ballots.read(pool, where, mark, STYLES) if method in FROM_BALLOTS else None
    counted = PairCells.of(found)
    ranking = await asyncio.to_thread(rank, method, counted, votes)
    if ranking is None:
        return None
    inputs = (where.tenant, where.arena), mark
    if inputs not in heads:
        heads[inputs] = await _tree(pool, *inputs)
    board = to_board(where, mark, ranking, method)
    entry = canonical(ledger_entry(where.tenant, board, heads[inputs].size, heads[inputs].head))
    stored = await runs.publish(pool, _run(where.tenant, board, ranking, counted, entry))
    return board if stored else None


def _run(tenant: str, board: Board, ranking: Ranking, counted: PairCells, entry: bytes) -> Run:
    fitted = ranking.fit
    return Run(
        tenant,
        board,
        None if fitted is None else fitted.gradient,
        None if fitted is None else fitted.iterations,
        PARAMETERS[board.method],
        __version__,
        entry.decode(),
        leaf_hash(entry),
        _votes_to_next(ranking, counted),
        None if fitted is None else Sureness(board.as_of, fitted.models, fitted.theta, fitted.covariance),
    )


def _votes_to_next(ranking: Ranking, counted: PairCells) -> dict[str, int | None]:
    """For each ranked model: the further votes that tell it from the next one below."""
    if ranking.fit is None:
        return {}
    sums, fitted = PairSums.of(counted), ranking.fit
    names = [row.model for row in ranking.rows]
    return {model: votes_to_separate(fitted, sums, model, following) for model, following in pairwise(names)}


def ledger_entry(tenant: str, board: Board, tree_size: int, head: bytes) -> dict[str, Any]:
    """A run as the ledger records it: its inputs (the first `tree_size` leaves), its method, a hash of its result."""
    return {
        "type": "leaderboard",
        "tenant": tenant,
        "arena": board.arena,
        "slice": board.slice,
        "method": board.method,
        "parameters": dict(PARAMETERS[board.method]),
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
