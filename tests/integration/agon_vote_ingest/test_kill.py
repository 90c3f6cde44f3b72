"""Two vote ingests, one is killed at a chosen point: nothing is lost, nothing is doubled."""

import itertools
import random
import signal

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaProducer

from support.voting import Place, Processes, add_battles, cast, check_exactly_once, eventually, send_votes

pytestmark = [pytest.mark.servers, pytest.mark.kill]

MODELS = ("w", "x", "y", "z")
PAIRS = list(itertools.permutations(MODELS, 2))


async def all_on_the_board(place: Place, votes: int) -> None:
    """Wait until that many votes are on the board and everything judged has been relayed."""
    connection = await asyncpg.connect(place.database_url)
    try:

        async def settled() -> bool:
            counted = await connection.fetchval("SELECT votes FROM agon.leaderboards WHERE slice = 'overall'")
            lag = await connection.fetchval(
                "SELECT vote_seq - (SELECT published FROM agon.vote_relays) FROM agon.arenas WHERE arena = 'main'"
            )
            return bool(counted == votes and lag == 0)

        await eventually(f"{votes} votes are on the board", settled)
    finally:
        await connection.close()


async def both_connected(place: Place) -> None:
    """Wait until two vote ingests are there: one that starts after the votes have run out never gets to its point."""
    connection = await asyncpg.connect(place.database_url)
    try:

        async def there() -> bool:
            named = await connection.fetchval(
                "SELECT count(DISTINCT application_name) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name ~ '^vote_ingest-[0-9]+$'"
            )
            return bool(named == 2)

        await eventually("two vote ingests are connected", there)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "point",
    [
        "before_the_transaction",
        "inside_the_transaction",
        "after_the_transaction",
        "in_the_relay_between_votes",
        "in_the_relay_before_its_mark",
    ],
)
async def test_a_killed_ingest_loses_and_doubles_nothing(
    place: Place, services: Processes, producer: AIOKafkaProducer, point: str
) -> None:
    rng = random.Random(point)
    battles = [(f"b{n}", *rng.choice(PAIRS)) for n in range(1000)]
    await add_battles(place.database_url, battles)
    votes = [cast(battle, rng.choice(("a", "b", "tie", "both_bad"))) for battle, _, _ in battles]

    services.start("rating_compute")
    victim = services.start("vote_ingest", die_at=point)
    services.start("vote_ingest")
    await both_connected(place)
    waiting = iter(votes)

    async def dead() -> bool:
        # A few at a time, so that both have work while the group settles, and some is left for after the kill.
        await send_votes(producer, place.topics.votes, list(itertools.islice(waiting, 2)))
        return not victim.alive

    await eventually(f"the victim reaches its point\n{victim.log}", dead)
    assert victim.forked.returncode == -9
    rest = list(waiting)
    twice = rng.sample(votes, 20)  # an ingress that got no answer sends again
    await send_votes(producer, place.topics.votes, [*rest, *twice, *votes[:5]])

    await all_on_the_board(place, len(votes))
    await check_exactly_once(place, {vote.vote_id for vote in votes})


async def test_an_ingest_that_was_stopped_in_its_transaction_holds_up_nobody_and_wakes_up_fenced(
    place: Place, services: Processes, producer: AIOKafkaProducer
) -> None:
    battles = [(f"b{n}", *PAIRS[n % len(PAIRS)]) for n in range(60)]
    await add_battles(place.database_url, battles)
    votes = [cast(battle, "ab"[n % 2]) for n, (battle, _, _) in enumerate(battles)]

    services.start("rating_compute")
    sleeper = services.start("vote_ingest", die_at="stopped_inside_the_transaction")
    await send_votes(producer, place.topics.votes, votes[:20])

    async def stopped() -> bool:
        return psutil.Process(sleeper.forked.pid).status() == psutil.STATUS_STOPPED

    await eventually("it stops", stopped)
    services.start("vote_ingest")
    await send_votes(producer, place.topics.votes, votes[20:])
    await all_on_the_board(place, len(votes))  # Postgres ends the sleeper's transaction after 10 s
    sleeper.send(signal.SIGCONT)
    more = [cast(battle, voter="voter-2") for battle, _, _ in battles]
    await send_votes(producer, place.topics.votes, more)
    await all_on_the_board(place, len(votes) + len(more))
    await check_exactly_once(place, {vote.vote_id for vote in (*votes, *more)})
    assert sleeper.alive, sleeper.log
