"""Whatever happens to a worker, its requests go on elsewhere, and nobody can tell from the text."""

import asyncio
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from agon.backends import Job, Tokens
from agon.backends.scripted import ScriptedBackend
from agon.bus import topic_admin
from agon.local.redis import RedisServer
from agon.messages import GenerationCompleted, GenerationRequest
from agon.stream.frames import Delta, body
from support.dying import at_tokens
from support.workers import Client, StartWorker, WorkerProcess, client_of, eventually, new_place

pytestmark = [pytest.mark.servers, pytest.mark.kill]

MODEL = "talker"
TOKENS = 60
# Three seconds an answer, drawn by the request's seed: another seed or another place in the draw shows.
SLOW = f"{MODEL}=scripted:mode=random,tokens={TOKENS},delay=0.05"
AS_DELIVERED = {"AGON_SESSION_TIMEOUT": "6", "AGON_WORKER_TTL": "5"}


def text(completion: GenerationCompleted) -> str:
    content = completion.choices[0].message.content
    assert content is not None
    return content


async def ask_some(client: Client, count: int, seed: int) -> list[str]:
    return [await client.ask(MODEL, f"number {index}", seed=seed + index) for index in range(count)]


def calm(seed: int) -> str:
    """What the script says when nothing happens to it."""
    request = GenerationRequest(request_id="calm", model=MODEL, kind="completion", prompt="x", seed=seed)
    backend = ScriptedBackend.from_options(MODEL, {"mode": "random", "tokens": str(TOKENS)})
    backend.submit(Job(request))
    said = []
    while (idle := backend.idle_for()) is not None:
        assert idle == 0
        said += [event.text for event in backend.step() if isinstance(event, Tokens)]
    return "".join(said)


async def assert_undisturbed(client: Client, disturbed: list[str], seed: int) -> None:
    """Each answer is what a calm run gives, has one end, and its list has each token once."""
    shaken = await client.completed(*disturbed)
    assert [text(one) for one in shaken] == [calm(seed + index) for index in range(len(disturbed))]
    assert [one.usage.completion_tokens for one in shaken] == [TOKENS] * len(disturbed)
    ends = await client.completions()
    assert {name: len(ends[name]) for name in disturbed} == dict.fromkeys(disturbed, 1)
    for request_id in disturbed:
        frames = await client.frames(request_id)
        deltas = [(frame.at, said) for frame in frames if isinstance(said := body(frame), Delta)]
        positions = [at for at, _ in deltas]
        lengths = [len(said.token_ids) for _, said in deltas]
        assert positions == [sum(lengths[:index]) for index in range(len(lengths))], "each token follows the last one"
        assert [frame.kind for frame in frames].count("final") == 1


async def test_a_record_produced_before_the_first_consumer_exists_is_served(
    client: Client, start_worker: StartWorker
) -> None:
    await topic_admin.apply(client.place.kafka_url, client.place.topics.prefix, [MODEL])
    request_id = await client.ask(MODEL, "hello")
    start_worker("w1", f"{MODEL}=scripted:mode=echo")
    (completion,) = await client.completed(request_id)
    assert completion.status == "finished"
    assert text(completion) == "hello"


async def test_a_killed_workers_answers_go_on_at_another(client: Client, start_worker: StartWorker) -> None:
    doomed = start_worker("w1", SLOW, before=partial(at_tokens, signal.SIGKILL, 6, 5), **AS_DELIVERED)
    await client.reading("w1", model=MODEL)
    asked = await ask_some(client, 6, seed=100)
    await doomed.ended()
    killed_at = time.monotonic()
    start_worker("w2", SLOW, **AS_DELIVERED)
    stood = {request_id: await client.tokens(request_id) for request_id in asked}

    async def all_move() -> bool:
        return all([await client.tokens(request_id) > tokens for request_id, tokens in stood.items()])

    await eventually("every stream moves again", all_move)
    print(f"moved after {time.monotonic() - killed_at:.1f} s")
    await client.completed(*asked)
    assert {(await client.completed(name))[0].attempt for name in asked} == {2}
    await assert_undisturbed(client, asked, seed=100)


async def test_a_worker_that_is_asked_to_stop_hands_over_what_it_cannot_finish(
    client: Client, start_worker: StartWorker
) -> None:
    # Nobody waits for a worker that said that it leaves: who waited for its life to run out would do so for long.
    patient = {"AGON_WORKER_TTL": "600"}
    leaving = start_worker(
        "w1", SLOW, before=partial(at_tokens, signal.SIGSTOP, 4, 3), AGON_DRAIN_TIMEOUT="0.2", **patient
    )
    await client.reading("w1", model=MODEL)
    start_worker("w2", SLOW, **patient)
    await client.reading("w1", "w2", model=MODEL)
    asked = [await client.ask(MODEL, f"number {index}", seed=7 + index, partition=index % 8) for index in range(8)]
    await leaving.stopped()  # in the middle of its half of them
    leaving.signal(signal.SIGTERM)
    leaving.signal(signal.SIGCONT)
    assert await leaving.terminate() == 0
    left_to = await client.completed(*asked)
    assert {completion.worker for completion in left_to} == {"w2"}
    assert [text(one) for one in left_to] == [calm(7 + index) for index in range(8)]


