"""Battles over HTTP: real ingress, Kafka, Redis and Postgres; a worker that says what the test tells it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaConsumer

from agon.arena import tickets
from agon.arena.commitment import opens
from agon.messages import BattleCommitted, BattleTurnFinished, VoteCast
from agon.messages.base import Message
from agon_ingress.settings import IngressSettings
from integration.agon_ingress.conftest import (
    FakeWorker,
    Ingress,
    MakeSettings,
    Script,
    Telling,
    eventually,
    make_topics,
    register,
    serving,
)

pytestmark = pytest.mark.servers

ONE, TWO = "acme/model-one", "acme/model-two"
HEARD = (ONE, TWO, "acme", "model-one", "model-two", "sha256", "fake")
"""What may be in no answer before the vote: names, owner, digests, the worker."""


def saying(*pieces: str, pause: float = 0.0) -> Script:
    async def script(telling: Telling) -> None:
        await telling.admit()
        for piece in pieces:
            await asyncio.sleep(pause)
            await telling.say(piece)
        await telling.say("", finish="stop")
        await telling.end()

    return script


async def failing(telling: Telling) -> None:
    await telling.admit()
    await telling.say("half ")
    await telling.end("failed", f"{telling.request.model} ran out of memory", "engine_failed")


async def echo(telling: Telling) -> None:
    """Says how many messages it was told, and the last one: what a side's history is."""
    assert telling.request.messages is not None
    told = [message.text() for message in telling.request.messages]
    await saying(f"{telling.request.model[-3:]} heard {len(told)}: {told[-2:]}")(telling)


def by_model(**scripts: Script) -> Script:
    async def script(telling: Telling) -> None:
        await scripts["one" if telling.request.model == ONE else "two"](telling)

    return script


Event = tuple[str | None, str, dict[str, Any]]


@dataclass
class Arena:
    """An ingress whose two models a fake worker serves, and a client without cookies."""

    ingress: Ingress
    worker: FakeWorker
    database_url: str
    http: httpx.AsyncClient

    async def battle(self, http: httpx.AsyncClient | None = None, **body: Any) -> dict[str, Any]:
        response = await (http or self.http).post("/arena/battles", json={"prompt": "Who are you?", **body})
        assert response.status_code == 201, response.text
        assert set(response.json()) == {"battle_id", "ticket", "stream"}
        return response.json()  # type: ignore[no-any-return]

    async def read(self, path: str, last: str | None = None, most: int | None = None) -> list[Event]:
        return (await self.raw(path, last, most))[0]

    async def raw(self, path: str, last: str | None = None, most: int | None = None) -> tuple[list[Event], str]:
        """Events, and every byte of the answer, headers too."""
        events: list[Event] = []
        headers = {} if last is None else {"last-event-id": last}
        async with self.http.stream("GET", path, headers=headers) as response:
            assert response.status_code == 200, await response.aread()
            seen = str(response.headers)
            fields: dict[str, str] = {}
            async for line in response.aiter_lines():
                seen += line
                if line and not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif not line and fields:
                    events.append((fields.get("id"), fields["event"], json.loads(fields["data"])))
                    fields = {}
                    if most is not None and len(events) >= most:
                        break
        return events, seen

    async def vote(self, made: dict[str, Any], outcome: str = "a", **more: Any) -> httpx.Response:
        body = {"outcome": outcome, "ticket": made["ticket"], **more}
        return await self.http.post(f"/arena/battles/{made['battle_id']}/vote", json=body)

    async def sql(self, query: str, *args: Any) -> Any:
        connection = await asyncpg.connect(self.database_url)
        try:
            return await connection.fetchrow(query, *args)
        finally:
            await connection.close()

    async def records(self, topic: str, kind: type[Message]) -> list[Any]:
        """All records of a topic so far that are of this kind."""
        consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=self.ingress.house.settings.kafka_url, auto_offset_reset="earliest"
        )
        await consumer.start()
        found = []
        try:
            ends = await consumer.end_offsets(consumer.assignment())
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                for batch in (await consumer.getmany(timeout_ms=500)).values():
                    found += [kind.decode(r.value) for r in batch if _is_a(kind, r.value)]
        finally:
            await consumer.stop()
        return found


def _is_a(kind: type[Message], value: bytes) -> bool:
    tag = kind.model_fields.get("type")
    return tag is None or json.loads(value).get("type") == tag.default


def words(events: list[Event], side: str) -> str:
    return "".join(data["text"] for _, name, data in events if name == "delta" and data["side"] == side)


def names(events: list[Event]) -> list[str]:
    return [name for _, name, _ in events if name != "delta"]


@pytest.fixture
def arena_settings(make_settings: MakeSettings, database_url: str) -> IngressSettings:
    return make_settings(postgres_url=database_url, session_secret="of this test")


