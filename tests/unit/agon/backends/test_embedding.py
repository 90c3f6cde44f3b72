"""A real embedding model: sentences, batches, limits."""

import base64
import math
import struct
from collections.abc import Sequence
from datetime import timedelta

import pytest

from agon.backends.base import Admitted, Event, Failed, Finished, Job, Tokens
from agon.backends.embedding import EmbeddingBackend, Encoder
from agon.backends.spec import BackendSpec
from agon.errors import Cancelled, ContextTooLong, Expired, InvalidRequest, SetupError
from agon.messages import GenerationRequest, now


@pytest.fixture(scope="module")
def backend() -> EmbeddingBackend:
    return EmbeddingBackend.from_source("minilm", "")


def job(*inputs: str | tuple[int, ...], key: str = "r1", **fields: object) -> Job:
    return Job(GenerationRequest(request_id=key, model="minilm", kind="embedding", inputs=inputs, **fields))


def run(backend: EmbeddingBackend, *jobs: Job) -> list[Event]:
    for one in jobs:
        backend.submit(one)
    events: list[Event] = []
    while backend.idle_for() == 0:
        events += backend.step()
    return events


def vectors(events: Sequence[Event], key: str = "default/r1") -> list[tuple[float, ...]]:
    told = sorted((e.choice, e.text) for e in events if isinstance(e, Tokens) and e.key == key)
    return [struct.unpack(f"<{len(base64.b64decode(text)) // 4}f", base64.b64decode(text)) for _, text in told]


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_what_is_alike_is_near_and_what_is_not_is_far(backend: EmbeddingBackend) -> None:
    pairs = [
        ("The cat sits outside", "The cat is outdoors", "A man is playing guitar"),
        ("How do I reset my password?", "I forgot my login and need a new one", "The weather is lovely today"),
        ("She bought a car", "A woman purchased an automobile", "The recipe needs three eggs"),
    ]
    for near, same, far in pairs:
        one, two, three = vectors(run(backend, job(near, same, far)))
        assert cosine(one, two) > 0.5 > 0.2 > cosine(one, three), (near, cosine(one, two), cosine(one, three))


def test_known_similarities_of_this_model(backend: EmbeddingBackend) -> None:
    """The figures that the model's own documentation of sentence-transformers gives."""
    one, two, three = vectors(
        run(backend, job("The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."))
    )
    assert cosine(one, two) == pytest.approx(0.6660, abs=2e-3)
    assert cosine(one, three) == pytest.approx(0.1046, abs=2e-3)
    assert cosine(two, three) == pytest.approx(0.1411, abs=2e-3)


def test_a_vector_is_the_same_alone_and_in_a_batch_and_has_length_1(backend: EmbeddingBackend) -> None:
    texts = ("short", "a text of some more words than the first one has", "word " * 200, "Größe 東京 🌱")
    together = vectors(run(backend, job(*texts)))
    for text, vector in zip(texts, together, strict=True):
        (alone,) = vectors(run(backend, job(text)))
        assert len(alone) == 384
        assert math.isclose(cosine(alone, alone), 1, abs_tol=1e-5)
        assert max(abs(a - b) for a, b in zip(alone, vector, strict=True)) < 1e-5, text


def test_fewer_dimensions_are_the_first_ones_at_length_1(backend: EmbeddingBackend) -> None:
    (whole,) = vectors(run(backend, job("A sentence.")))
    (part,) = vectors(run(backend, job("A sentence.", dimensions=64)))
    norm = math.sqrt(cosine(whole[:64], whole[:64]))
    assert part == pytest.approx([value / norm for value in whole[:64]], abs=1e-6)


def test_token_ids_are_taken_as_they_are(backend: EmbeddingBackend) -> None:
    ids = tuple(backend.encoder.encode("A sentence."))
    assert vectors(run(backend, job(ids))) == vectors(run(backend, job("A sentence.")))


