"""Boards: the live one (`agon.leaderboards`, `agon.leaderboard_live`), overwritten in place, read by the ingress."""

import json
from collections.abc import Callable, Collection, Sequence
from operator import attrgetter
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from agon.errors import InvalidRequest, NotFound
from agon.messages import Message
from agon.messages.base import Id, ModelName, Time
from agon.store.cells import Slice
from agon.store.pool import Pool

OVERALL = "overall"
METHOD = "bradley_terry"
METHODS = (METHOD, "reweighted", "voter_clustered", "style_controlled")
"""The first is live; of the others there is the newest published run."""


class BoardRow(Message):
    """A model on a board. Ratings are on Elo's scale with a 95 % interval; the ranks follow from the intervals."""

    rank: Annotated[int, Field(ge=1)]
    rank_best: Annotated[int, Field(ge=1)]
    rank_worst: Annotated[int, Field(ge=1)]
    model: ModelName
    rating: float
    lower: float
    upper: float
    votes: Annotated[int, Field(ge=0)]


class UnrankedRow(Message):
    """A model with votes that can't be compared with those on the board, and why."""

    model: ModelName
    votes: Annotated[int, Field(ge=0)]
    reason: Literal["undefeated", "winless", "unconnected"]


class Board(Message):
    """What `GET /arena/leaderboard` answers. `as_of` is the seq of the last judged vote that it knows."""

    arena: Id
    slice: str = OVERALL
    method: str = METHOD
    as_of: Annotated[int, Field(ge=0)] = 0
    votes: Annotated[int, Field(ge=0)] = 0
    rows: tuple[BoardRow, ...] = ()
    unranked: tuple[UnrankedRow, ...] = ()
    published_at: Time | None = None


_LIVE = """
SELECT b.as_of, b.votes AS board_votes, b.unranked::text AS unranked, b.published_at, r.*
FROM agon.leaderboards b LEFT JOIN agon.leaderboard_live r USING (tenant, arena, slice, method)
WHERE b.tenant = $1 AND b.arena = $2 AND b.slice = $3 AND b.method = $4
ORDER BY r.rank, r.model
"""

_NEWEST_RUN = """
SELECT b.as_of, b.votes AS board_votes, b.unranked::text AS unranked, b.published_at, r.rank, r.rank_best, r.rank_worst,
       r.model, r.rating, r.lower, r.upper, r.votes
FROM agon.rating_runs b LEFT JOIN agon.rating_run_rows r USING (tenant, arena, slice, method, as_of)
WHERE b.tenant = $1 AND b.arena = $2 AND b.slice = $3 AND b.method = $4 AND b.as_of = (
    SELECT max(as_of) FROM agon.rating_runs WHERE tenant = $1 AND arena = $2 AND slice = $3 AND method = $4)
ORDER BY r.rank, r.model
"""


async def leaderboard(
    pool: Pool, tenant: str = "default", arena: str = "main", slice: str = OVERALL, method: str = METHOD
) -> Board:
    """The live board, or the newest published run of another method; empty while there is none. One statement: header
    and rows of one moment.

    Raises `InvalidRequest` for a method that there is not, `NotFound` for an arena or a slice that there is not.
    """
    if method not in METHODS:
        raise InvalidRequest(f"There is no method {method!r}: choose from {', '.join(METHODS)}.", param="method")
    rows = await pool.fetch(
        _LIVE if method == METHOD else _NEWEST_RUN,
        tenant,
        arena,
        slice,
        method,
    )
    if not rows:
        if not await pool.fetchval("SELECT 1 FROM agon.arenas WHERE tenant = $1 AND arena = $2", tenant, arena):
            raise NotFound(f"There is no arena {arena!r}.", param="arena")
        if slice != OVERALL and not await pool.fetchval(
            "SELECT 1 FROM agon.rating_slices WHERE tenant = $1 AND arena = $2 AND slice = $3", tenant, arena, slice
        ):
            raise NotFound(f"No vote of {arena!r} is in a slice {slice!r}.", param="slice")
        return Board(arena=arena, slice=slice, method=method)
    head = rows[0]
    return Board(
        arena=arena,
        slice=slice,
        method=method,
        as_of=head["as_of"],
        votes=head["board_votes"],
        rows=tuple(
            BoardRow(**{name: row[name] for name in BoardRow.model_fields}) for row in rows if row["model"] is not None
        ),
        unranked=tuple(UnrankedRow(**each) for each in json.loads(head["unranked"])),
        published_at=head["published_at"],
    )


class Behind(NamedTuple):
    """A slice whose live board lacks votes that are counted already; `as_of` is what the board knows."""

    where: Slice
    changed: int
    as_of: int


async def behind(pool: Pool, method: str = METHOD) -> list[Behind]:
    """What has to be fitted again."""
    rows = await pool.fetch(
        """
        SELECT s.tenant, s.arena, s.slice, s.changed, coalesce(b.as_of, 0) AS as_of FROM agon.rating_slices s
        LEFT JOIN agon.leaderboards b
            ON b.tenant = s.tenant AND b.arena = s.arena AND b.slice = s.slice AND b.method = $1
        WHERE b.as_of IS NULL OR b.as_of < s.changed ORDER BY s.tenant, s.arena, s.slice
        """,
        method,
    )
    return [Behind(Slice(*row[:3]), row[3], row[4]) for row in rows]