@asynccontextmanager
async def arena_on(settings: IngressSettings, worker: FakeWorker) -> AsyncIterator[Arena]:
    async with AsyncExitStack() as stack:
        ingress = await stack.enter_async_context(serving(settings))
        await eventually(lambda: ingress.serves() and len(ingress.house.registry.served()) == len(worker.models))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=ingress.url, timeout=30))
        http._cookies = _NoCookies()
        yield Arena(ingress, worker, settings.postgres_url, http)


class _NoCookies(httpx.Cookies):
    """A jar that keeps nothing: the client relies on its tickets alone."""

    def extract_cookies(self, response: httpx.Response) -> None:
        pass


@pytest.fixture
async def arena(arena_settings: IngressSettings) -> AsyncIterator[Arena]:
    settings = arena_settings
    await make_topics(settings, ONE, TWO)
    for model in (ONE, TWO):
        await register(settings, model)
    worker = FakeWorker(settings, models=(ONE, TWO), script=by_model(one=saying("I am ", "one."), two=saying("Two!")))
    async with worker.running(), arena_on(settings, worker) as arena:
        yield arena


async def test_a_blind_battle_from_the_prompt_to_the_names(arena: Arena) -> None:
    made = await arena.battle()
    events, raw = await arena.raw(made["stream"])
    assert sorted((words(events, "a"), words(events, "b"))) == ["I am one.", "Two!"]
    assert names(events) == ["done", "end"]
    assert not any(name in raw for name in HEARD)
    vote = await arena.vote(made, "b")
    assert vote.status_code == 200
    answer = vote.json()
    assert set(answer) == {"vote_id", "outcome", "models"}
    assert {answer["models"]["a"], answer["models"]["b"]} == {ONE, TWO}
    assert words(events, "a") == ("I am one." if answer["models"]["a"] == ONE else "Two!")
    (cast,) = await arena.records(arena.ingress.house.settings.topics.votes, VoteCast)
    assert (cast.vote_id, cast.battle_id, cast.turn, cast.outcome) == (answer["vote_id"], made["battle_id"], 1, "b")
    assert cast.ticket == made["ticket"]
    assert cast.model_a is None


async def test_the_row_and_the_commitment_stand_before_the_requests_and_tell_nothing(arena: Arena) -> None:
    before: list[Any] = []

    async def look(telling: Telling) -> None:
        battles = await arena.records(arena.ingress.house.settings.topics.battles, BattleCommitted)
        before.append((battles, await arena.sql("SELECT * FROM agon.battles")))
        await saying("hello")(telling)

    arena.worker.script = look
    made = await arena.battle()
    await arena.read(made["stream"])
    for committed, row in before:
        assert [each.battle_id for each in committed] == [made["battle_id"]]
        assert row["battle_id"] == made["battle_id"]
        assert row["commitment"] == committed[0].commitment
        assert not any(name in committed[0].encode().decode() for name in HEARD)
        assert opens(
            row["commitment"], row["battle_id"], row["model_a"], row["model_b"], row["digest_a"], row["digest_b"],
            row["nonce"],
        )  # fmt: skip
    assert len(before) == 2
    a, b = (telling.request for telling in arena.worker.tellings)
    assert a.request_id != b.request_id
    assert a.cache_salt != b.cache_salt
    assert a.seed != b.seed
    assert a.detached
    assert b.detached
    assert not any(made["battle_id"] in request.encode().decode() for request in (a, b))


async def test_a_finished_turn_is_on_kafka_and_kept_with_its_answers(arena: Arena) -> None:
    made = await arena.battle()
    await arena.read(made["stream"])
    (event,) = await arena.records(arena.ingress.house.settings.topics.battles, BattleTurnFinished)
    assert (event.turn, event.status) == (1, {"a": "finished", "b": "finished"})
    row = await arena.sql("SELECT * FROM agon.battle_turns")
    assert row["status"] == "finished"
    assert sorted((row["answer_a"], row["answer_b"])) == ["I am one.", "Two!"]
    assert row["done_at"] > row["shown_at"]
    assert row["pace"] > 0
    assert min(row["first_token_a_s"], row["first_token_b_s"], row["tokens_a"], row["tokens_b"]) > 0


async def test_the_sides_fall_both_ways(arena: Arena) -> None:
    sides = set()
    for _ in range(12):
        made = await arena.battle()
        events = await arena.read(made["stream"])
        sides.add(words(events, "a"))
        if len(sides) == 2:
            break
    assert sides == {"I am one.", "Two!"}


