"""What becomes of a record: an answer, an end that says why not, or a dead letter; and never a stopped consumer."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from agon.bus import topic_admin
from agon.messages import GenerationRequest, now, rfc3339
from agon.stream.heartbeat import IngressHeartbeat
from agon_inference.decoding import derived_seed
from support.workers import UNDISTURBED, Client, Place, WorkerProcess, client_of, eventually, new_place

pytestmark = pytest.mark.servers

ECHO, RANDOM, SLOW, FAILING = "echo", "Org/Random", "slow", "failing"
MODELS = (
    f"{ECHO}=scripted:mode=echo",
    f"{RANDOM}=scripted:mode=random,tokens=12",
    f"{SLOW}=scripted:mode=random,tokens=400,delay=0.05",
    f"{FAILING}=scripted:mode=random,fail_at=3",
)


@pytest.fixture(scope="module")
def place(kafka_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One worker for this module's tests: they only produce and read."""
    made = new_place(kafka_url, redis_url, tmp_path_factory.mktemp("serving"))
    asyncio.run(topic_admin.apply(kafka_url, made.topics.prefix))
    worker = WorkerProcess(made, "w1", MODELS, **UNDISTURBED)
    yield made
    worker.kill()


@pytest.fixture
async def client(place: Place) -> AsyncIterator[Client]:
    async with client_of(place) as made:
        await made.reading("w1", model=FAILING)
        yield made


async def letter(client: Client, model: str, value: bytes) -> dict[str, bytes]:
    """Wait for the dead letter with this very value; its headers."""

    async def there() -> dict[str, bytes] | None:
        for record in await client.dead_letters(model):
            if record.value == value:
                return dict(record.headers)
        return None

    found: dict[str, bytes] = await eventually("the dead letter", there, every=0.1)
    return found


async def test_an_answer_has_text_usage_and_timings(client: Client) -> None:
    request_id = await client.ask(ECHO, "one two three", metadata={"who": "me"})
    (done,) = await client.completed(request_id)
    assert done.status == "finished"
    assert done.choices[0].message.content == "one two three"
    assert done.choices[0].finish_reason == "stop"
    assert (done.usage.prompt_tokens, done.usage.completion_tokens, done.usage.total_tokens) == (3, 3, 6)
    assert done.timings.admitted_at is not None
    assert done.timings.first_token_at is not None
    assert done.timings.accepted_at <= done.timings.first_token_at <= done.timings.finished_at
    assert (done.worker, done.attempt, done.metadata, done.error) == ("w1", 1, {"who": "me"}, None)


async def test_every_choice_is_answered(client: Client) -> None:
    (done,) = await client.completed(await client.ask(RANDOM, n=3, seed=5))
    assert [choice.index for choice in done.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in done.choices}) == 3
    assert done.usage.completion_tokens == 36


async def test_a_request_without_a_seed_is_answered_by_one_that_follows_from_its_id(client: Client) -> None:
    request_id = f"r-{uuid.uuid4().hex}"
    seed = derived_seed(GenerationRequest(request_id=request_id, model=RANDOM, kind="completion", prompt="x"))
    unseeded, seeded = await client.completed(
        await client.ask(RANDOM, request_id=request_id), await client.ask(RANDOM, seed=seed)
    )
    assert unseeded.choices == seeded.choices


async def test_the_text_is_left_out_when_it_is_not_to_be_stored(client: Client) -> None:
    (done,) = await client.completed(await client.ask(ECHO, "secret", store=False))
    assert done.choices[0].message.content is None
    assert done.usage.completion_tokens == 1


async def test_a_batch_request_is_served_too(client: Client) -> None:
    (done,) = await client.completed(await client.ask(ECHO, "later", batch=True, priority="batch"))
    assert done.choices[0].message.content == "later"