class LiveBoard(NamedTuple):
    """A board to be written, and how exactly it was fitted."""

    tenant: str
    board: Board
    gradient: float | None

    @property
    def where(self) -> Slice:
        return Slice(self.tenant, self.board.arena, self.board.slice)


_HEADERS = """
INSERT INTO agon.leaderboards AS b (tenant, arena, slice, method, as_of, votes, unranked, gradient, published_at)
SELECT tenant, arena, slice, method, as_of, votes, unranked::jsonb, gradient, published_at
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::float8[],
            $9::timestamptz[]) AS n (tenant, arena, slice, method, as_of, votes, unranked, gradient, published_at)
ON CONFLICT (tenant, arena, slice, method) DO UPDATE SET as_of = excluded.as_of, votes = excluded.votes,
    unranked = excluded.unranked, gradient = excluded.gradient, published_at = excluded.published_at
WHERE b.as_of < excluded.as_of
RETURNING tenant, arena, slice, method
"""

# Rows are updated where they stand: deleted and written anew, a board that changes five times a second would leave
# Postgres more dead rows than it can clear away.
_ROWS = """
INSERT INTO agon.leaderboard_live (tenant, arena, slice, method, rank, rank_best, rank_worst, model, rating, lower,
                                   upper, votes)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::int[], $7::int[], $8::text[],
                     $9::float8[], $10::float8[], $11::float8[], $12::bigint[])
ON CONFLICT (tenant, arena, slice, method, model) DO UPDATE SET rank = excluded.rank, rank_best = excluded.rank_best,
    rank_worst = excluded.rank_worst, rating = excluded.rating, lower = excluded.lower, upper = excluded.upper,
    votes = excluded.votes
"""

_GONE = """
DELETE FROM agon.leaderboard_live l
USING unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS b (tenant, arena, slice, method)
WHERE l.tenant = b.tenant AND l.arena = b.arena AND l.slice = b.slice AND l.method = b.method
  AND (l.tenant, l.arena, l.slice, l.method, l.model) NOT IN (
    SELECT * FROM unnest($5::text[], $6::text[], $7::text[], $8::text[], $9::text[]))
"""


async def publish(pool: Pool, boards: Sequence[LiveBoard]) -> list[LiveBoard]:
    """Replace live boards, headers and rows, in one transaction; the ones that were replaced.

    A board that knows no more than the one that is there is left out: whoever is late never takes a newer one back.
    """
    ordered = sorted(boards, key=lambda live: (live.where, live.board.method))  # everybody locks in one order
    if not boards:
        return []
    async with pool.acquire() as connection, connection.transaction():
        heads = [
            (
                *_key(live), live.board.as_of, live.board.votes, unranked_json(live.board.unranked), live.gradient,
                live.board.published_at,
            )
            for live in ordered
        ]  # fmt: skip
        newer = {tuple(row) for row in await connection.fetch(_HEADERS, *zip(*heads, strict=True))}
        taken = [live for live in ordered if _key(live) in newer]
        rows = [_key(live) + row_values(row) for live in taken for row in live.board.rows]
        columns = list(zip(*rows, strict=True)) or [()] * 12
        await connection.execute(_ROWS, *columns)
        boards_written = list(zip(*map(_key, taken), strict=True)) or [()] * 4
        await connection.execute(_GONE, *boards_written, *columns[:4], columns[7])
    return taken


def _key(live: LiveBoard) -> tuple[str, str, str, str]:
    return (live.tenant, live.board.arena, live.board.slice, live.board.method)


class Unannounced(NamedTuple):
    """A live board that Kafka does not have yet, and the models whose ratings Kafka has of it."""

    where: Slice
    method: str
    models: frozenset[str]


async def unannounced(pool: Pool) -> list[Unannounced]:
    """What has to go onto the compacted topic, also where a writer died before it did."""
    rows = await pool.fetch(
        "SELECT tenant, arena, slice, method, announced_models FROM agon.leaderboards WHERE announced < as_of "
        "ORDER BY tenant, arena, slice, method"
    )
    return [Unannounced(Slice(*row[:3]), row[3], frozenset(row[4])) for row in rows]


async def announcing(pool: Pool, tenant: str, board: Board, models: Collection[str]) -> None:
    """Note that Kafka is about to get ratings of these models, before it does: who takes over takes them back."""
    await _note(pool, tenant, board, 0, models)


async def announced(pool: Pool, tenant: str, board: Board) -> None:
    """Note that Kafka has this board, and no other models."""
    await _note(pool, tenant, board, board.as_of, [row.model for row in board.rows])


async def _note(pool: Pool, tenant: str, board: Board, as_of: int, models: Collection[str]) -> None:
    await pool.execute(
        "UPDATE agon.leaderboards SET announced = greatest(announced, $5), announced_models = $6 "
        "WHERE tenant = $1 AND arena = $2 AND slice = $3 AND method = $4",
        tenant,
        board.arena,
        board.slice,
        board.method,
        as_of,
        sorted(models),
    )


row_values: Callable[[BoardRow], tuple[object, ...]] = attrgetter(*BoardRow.model_fields)
"""A row as columns, in the order of `BoardRow`'s fields."""


def unranked_json(unranked: Sequence[UnrankedRow]) -> str:
    return json.dumps([each.model_dump() for each in unranked])