async def test_further_turns_go_to_each_side_with_its_own_history(arena: Arena) -> None:
    arena.worker.script = echo
    made = await arena.battle(
        messages=[{"role": "system", "content": "s"}, {"role": "user", "content": "q1"}], prompt=None
    )
    first = await arena.read(made["stream"])
    response = await arena.http.post(
        f"/arena/battles/{made['battle_id']}/turns", json={"prompt": "q2", "ticket": made["ticket"]}
    )
    assert response.status_code == 201, response.text
    further = response.json()
    assert (further["turn"], set(further)) == (2, {"battle_id", "turn", "ticket", "stream"})
    second = await arena.read(further["stream"])
    for side in ("a", "b"):
        own = words(first, side)
        assert words(second, side) == f"{own[:3]} heard 4: {[own, 'q2']}"
    again = await arena.read(f"/arena/battles/{made['battle_id']}/stream?turn=1")
    assert [words(again, side) for side in ("a", "b")] == [words(first, side) for side in ("a", "b")]
    old = await arena.vote(made)
    assert (old.status_code, old.json()["error"]["code"]) == (403, "other_turn")
    assert (await arena.vote(further, "tie")).status_code == 200
    after = await arena.http.post(
        f"/arena/battles/{made['battle_id']}/turns", json={"prompt": "q3", "ticket": further["ticket"]}
    )
    assert (after.status_code, after.json()["error"]["code"]) == (409, "battle_revealed")
    late = await arena.vote(made, turn=1)
    assert (late.status_code, late.json()["error"]["code"]) == (409, "battle_revealed")


async def test_a_turn_is_refused_while_the_last_one_runs_and_to_strangers(arena: Arena) -> None:
    go_on = asyncio.Event()

    async def waiting(telling: Telling) -> None:
        await telling.admit()
        await go_on.wait()
        await saying("done")(telling)

    arena.worker.script = waiting
    made = await arena.battle()
    path = f"/arena/battles/{made['battle_id']}/turns"
    running = await arena.http.post(path, json={"prompt": "more", "ticket": made["ticket"]})
    assert (running.status_code, running.json()["error"]["code"]) == (409, "turn_running")
    assert (await arena.http.post(path, json={"prompt": "more"})).status_code == 403
    early = await arena.vote(made)
    assert (early.status_code, early.json()["error"]["code"]) == (409, "not_shown_yet")
    go_on.set()


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
    async with httpx.AsyncClient(base_url=arena.ingress.url) as browser:
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


async def test_a_failed_side_is_told_neutrally_and_can_not_be_voted_on(arena: Arena) -> None:
    arena.worker.script = by_model(one=saying("Fine, thanks."), two=failing)
    made = await arena.battle()
    events, raw = await arena.raw(made["stream"])
    assert names(events) == ["failed", "end"]
    assert {words(events, "a"), words(events, "b")} == {"Fine, thanks.", "half "}
    assert not any(name in raw for name in (*HEARD, "memory", "engine"))
    vote = await arena.vote(made)
    assert (vote.status_code, vote.json()["error"]["code"]) == (409, "battle_failed")
    assert not any(name in vote.text for name in HEARD)
    (event,) = await arena.records(arena.ingress.house.settings.topics.battles, BattleTurnFinished)
    assert sorted(event.status.values()) == ["failed", "finished"]
    assert (await arena.sql("SELECT * FROM agon.battle_turns"))["status"] == "failed"


async def test_named_models_play_whom_was_asked_for(arena: Arena) -> None:
    made = await arena.battle(models=[TWO, ONE])
    await arena.read(made["stream"])
    assert set((await arena.vote(made)).json()["models"].values()) == {ONE, TWO}
    assert (await arena.sql("SELECT * FROM agon.battles"))["named"]
    unknown = await arena.http.post("/arena/battles", json={"prompt": "x", "models": [ONE, "nobody"]})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")


BAD_BATTLES: list[tuple[Any, int, str | None]] = [
    ({}, 400, None),
    ({"prompt": ""}, 400, "prompt"),
    ({"prompt": "x", "messages": [{"role": "user", "content": "x"}]}, 400, None),
    ({"messages": []}, 400, "messages"),
    ({"messages": [{"role": "assistant", "content": "x"}]}, 400, None),
    ({"messages": [{"role": "tool", "content": "x"}]}, 400, "messages[0].role"),
    ({"prompt": "x", "models": [ONE, ONE]}, 400, None),
    ({"prompt": "x", "models": [ONE]}, 400, None),
    ({"prompt": "x", "arena": "nowhere"}, 404, "arena"),
    ({"prompt": "x", "arena": "../etc"}, 400, "arena"),
    ({"prompt": "lone \ud800 surrogate"}, 400, None),
    ([1], 400, None),
]


async def test_a_bad_battle_is_refused_in_the_envelope(arena: Arena) -> None:
    for body, status, param in BAD_BATTLES:
        sent = json.dumps(body).encode()
        response = await arena.http.post("/arena/battles", content=sent, headers={"content-type": "application/json"})
        assert response.status_code == status, (body, response.text)
        error = response.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert param is None or error["param"] == param
    assert await arena.sql("SELECT * FROM agon.battles") is None


