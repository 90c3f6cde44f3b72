"""`agon.batch_lines` and `agon.batch_requests`: what a batch that runs has to do, has asked, and has been answered."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from agon.messages import GenerationCompleted
from agon.store.batches import Hold
from agon.store.pool import Connection


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an input file: its number from 1, and the body of its request as JSON."""

    line: int
    custom_id: str
    body: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A line and what came of it: a `refusal`, or how its requests ended, in order, None for one that has not."""

    line: Line
    refusal: dict[str, Any] | None
    completions: tuple[GenerationCompleted | None, ...]


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that is about to go out. `keep_text`: its client wants the text kept beyond the batch."""

    request_id: str
    line: int
    part: int
    model: str
    keep_text: bool


class Progress(NamedTuple):
    """How many lines have ended well and badly, and how many are with the workers."""

    completed: int
    failed: int
    running: int


async def add(hold: Hold, lines: Sequence[Line]) -> None:
    """Write down lines. Those that are there already stay: whoever took the batch over reads the same file again."""
    async with hold.pool.acquire() as connection, connection.transaction():
        await hold.renew(connection)
        await connection.execute(
            """
            INSERT INTO agon.batch_lines (tenant, batch_id, line, custom_id, body)
            SELECT $1, $2, * FROM unnest($3::int[], $4::text[], $5::text[]) ON CONFLICT DO NOTHING
            """,
            hold.tenant,
            hold.batch_id,
            [line.line for line in lines],
            [line.custom_id for line in lines],
            [line.body for line in lines],
        )


async def unsent(hold: Hold, most: int) -> list[Line]:
    """The first lines that nobody was asked with, as far as is known."""
    rows = await hold.pool.fetch(
        """
        SELECT line, custom_id, body FROM agon.batch_lines
        WHERE tenant = $1 AND batch_id = $2 AND NOT sent ORDER BY line LIMIT $3
        """,
        hold.tenant,
        hold.batch_id,
        most,
    )
    return [Line(**row) for row in rows]


async def expect(hold: Hold, requests: Sequence[Sent]) -> None:
    """Write down requests before they go out. A line that was sent by a driver that died has them already."""
    async with hold.pool.acquire() as connection, connection.transaction():
        await hold.renew(connection)
        await connection.execute(
            """
            INSERT INTO agon.batch_requests (tenant, batch_id, request_id, line, part, model, keep_text)
            SELECT $1, $2, * FROM unnest($3::text[], $4::int[], $5::int[], $6::text[], $7::bool[])
            ON CONFLICT DO NOTHING
            """,
            hold.tenant,
            hold.batch_id,
            [one.request_id for one in requests],
            [one.line for one in requests],
            [one.part for one in requests],
            [one.model for one in requests],
            [one.keep_text for one in requests],
        )


async def mark_sent(hold: Hold, lines: Sequence[int], refusals: Mapping[int, Mapping[str, Any]]) -> None:
    """Kafka has the requests of these lines, or they are refused."""
    async with hold.pool.acquire() as connection, connection.transaction():
        await hold.renew(connection)
        await connection.execute(
            """
            UPDATE agon.batch_lines l SET sent = true, refusal = g.refusal::jsonb
            FROM unnest($3::int[], $4::text[]) AS g (line, refusal)
            WHERE l.tenant = $1 AND l.batch_id = $2 AND l.line = g.line
            """,
            hold.tenant,
            hold.batch_id,
            [*lines, *refusals],
            [*(None for _ in lines), *(json.dumps(refusal) for refusal in refusals.values())],
        )
        await connection.execute(  # of a line that a driver before could still send
            "DELETE FROM agon.batch_requests WHERE tenant = $1 AND batch_id = $2 AND line = ANY($3)",
            hold.tenant,
            hold.batch_id,
            list(refusals),
        )


