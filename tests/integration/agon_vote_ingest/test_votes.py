"""Votes on Kafka become judged votes, once each, and a board within a second."""

import json
import os
import signal
import subprocess
import time
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from redis.asyncio import Redis

from agon.bus.dead_letters import PREFIX
from agon.ledger import canonical, leaf_hash
from agon.store.leaderboard import leaderboard
from support import forked
from support.voting import (
    Place,
    Processes,
    add_battles,
    cast,
    check_exactly_once,
    eventually,
    records,
    send_votes,
)

pytestmark = pytest.mark.servers


async def fetch(place: Place, query: str, *args: Any) -> list[Any]:
    connection = await asyncpg.connect(place.database_url)
    try:
        found: list[Any] = await connection.fetch(query, *args)
        return found
    finally:
        await connection.close()


async def judged(place: Place, count: int) -> list[Any]:
    async def enough() -> list[Any] | None:
        rows = await fetch(place, "SELECT * FROM agon.votes ORDER BY seq")
        return rows if len(rows) >= count else None

    return await eventually(f"{count} judged votes", enough)


async def test_votes_are_judged_numbered_and_put_into_the_ledger(
    place: Place, services: Processes, producer: AIOKafkaProducer
) -> None:
    await add_battles(place.database_url, [("b1", "x", "y"), ("b2", "y", "x")])
    service = services.start("vote_ingest")
    good = cast("b1")
    votes = [
        good,
        good,
        cast("b1", "b"),
        cast("b2", "tie", ticket="v1.forged.ticket"),
        cast("b2", "tie"),
        cast("b2", "tie", vote_id="mine"),
        cast("nowhere"),
        cast("b2", voter="voter-2", arena="other-arena"),
    ]
    for vote in votes:
        await producer.send_and_wait(place.topics.votes, vote.encode(), partition=0)
    await producer.send_and_wait(place.topics.votes, b"{not json", partition=0)
    await producer.send_and_wait(place.topics.votes, cast("b1", voter="nul\0").encode(), partition=0)
    await producer.send_and_wait(place.topics.votes, cast("b1", voter="late", turn=2**40).encode(), partition=0)
    await producer.send_and_wait(place.topics.votes, cast("b1", "both_bad", voter="voter-3").encode(), partition=0)

    rows = await judged(place, 7)
    assert [(row["seq"], row["battle_id"], row["outcome"], row["verdict"], row["reason"]) for row in rows] == [
        (1, "b1", "a", "counted", None),
        (2, "b1", "b", "excluded", "after_reveal" if rows[1]["reason"] == "after_reveal" else "vote_changed"),
        (3, "b2", "tie", "excluded", "bad_ticket"),
        (4, "b2", "tie", "counted", None),
        (5, "b2", "tie", "excluded", "duplicate_voter"),
        (6, "nowhere", "a", "excluded", "unknown_battle"),
        (7, "b1", "both_bad", "counted", None),
    ]
    leaves = await fetch(place, "SELECT * FROM agon.ledger_leaves ORDER BY leaf")
    assert [leaf["leaf"] for leaf in leaves] == [row["leaf"] for row in rows]
    for leaf, row in zip(leaves, rows, strict=True):
        entry = json.loads(leaf["entry"])
        assert canonical(entry).decode() == leaf["entry"]
        assert leaf_hash(leaf["entry"].encode()) == leaf["hash"]
        assert (entry["seq"], entry["vote_id"], entry["reason"]) == (row["seq"], row["vote_id"], row["reason"])

    async def buried() -> list[Any] | None:
        found = await records(place.kafka_url, place.topics.dead_letters(place.topics.votes))
        return found if len(found) >= 4 else None

    letters = await eventually("four dead letters", buried)
    assert len(letters) == 4
    reasons = {dict(letter.headers)[f"{PREFIX}error-type"].decode(): letter.value for letter in letters}
    assert reasons["invalid_json"] == b"{not json"
    assert json.loads(reasons["unknown_arena"])["arena"] == "other-arena"
    unstorable = {
        json.loads(letter.value)["voter"] for letter in letters if b"not_storable" in dict(letter.headers).values()
    }
    assert unstorable == {"nul\0", "late"}

    service.send(signal.SIGTERM)
    assert await service.exit() == 0