async def test_a_worker_that_is_asked_to_stop_finishes_what_it_can(client: Client, start_worker: StartWorker) -> None:
    leaving = start_worker("w1", SLOW)
    await client.reading("w1", model=MODEL)
    asked = await ask_some(client, 4, seed=1)
    for request_id in asked:
        await client.emitting(request_id, 3)
    assert await leaving.terminate() == 0
    done = await client.completed(*asked)
    assert {completion.attempt for completion in done} == {1}
    assert {completion.status for completion in done} == {"finished"}


async def test_a_worker_paused_beyond_its_life_changes_nothing_when_it_wakes_up(
    client: Client, start_worker: StartWorker
) -> None:
    sleeper = start_worker("w1", SLOW, before=partial(at_tokens, signal.SIGSTOP, 4, 5))
    start_worker("w2", SLOW)
    await client.reading("w1", "w2", model=MODEL)
    its = (await client.state("w1")).partitions[client.place.topics.requests(MODEL)]
    assert len(its) == 4
    asked = [
        await client.ask(MODEL, f"number {part}", seed=50 + index, partition=part) for index, part in enumerate(its)
    ]
    await sleeper.stopped()
    stood = {request_id: await client.tokens(request_id) for request_id in asked}

    async def all_move() -> bool:
        return all([await client.tokens(request_id) > tokens for request_id, tokens in stood.items()])

    await eventually("the others take over", all_move)
    sleeper.signal(signal.SIGCONT)
    await client.completed(*asked)
    await assert_undisturbed(client, asked, seed=50)
    # It is a member of its group again, and takes new requests.
    await client.reading("w1", "w2", model=MODEL)


async def test_a_worker_paused_while_nobody_else_is_there_goes_on(client: Client, start_worker: StartWorker) -> None:
    sleeper = start_worker("w1", SLOW)
    await client.reading("w1", model=MODEL)
    asked = await ask_some(client, 3, seed=80)
    for request_id in asked:
        await client.emitting(request_id, 5)
    sleeper.signal(signal.SIGSTOP)

    async def presumed_dead() -> bool:
        return not await client.alive()

    await eventually("its heartbeat runs out", presumed_dead)
    # Beyond the session timeout, too: its group has forgotten it, so its own records are delivered to it again.
    await asyncio.sleep(3)
    sleeper.signal(signal.SIGCONT)
    await client.completed(*asked)
    await assert_undisturbed(client, asked, seed=80)


async def test_partitions_move_between_workers_while_their_requests_run(
    client: Client, start_worker: StartWorker
) -> None:
    patient = {"AGON_WORKER_TTL": "60"}  # who stands still for a while keeps what it has
    start_worker("w1", SLOW, **patient)
    await client.reading("w1", model=MODEL)
    asked = await ask_some(client, 8, seed=200)
    for request_id in asked:
        await client.emitting(request_id, 2)
    second = start_worker("w2", SLOW, **patient)
    await client.reading("w1", "w2", model=MODEL)
    more = await ask_some(client, 8, seed=300)
    for request_id in more:
        await client.emitting(request_id, 2)
    await second.terminate()
    done = await client.completed(*asked, *more)
    assert {completion.attempt for completion in done} == {1}, "who runs a request keeps it, wherever its record goes"
    await assert_undisturbed(client, asked, seed=200)
    await assert_undisturbed(client, more, seed=300)


async def test_a_redis_that_forgets_everything_is_told_again(client: Client, start_worker: StartWorker) -> None:
    start_worker("w1", SLOW)
    await client.reading("w1", model=MODEL)
    asked = await ask_some(client, 4, seed=400)
    for request_id in asked:
        await client.emitting(request_id, 10)
    keys = [key async for key in client.redis.scan_iter(match=f"{client.place.keys.prefix}*")]
    await client.redis.delete(*keys)
    await client.completed(*asked)
    await assert_undisturbed(client, asked, seed=400)


async def test_a_redis_that_is_away_for_a_while_and_comes_back_empty_loses_no_token(
    kafka_url: str, tmp_path: Path
) -> None:
    server = RedisServer(tmp_path / "redis", tmp_path / "redis.log", "secret")
    await server.start()
    place = new_place(kafka_url, server.url, tmp_path)
    await topic_admin.apply(kafka_url, place.topics.prefix)
    worker = WorkerProcess(place, "w1", [SLOW])
    try:
        async with client_of(place) as client:
            await client.reading("w1", model=MODEL)
            asked = await ask_some(client, 3, seed=500)
            for request_id in asked:
                await client.emitting(request_id, 5)
            await server.stop()
            more = await ask_some(client, 2, seed=600)
            await asyncio.sleep(2)  # how long it is away
            await server.start()
            done = await client.completed(*asked, *more)
            assert {completion.status for completion in done} == {"finished"}
            await assert_undisturbed(client, asked, seed=500)
            await assert_undisturbed(client, more, seed=600)
    finally:
        worker.kill()
        await server.stop()
