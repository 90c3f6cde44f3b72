"""Boards: the live one (`agon.leaderboards`, `agon.leaderboard_live`), overwritten in place, read by the ingress."""

import json
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from agon.errors import InvalidRequest, NotFound
from agon.messages import Message
from agon.messages.base import Id, ModelName, Time
from agon.store.cells import Slice
from agon.store.pool import Pool

OVERALL = "overall"
METHOD = "bradley_terry"
METHODS = (METHOD,)


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


async def leaderboard(
    pool: Pool, tenant: str = "default", arena: str = "main", slice: str = OVERALL, method: str = METHOD
) -> Board:
    """The live board, empty while nothing was voted. One statement: header and rows of one moment.

    Raises `InvalidRequest` for a method that there is not, `NotFound` for an arena or a slice that there is not.
    """
    if method not in METHODS:
        raise InvalidRequest(f"There is no method {method!r}: choose from {', '.join(METHODS)}.", param="method")
    rows = await pool.fetch(
        """
        SELECT b.as_of, b.votes AS board_votes, b.unranked::text AS unranked, b.published_at, r.*
        FROM agon.leaderboards b LEFT JOIN agon.leaderboard_live r USING (tenant, arena, slice, method)
        WHERE b.tenant = $1 AND b.arena = $2 AND b.slice = $3 AND b.method = $4
        ORDER BY r.rank, r.model
        """,
        tenant,
        arena,
        slice,
        method,
    )
    if not rows:
        if not await pool.fetchval("SELECT 1 FROM agon.arenas WHERE tenant = $1 AND arena = $2", tenant, arena):
            raise NotFound(f"There is no arena {arena!r}.", param="arena")
        if slice != OVERALL:
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


async def behind(pool: Pool, method: str = METHOD) -> list[Slice]:
    """Slices whose live board lacks votes that are counted already."""
    rows = await pool.fetch(
        """
        SELECT s.tenant, s.arena, s.slice FROM agon.rating_slices s
        LEFT JOIN agon.leaderboards b
            ON b.tenant = s.tenant AND b.arena = s.arena AND b.slice = s.slice AND b.method = $1
        WHERE b.as_of IS NULL OR b.as_of < s.changed ORDER BY s.tenant, s.arena, s.slice
        """,
        method,
    )
    return [Slice(*row) for row in rows]


async def publish(pool: Pool, tenant: str, board: Board, gradient: float | None) -> bool:
    """Replace a live board, header and rows in one transaction. False, and nothing done, where a board is there that
    knows as much already: whoever is late never takes a newer one back."""
    where = (tenant, board.arena, board.slice, board.method)
    async with pool.acquire() as connection, connection.transaction():
        newer = await connection.fetchval(
            """
            INSERT INTO agon.leaderboards AS b
                (tenant, arena, slice, method, as_of, votes, unranked, gradient, published_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8, $9)
            ON CONFLICT (tenant, arena, slice, method) DO UPDATE SET
                as_of = $5, votes = $6, unranked = $7::text::jsonb, gradient = $8, published_at = $9
            WHERE b.as_of < $5
            RETURNING true
            """,
            *where,
            board.as_of,
            board.votes,
            unranked_json(board.unranked),
            gradient,
            board.published_at,
        )
        if not newer:
            return False
        await connection.execute(
            "DELETE FROM agon.leaderboard_live WHERE tenant = $1 AND arena = $2 AND slice = $3 AND method = $4", *where
        )
        await connection.copy_records_to_table(
            "leaderboard_live",
            schema_name="agon",
            columns=("tenant", "arena", "slice", "method", *BoardRow.model_fields),
            records=[where + row_values(row) for row in board.rows],
        )
    return True


async def unannounced(pool: Pool) -> list[tuple[Slice, str, int]]:
    """Live boards (slice, method, as_of) that Kafka does not have yet, because their writer died between the two."""
    rows = await pool.fetch(
        "SELECT tenant, arena, slice, method, as_of FROM agon.leaderboards WHERE announced < as_of "
        "ORDER BY tenant, arena, slice, method"
    )
    return [(Slice(row["tenant"], row["arena"], row["slice"]), row["method"], row["as_of"]) for row in rows]


async def announced(pool: Pool, tenant: str, board: Board) -> None:
    """Note that Kafka has this board."""
    await pool.execute(
        "UPDATE agon.leaderboards SET announced = greatest(announced, $5) "
        "WHERE tenant = $1 AND arena = $2 AND slice = $3 AND method = $4",
        tenant,
        board.arena,
        board.slice,
        board.method,
        board.as_of,
    )


def row_values(row: BoardRow) -> tuple[object, ...]:
    """A row as columns, in the order of `BoardRow`'s fields."""
    return tuple(getattr(row, name) for name in BoardRow.model_fields)


def unranked_json(unranked: Sequence[UnrankedRow]) -> str:
    return json.dumps([each.model_dump() for each in unranked])