async def test_a_record_of_seven_megabytes_is_served(client: Client) -> None:
    (done,) = await client.completed(await client.ask(ECHO, "x" * 7_000_000, max_tokens=5))
    assert done.status == "finished"
    assert len(done.choices[0].message.content or "") == 7_000_000


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"this is no JSON", "invalid_json"),
        (b"\xff\xfe\x00", "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b'{"request_id": "broken \xff", "model": "echo", "prompt": "x"}', "invalid_json"),
        (b'["an", "array"]', "wrong_type"),
        (b"42", "wrong_type"),
        (b'{"model": "echo", "prompt": "no id"}', "invalid_request"),
        (b'{"request_id": "no spaces, please", "model": "echo", "prompt": "x"}', "invalid_request"),
    ],
)
async def test_a_record_without_an_id_becomes_one_dead_letter_and_nothing_stops(
    client: Client, value: bytes, reason: str
) -> None:
    await client.send(ECHO, value, partition=0, headers=[("own", b"\xff\x00")])
    behind = await client.ask(ECHO, "behind it", partition=0)
    headers = await letter(client, ECHO, value)
    assert headers["x-dlq-error-type"].decode() == reason
    assert headers["own"] == b"\xff\x00"
    assert headers["x-dlq-topic"].decode() == client.place.topics.requests(ECHO)
    assert (await client.completed(behind))[0].status == "finished"


@pytest.mark.parametrize(
    ("change", "reason", "code"),
    [
        ({"messages": "wrong type"}, "invalid_request", None),
        ({"messages": []}, "invalid_request", None),
        ({"temperature": 99}, "invalid_request", None),
        ({"functions": [{"name": "f"}]}, "unsupported_parameter", "unsupported_parameter"),
        ({"model": "nobody-knows-it"}, "unknown_model", "model_not_found"),
    ],
)
async def test_a_bad_request_with_an_id_becomes_a_dead_letter_and_a_failed_completion(
    client: Client, change: dict[str, object], reason: str, code: str | None
) -> None:
    request_id = f"bad-{uuid.uuid4().hex[:8]}"
    fields = {"request_id": request_id, "model": ECHO, "messages": [{"role": "user", "content": "x"}], **change}
    value = json.dumps(fields).encode()
    await client.send(ECHO, value)
    (done,) = await client.completed(request_id)
    assert done.status == "failed"
    assert done.error is not None
    assert (done.error.type, done.error.code) == ("invalid_request_error", code)
    assert (await letter(client, ECHO, value))["x-dlq-error-type"].decode() == reason


async def test_the_same_record_twice_is_answered_once(client: Client) -> None:
    request_id = f"twice-{uuid.uuid4().hex[:8]}"
    for part in (0, 3):
        await client.ask(ECHO, "once", request_id=request_id, partition=part)
    behind = [await client.ask(ECHO, "behind", partition=part) for part in (0, 3)]
    await client.completed(request_id, *behind)
    assert len((await client.completions())[request_id]) == 1
    assert not [one for one in await client.dead_letters(ECHO) if request_id.encode() in one.value]


async def test_another_record_under_a_used_id_is_a_dead_letter_and_the_first_one_stays(client: Client) -> None:
    request_id = await client.ask(ECHO, "the first")
    await client.completed(request_id)
    other = {"request_id": request_id, "model": ECHO, "messages": [{"role": "user", "content": "the second"}]}
    await client.send(ECHO, other)
    assert (await letter(client, ECHO, json.dumps(other).encode()))["x-dlq-error-type"] == b"duplicate_id"
    ends = (await client.completions())[request_id]
    assert [end.choices[0].message.content for end in ends] == ["the first"]


async def test_a_failing_model_ends_the_request_and_says_so(client: Client) -> None:
    (done,) = await client.completed(await client.ask(FAILING))
    assert done.status == "failed"
    assert done.error is not None
    assert done.error.code == "engine_failed"
    assert done.usage.completion_tokens == 3