async def progress(hold: Hold) -> Progress:
    """How far the batch is."""
    row = await hold.pool.fetchrow(
        """
        WITH asked AS (
            SELECT bool_and(status IS NOT NULL) AS ended, bool_and(status = 'finished') AS well
            FROM agon.batch_requests WHERE tenant = $1 AND batch_id = $2 GROUP BY line)
        SELECT count(*) FILTER (WHERE ended AND well) AS completed,
               count(*) FILTER (WHERE ended AND NOT well) + (
                   SELECT count(*) FROM agon.batch_lines
                   WHERE tenant = $1 AND batch_id = $2 AND refusal IS NOT NULL) AS failed,
               count(*) FILTER (WHERE NOT ended) AS running
        FROM asked
        """,
        hold.tenant,
        hold.batch_id,
    )
    return Progress(row["completed"], row["failed"], row["running"])


async def running(hold: Hold) -> list[tuple[str, str]]:
    """The requests that have not ended, as (request id, model)."""
    rows = await hold.pool.fetch(
        "SELECT request_id, model FROM agon.batch_requests WHERE tenant = $1 AND batch_id = $2 AND status IS NULL",
        hold.tenant,
        hold.batch_id,
    )
    return [(row["request_id"], row["model"]) for row in rows]


async def unsettled(hold: Hold) -> dict[int, int]:
    """Lines that have ended and were not counted, with the tokens that they cost."""
    rows = await hold.pool.fetch(
        """
        SELECT r.line, sum(r.tokens)::bigint AS tokens
        FROM agon.batch_requests r JOIN agon.batch_lines l USING (tenant, batch_id, line)
        WHERE r.tenant = $1 AND r.batch_id = $2 AND NOT l.settled
        GROUP BY r.line HAVING bool_and(r.status IS NOT NULL)
        """,
        hold.tenant,
        hold.batch_id,
    )
    return {row["line"]: row["tokens"] for row in rows}


async def settle(hold: Hold, lines: Sequence[int]) -> None:
    """These were counted."""
    await hold.pool.execute(
        "UPDATE agon.batch_lines SET settled = true WHERE tenant = $1 AND batch_id = $2 AND line = ANY($3)",
        hold.tenant,
        hold.batch_id,
        lines,
    )


async def ended(hold: Hold, after: int, most: int) -> list[Ended]:
    """At most so many lines behind `after`, in order, with what came of them."""
    rows = await hold.pool.fetch(
        """
        SELECT l.line, l.custom_id, l.body, l.refusal,
               array(SELECT r.completion FROM agon.batch_requests r
                     WHERE r.tenant = l.tenant AND r.batch_id = l.batch_id AND r.line = l.line ORDER BY r.part) AS said
        FROM agon.batch_lines l WHERE l.tenant = $1 AND l.batch_id = $2 AND l.line > $3 ORDER BY l.line LIMIT $4
        """,
        hold.tenant,
        hold.batch_id,
        after,
        most,
    )
    return [
        Ended(
            Line(row["line"], row["custom_id"], row["body"]),
            json.loads(row["refusal"] or "null"),
            tuple(None if said is None else GenerationCompleted.decode(said) for said in row["said"]),
        )
        for row in rows
    ]


async def record(connection: Connection, ends: Sequence[GenerationCompleted]) -> set[tuple[str, str]]:
    """Note how requests of batches ended, inside the caller's transaction; other requests are passed over. The first
    end wins.

    Returns (tenant, request id) of those whose text belongs to their batch alone.
    """
    rows = await connection.fetch(
        """
        SELECT tenant, request_id, keep_text FROM agon.batch_requests
        JOIN unnest($1::text[], $2::text[]) AS e (tenant, request_id) USING (tenant, request_id)
        """,
        [end.tenant for end in ends],
        [end.request_id for end in ends],
    )
    known = {(row["tenant"], row["request_id"]): row["keep_text"] for row in rows}
    await connection.executemany(
        """
        UPDATE agon.batch_requests SET status = $3, completion = $4, tokens = $5
        WHERE tenant = $1 AND request_id = $2 AND status IS NULL
        """,
        [
            (end.tenant, end.request_id, end.status, end.encode().decode(), end.usage.total_tokens)
            for end in ends
            if (end.tenant, end.request_id) in known
        ],
    )
    return {key for key, keep_text in known.items() if not keep_text}
