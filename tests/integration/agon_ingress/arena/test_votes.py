"""Votes over HTTP: one for each voter and turn, by whoever holds the ticket."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from agon.arena import tickets
from agon.messages import VoteCast
from integration.agon_ingress.arena.conftest import Arena, names
from integration.agon_ingress.conftest import Telling

pytestmark = pytest.mark.servers


async def test_a_vote_is_taken_once_whoever_sends_it_how_often(arena: Arena) -> None:
    made = await arena.battle()
    await arena.read(made["stream"])
    answers = await asyncio.gather(*(arena.vote(made, "tie") for _ in range(100)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    cast = await arena.records(arena.ingress.house.settings.topics.votes, VoteCast)
    assert {vote.vote_id for vote in cast} == {answers[0].json()["vote_id"]}
    other = await arena.vote(made, "a")
    assert (other.status_code, other.json()["error"]["code"]) == (409, "already_voted")


async def test_of_two_different_votes_at_once_one_is_taken(arena: Arena) -> None:
    made = await arena.battle()
    await arena.read(made["stream"])
    answers = await asyncio.gather(*(arena.vote(made, outcome) for outcome in ("a", "b") * 20))
    taken = {answer.json()["outcome"] for answer in answers if answer.status_code == 200}
    assert len(taken) == 1
    assert {answer.status_code for answer in answers} == {200, 409}
    cast = await arena.records(arena.ingress.house.settings.topics.votes, VoteCast)
    assert {vote.outcome for vote in cast} == taken


async def test_a_vote_that_redis_forgot_is_still_known(arena: Arena) -> None:
    made = await arena.battle()
    await arena.read(made["stream"])
    vote_id = (await arena.vote(made, "a")).json()["vote_id"]
    house = arena.ingress.house
    assert await house.redis.delete(house.settings.keys.vote(vote_id)) == 1
    assert (await arena.vote(made, "b")).status_code == 409
    assert (await arena.vote(made, "a")).status_code == 200


async def test_a_ticket_is_good_for_its_battle_its_session_and_a_day(arena: Arena) -> None:
    made, other = await arena.battle(), await arena.battle()
    await arena.read(made["stream"])
    path = f"/arena/battles/{made['battle_id']}/vote"
    wrong = await arena.http.post(path, json={"outcome": "a", "ticket": other["ticket"]})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (403, "other_battle")
    stranger = {"cookie": "agon_session=abcdefghijklmnopqrstuvwxyz012345"}
    theirs = await arena.http.post(path, json={"outcome": "a", "ticket": made["ticket"]}, headers=stranger)
    assert (theirs.status_code, theirs.json()["error"]["code"]) == (403, "other_session")
    old = tickets.issue(
        "of this test", tenant="default", battle_id=made["battle_id"], turn=1, voter="v",
        at=datetime.now(UTC) - timedelta(hours=25),
    )  # fmt: skip
    expired = await arena.http.post(path, json={"outcome": "a", "ticket": old})
    assert (expired.status_code, expired.json()["error"]["code"]) == (410, "ticket_expired")
    assert (await arena.vote(made)).status_code == 200


async def test_the_session_cookie_makes_one_voter_of_many_battles(arena: Arena) -> None:
    async with httpx.AsyncClient(base_url=arena.ingress.url, timeout=60) as browser:
        for _ in range(2):
            made = await arena.battle(browser)
            await arena.read(made["stream"])
            body = {"outcome": "a", "ticket": made["ticket"]}
            assert (await browser.post(f"/arena/battles/{made['battle_id']}/vote", json=body)).status_code == 200
        (cookie,) = browser.cookies.jar
        assert (cookie.name, cookie.path) == ("agon_session", "/arena")
        assert cookie.has_nonstandard_attr("HttpOnly")
        made = await arena.battle(browser)
        await arena.read(made["stream"])
        response = await browser.post(f"/arena/battles/{made['battle_id']}/turns", json={"prompt": "more"})
        assert response.status_code == 201
    votes = await arena.records(arena.ingress.house.settings.topics.votes, VoteCast)
    assert len(votes) == 2
    assert len({vote.voter for vote in votes}) == 1
    assert cookie.value not in str(votes)


async def test_a_vote_may_come_before_both_are_done(arena: Arena) -> None:
    go_on = asyncio.Event()

    async def slow(telling: Telling) -> None:
        await telling.admit()
        await telling.say("x" * 40)
        await go_on.wait()
        await telling.end()

    arena.worker.script = slow
    made = await arena.battle()
    await arena.read(made["stream"], most=2)
    assert (await arena.vote(made, "tie")).status_code == 200
    go_on.set()
    assert names(await arena.read(made["stream"])) == ["done", "end"]