async def test_votes_are_taken_back_once_and_leave_their_slices(
    place: Place, services: Processes, producer: AIOKafkaProducer
) -> None:
    await add_battles(place.database_url, [(f"b{n}", *("xy" if n % 2 else "yx")) for n in range(8)])
    services.start("vote_ingest")
    services.start("rating_compute")
    votes = [cast(f"b{n}", "ab"[n // 4], voter=f"voter-{n % 2}") for n in range(8)]
    await send_votes(producer, place.topics.votes, votes)
    await judged(place, 8)

    def agon(*arguments: str) -> subprocess.CompletedProcess[str]:
        return forked.agon("votes", *arguments, environment={**os.environ, **place.environment("operator")})

    one = votes[0].vote_id
    assert agon("retract", one, "--reason", "a slip").stdout == "1 vote taken back\n"
    assert agon("retract", one, "--reason", "a slip").stdout == "0 votes taken back\n"
    gone = agon("exclude", "--voter", "voter-0", "--reason", "a script", "--json")
    assert [each["seq"] for each in json.loads(gone.stdout)["taken_back"]] == [10, 11, 12]
    unknown = agon("retract", "vote-nowhere", "--reason", "a slip")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (2, 1)
    await send_votes(producer, place.topics.votes, votes[:1])  # sent again, it says nothing new

    rows = await judged(place, 12)
    assert [(row["verdict"], row["reason"]) for row in rows[8:10]] == [
        ("retracted", "retracted: a slip"), ("retracted", "excluded: a script"),
    ]  # fmt: skip
    assert rows[8]["slices"] == next(row["slices"] for row in rows if row["vote_id"] == one)

    async def settled() -> bool:
        found = await fetch(place, "SELECT slice, sum(left_wins + right_wins) FROM agon.pair_cells GROUP BY slice")
        boards = await fetch(place, "SELECT min(as_of) AS low, max(votes) AS votes FROM agon.leaderboards")
        return {tuple(row) for row in found} >= {("overall", 4), ("language-en", 4)} and (
            boards[0]["low"], boards[0]["votes"]) == (12, 4)  # fmt: skip

    await eventually("the boards know that four are left", settled)


async def test_a_vote_is_on_the_board_at_once(place: Place, services: Processes, producer: AIOKafkaProducer) -> None:
    await add_battles(place.database_url, [(f"b{n}", *("xy" if n % 2 else "yx")) for n in range(40)])
    services.start("vote_ingest")
    services.start("rating_compute")
    redis = Redis.from_url(place.redis_url)
    pool = await asyncpg.create_pool(place.database_url, min_size=1, max_size=2)
    try:
        heard = redis.pubsub()
        await heard.subscribe(place.keys.board)
        took = []
        for n in range(20):
            began = time.perf_counter()
            await send_votes(producer, place.topics.votes, [cast(f"b{n}")])

            async def shown(votes: int = n + 1) -> bool:
                return (await leaderboard(pool)).votes >= votes

            await eventually(f"vote {n} is on the board", shown)
            took.append(time.perf_counter() - began)
        board = await leaderboard(pool)
        assert [row.model for row in board.rows] == ["x", "y"]
        assert board.as_of == board.votes == 20
        assert board.unranked == ()

        async def told() -> bool:
            message = await heard.get_message(ignore_subscribe_messages=True, timeout=1.0)
            return message is not None and json.loads(message["data"])["as_of"] == 20

        await eventually("the board's channel told of it", told)
        later = sorted(took[1:])
        print(f"vote to board: first {took[0]:.2f} s, then median {later[9]:.3f} s, worst {later[-1]:.3f} s")
        published = {record.key: record.value for record in await records(place.kafka_url, place.topics.ratings)}
        assert set(published) >= {b"default/main/overall/x", b"default/main/overall/y"}
        await heard.aclose()  # type: ignore[no-untyped-call]
    finally:
        await pool.close()
        await redis.aclose()
    await check_exactly_once(place, {cast(f"b{n}").vote_id for n in range(20)})


async def test_a_publication_delay_holds_votes_back(
    place: Place, services: Processes, producer: AIOKafkaProducer
) -> None:
    await fetch(place, "UPDATE agon.arenas SET publication_delay = '1 hour'")
    await fetch(place, "INSERT INTO agon.arenas (tenant, arena) VALUES ('default', 'open')")
    await add_battles(place.database_url, [("b1", "x", "y")])
    await add_battles(place.database_url, [("b2", "x", "y")], "open")
    services.start("vote_ingest")
    await send_votes(producer, place.topics.votes, [cast("b1")])
    await judged(place, 1)
    # The relay looks at all arenas: once the vote of the other one is out, it has looked at this one's.
    await send_votes(producer, place.topics.votes, [cast("b2", arena="open")])

    async def relayed(many: int) -> list[str] | None:
        found = await records(place.kafka_url, place.topics.accepted_votes)
        return [record.key.decode() for record in found] if len(found) >= many else None

    assert await eventually("the other vote is out", lambda: relayed(1)) == ["open"]
    await fetch(place, "UPDATE agon.votes SET judged_at = judged_at - interval '1 hour' WHERE arena = 'main'")
    assert sorted(await eventually("the vote is old enough", lambda: relayed(2))) == ["main", "open"]


async def test_an_ingest_survives_postgres_cutting_all_its_connections(
    place: Place, services: Processes, producer: AIOKafkaProducer
) -> None:
    await add_battles(place.database_url, [(f"b{n}", "x", "y") for n in range(20)])
    service = services.start("vote_ingest")
    await send_votes(producer, place.topics.votes, [cast("b0")])
    await judged(place, 1)
    for n in range(1, 20):
        await fetch(
            place,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        await send_votes(producer, place.topics.votes, [cast(f"b{n}")])
    rows = await judged(place, 20)
    assert len(rows) == 20

    async def relayed() -> bool:
        return len({record.value for record in await records(place.kafka_url, place.topics.accepted_votes)}) == 20

    await eventually("all are relayed", relayed)
    assert service.alive


async def test_without_a_secret_it_says_what_is_missing(services: Processes) -> None:
    process = services.start("vote_ingest", AGON_SESSION_SECRET="")
    assert await process.exit() == 2
    assert "AGON_SESSION_SECRET" in process.log
    assert "Traceback" not in process.log


async def test_without_tables_it_says_what_to_do(services: Processes, empty_database_url: str) -> None:
    process = services.start("vote_ingest", AGON_POSTGRES_URL=empty_database_url)
    assert await process.exit() == 2
    assert "agon db migrate" in process.log
    assert "Traceback" not in process.log