async def test_a_side_that_never_begins_fails_and_is_stopped(arena_settings: IngressSettings, arena: Arena) -> None:
    async def silent(telling: Telling) -> None:
        await telling.admit()
        await telling.cancelled.wait()

    arena.worker.script = by_model(one=silent, two=saying("Two!"))
    hasty = arena_settings.model_copy(update={"name": "hasty", "battle_start_timeout": timedelta(seconds=1)})
    async with arena_on(hasty, arena.worker) as other:
        made = await other.battle()
        assert names(await other.read(made["stream"])) == ["failed", "end"]
        (request,) = [telling.request for telling in arena.worker.tellings if telling.request.model == ONE]
        cancelled = hasty.keys.cancel(request.tenant, request.request_id)
        async with asyncio.timeout(5):
            while not await other.ingress.house.redis.exists(cancelled):  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_what_is_not_there_is_a_404_and_what_is_wrong_a_400(arena: Arena) -> None:
    for path in ("/arena/battles/none/stream", "/arena/battles/a%00b/stream", f"/arena/battles/{'x' * 200}/stream"):
        assert (await arena.http.get(path)).status_code == 404
    assert (await arena.http.post("/arena/battles/none/vote", json={"outcome": "a", "ticket": "t"})).status_code == 404
    made = await arena.battle()
    assert (await arena.http.get(f"{made['stream']}?turn=2")).status_code == 404
    assert (await arena.http.get(f"{made['stream']}?turn=0")).status_code == 400
    assert (await arena.vote(made, "c")).status_code == 400
    assert (await arena.vote({**made, "ticket": "x" * 600})).status_code == 400
    assert (await arena.vote({**made, "ticket": "nonsense"})).status_code == 403
    await arena.read(made["stream"])


async def test_fewer_than_two_models_are_a_503_that_says_so(arena: Arena, arena_settings: IngressSettings) -> None:
    await register(arena_settings, ONE, arena=False)
    await eventually(lambda: not arena.ingress.house.registry.cards[ONE].arena)
    response = await arena.http.post("/arena/battles", json={"prompt": "x"})
    assert response.status_code == 503
    assert "two models" in response.json()["error"]["message"]
    assert response.headers["retry-after-ms"]


async def test_a_stream_goes_on_where_it_was_cut_and_on_another_ingress(
    arena: Arena, arena_settings: IngressSettings
) -> None:
    arena.worker.script = saying(*["word "] * 60, pause=0.02)
    made = await arena.battle()
    first = await arena.read(made["stream"], most=6)
    async with arena_on(arena_settings.model_copy(update={"name": "other"}), arena.worker) as other:
        last = next(event_id for event_id, _, _ in reversed(first) if event_id)
        rest = await other.read(made["stream"], last)
        whole = await arena.read(made["stream"])
    for side in ("a", "b"):
        assert words(first, side) + words(rest, side) == words(whole, side) == "word " * 60
    assert names(rest) == names(whole) == ["done", "end"]
    finished = await arena.records(arena_settings.topics.battles, BattleTurnFinished)
    assert len(finished) == 1, "two processes followed it, one told"


async def test_a_battle_outlives_its_ingress(arena_settings: IngressSettings, arena: Arena) -> None:
    """The ingress that began it goes; the next one takes the turn over by itself, and a client finds all of it."""
    settings = arena_settings.model_copy(update={"name": "second", "drain_timeout": timedelta(0)})
    arena.worker.script = saying(*["word "] * 40, pause=0.02)
    async with arena_on(settings, arena.worker) as gone:
        made = await gone.battle()
        first = await gone.read(made["stream"], most=4)
    turn = await arena.sql("SELECT status FROM agon.battle_turns")
    assert turn["status"] == "running"
    async with arena_on(settings, arena.worker) as next_one:
        async with asyncio.timeout(20):
            while (await arena.sql("SELECT done_at FROM agon.battle_turns"))["done_at"] is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        last = next(event_id for event_id, _, _ in reversed(first) if event_id)
        rest = await next_one.read(made["stream"], last)
        for side in ("a", "b"):
            assert words(first, side) + words(rest, side) == "word " * 40
        assert (await next_one.vote(made, "both_bad")).status_code == 200


async def test_a_client_that_leaves_stops_nothing(arena: Arena) -> None:
    arena.worker.script = saying(*["word "] * 20, pause=0.02)
    made = await arena.battle()
    with contextlib.suppress(httpx.ReadTimeout):
        await arena.read(made["stream"], most=1)
    events = await arena.read(made["stream"])
    assert words(events, "a") == words(events, "b") == "word " * 20
    assert not any(telling.cancelled.is_set() for telling in arena.worker.tellings)