async def test_a_prompt_beyond_the_context_is_refused_by_the_backend(client: Client) -> None:
    (done,) = await client.completed(await client.ask(ECHO, "x " * 40_000))
    assert done.error is not None
    assert (done.status, done.error.code) == ("failed", "context_length_exceeded")
    assert not [one for one in await client.dead_letters(ECHO) if done.request_id.encode() in one.value]


async def test_a_request_whose_deadline_has_passed_expires_without_work(client: Client) -> None:
    old_log = int((time.time() - 11 * 60) * 1000)
    by_age = await client.ask(SLOW, timestamp_ms=old_log)
    by_wish = await client.ask(SLOW, deadline=rfc3339(now() - timedelta(seconds=1)))
    for done in await client.completed(by_age, by_wish):
        assert done.status == "expired"
        assert done.usage.completion_tokens == 0
        assert done.error is not None
        assert done.error.code == "deadline_exceeded"


async def test_a_running_request_expires_at_its_deadline(client: Client) -> None:
    for seconds in (2, 10):  # on a machine that stood still, it may have had no time to begin
        request_id = await client.ask(SLOW, deadline=rfc3339(now() + timedelta(seconds=seconds)))
        (done,) = await client.completed(request_id)
        assert done.status == "expired"
        if done.usage.completion_tokens:
            break
    assert 0 < done.usage.completion_tokens < 400


async def test_a_cancelled_request_ends_at_once_with_what_it_had(client: Client) -> None:
    request_id = await client.ask(SLOW)
    await client.emitting(request_id, 5)
    await client.gate.cancel("default", request_id, SLOW)
    (done,) = await client.completed(request_id)
    assert done.status == "cancelled"
    assert done.usage.completion_tokens == await client.tokens(request_id) >= 5
    assert (done.choices[0].message.content or "").count(" ") == done.usage.completion_tokens


async def test_a_request_cancelled_before_it_was_read_does_no_work(client: Client) -> None:
    request_id = f"early-{uuid.uuid4().hex[:8]}"
    await client.gate.cancel("default", request_id, SLOW)
    (done,) = await client.completed(await client.ask(SLOW, request_id=request_id))
    assert (done.status, done.usage.completion_tokens) == ("cancelled", 0)


async def test_a_request_whose_ingress_has_gone_is_cancelled_unless_it_is_detached(client: Client) -> None:
    beat = asyncio.create_task(IngressHeartbeat(client.redis, client.place.keys, "ingress-1").run())
    await eventually("the ingress is alive", lambda: client.redis.exists(client.place.keys.ingress("ingress-1")))
    listened = await client.ask(SLOW, reply_to="ingress-1")
    detached = await client.ask(SLOW, reply_to="ingress-1", detached=True)
    await client.emitting(listened, 5)
    await client.emitting(detached, 5)
    beat.cancel()
    await asyncio.gather(beat, return_exceptions=True)
    (done,) = await client.completed(listened)
    assert done.status == "cancelled"
    before = await client.tokens(detached)
    await client.emitting(detached, before + 5)
    await client.gate.cancel("default", detached, SLOW)


async def test_offsets_are_committed_up_to_the_oldest_unfinished_request(client: Client, place: Place) -> None:
    slow = await client.ask(SLOW, partition=5)
    await client.emitting(slow, 1)
    quick = await client.ask(SLOW, max_tokens=1, partition=5)
    await client.completed(quick)
    where = TopicPartition(place.topics.requests(SLOW), 5)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=place.kafka_url, group_id=place.topics.group("inference.slow"), enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign([where])
        end = (await consumer.end_offsets([where]))[where]
        assert (await consumer.committed(where) or 0) <= end - 2, "the slow one is not finished"
        await client.gate.cancel("default", slow, SLOW)

        async def committed() -> bool:
            return await consumer.committed(where) == end

        await eventually("everything is committed", committed)
    finally:
        await consumer.stop()