def test_the_events_of_a_request_are_in_order_and_count_its_tokens(backend: EmbeddingBackend) -> None:
    events = run(backend, job("one", "two", key="a"), job("three", key="b"))
    mine = [event for event in events if event.key == "default/a"]
    assert mine[0] == Admitted("default/a", 6)
    assert mine[-1] == Finished("default/a", 6, 0)
    assert [type(event) for event in mine[1:-1]] == [Tokens, Tokens]


def test_a_resumed_request_computes_only_what_is_missing(backend: EmbeddingBackend) -> None:
    first = job("one", "two")
    events = run(backend, Job(first.request, ended=("stop", None)))
    assert [event.choice for event in events if isinstance(event, Tokens)] == [1]
    assert isinstance(events[-1], Finished)
    ended = run(backend, Job(first.request, ended=("stop", "stop")))
    assert [type(event) for event in ended] == [Admitted, Finished]


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        (job("word " * 400), ContextTooLong, "402 tokens, this model takes 256"),
        (job((10**6,) * 300), ContextTooLong, "300 tokens"),
        (job("x", dimensions=385), InvalidRequest, "384, not 385"),
        (job((10**6,)), InvalidRequest, "token id"),
        (job(""), InvalidRequest, "empty"),
        (
            Job(GenerationRequest(request_id="r1", model="minilm", kind="completion", prompt="x")),
            InvalidRequest,
            "kind",
        ),
        (job("x", deadline=now() - timedelta(seconds=1)), Expired, "deadline"),
    ],
)
def test_what_cannot_be_done_is_told(backend: EmbeddingBackend, wrong: Job, error: type, says: str) -> None:
    end = run(backend, wrong)[-1]
    assert isinstance(end, Failed)
    assert isinstance(end.error, error)
    assert says in f"{end.error} {getattr(end.error, 'param', '')}"


def test_what_cannot_fit_is_refused_before_it_is_cut_into_tokens(
    backend: EmbeddingBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was encoded")

    monkeypatch.setattr(type(backend.encoder._tokenizer), "encode", never)
    [end] = run(backend, job("word " * 1_000_000))
    assert isinstance(end, Failed)
    assert isinstance(end.error, ContextTooLong)
    assert "5,000,000 characters" in end.error.message


def test_many_long_inputs_are_cut_into_tokens_step_by_step_and_hold_up_nobody_else_for_long(
    backend: EmbeddingBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, cut = type(backend.encoder).encode, 0

    def counting(self: Encoder, given: str | tuple[int, ...]) -> list[int]:
        nonlocal cut
        cut += len(given)
        return encode(self, given)

    monkeypatch.setattr(type(backend.encoder), "encode", counting)
    text = "a " * 100 + " " * 9800  # many characters, few tokens
    backend.submit(job(*[text] * 40, key="long"))
    backend.submit(job("short", key="short"))
    ends, each = [], []
    while backend.idle_for() == 0:
        before = cut
        ends += [event.key for event in backend.step() if isinstance(event, Finished)]
        each.append(cut - before)
    assert sorted(ends) == ["default/long", "default/short"]
    assert cut == 400_005
    assert max(each) < 45_000


def test_a_cancelled_request_ends(backend: EmbeddingBackend) -> None:
    backend.submit(job(*["some text"] * 200))
    backend.cancel("default/r1")
    events = run(backend)
    assert isinstance(events[-1], Failed)
    assert isinstance(events[-1].error, Cancelled)


def test_it_is_spelled_as_embedding_and_says_what_is_missing(backend: EmbeddingBackend, monkeypatch: object) -> None:
    assert BackendSpec.parse("minilm=embedding:") == BackendSpec("minilm", "embedding", "")
    assert BackendSpec.parse("e=embedding:org/e") == BackendSpec("e", "embedding", "org/e")
    assert backend.card.kinds == ("embedding",)
    with pytest.raises(SetupError, match="no folder"):
        EmbeddingBackend.from_source("e", "./nothing")
