"""Battles over HTTP: begun, shown, gone on with, refused."""

import asyncio
import json
from typing import Any

import pytest

from agon.arena.commitment import opens
from agon.messages import BattleCommitted, BattleTurnFinished, VoteCast
from agon_ingress.settings import IngressSettings
from integration.agon_ingress.arena.conftest import (
    HEARD,
    ONE,
    TWO,
    Arena,
    by_model,
    echo,
    failing,
    names,
    saying,
    words,
)
from integration.agon_ingress.conftest import Telling, eventually, register

pytestmark = pytest.mark.servers


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
    for _ in range(40):  # that all fall one way has a chance of 1 to 10^11
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
