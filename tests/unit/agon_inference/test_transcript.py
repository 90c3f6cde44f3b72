"""A list, folded, says what is left to do and how it ended."""

from datetime import UTC, datetime

import pytest

from agon.engine.events import Alternative, TokenLogprob
from agon.messages import GenerationRequest
from agon.stream.frames import Admission, Delta, End, decode, encode
from agon_inference.completions import bare, completed
from agon_inference.taken import Identity
from agon_inference.transcript import Entry, entries_of, job, read

REQUEST = GenerationRequest(request_id="r1", model="m", kind="completion", prompt="p", n=2, metadata={"a": "b"})
IDENTITY = Identity("default", "r1", "m", "t/0/1", "digest", datetime(2026, 1, 1, tzinfo=UTC))
BEGUN = [
    Entry(0, 0, Admission("w1", 5, 1, 10.0)),
    Entry(0, 0, Delta((1, 2), "ab")),
    Entry(1, 0, Delta((7,), "x", "stop")),
    Entry(0, 2, Delta((3,), "c")),
]
ENDED = [*BEGUN, Entry(0, 3, Delta((), "", "length")), Entry(0, 3, End("finished", 5, 4, 1, 20.0))]


def test_a_resumed_job_goes_on_behind_what_each_choice_has_said() -> None:
    left = job(REQUEST, read(BEGUN, 2))
    assert left.emitted == ((1, 2, 3), (7,))
    assert left.ended == (None, "stop")


def test_a_fresh_job_has_said_nothing_in_any_choice() -> None:
    left = job(REQUEST, read([], 2))
    assert left.emitted == ((), ())
    assert left.ended == (None, None)


def test_all_choices_may_have_ended_before_the_final_frame() -> None:
    assert not read(BEGUN, 2).all_ended
    assert read(ENDED[:-1], 2).all_ended


def test_a_list_from_the_gate_reads_as_it_was_written() -> None:
    frames = [decode(encode("default/r1", 1, entry.at, entry.choice, entry.body)) for entry in ENDED]
    assert entries_of(frames) == ENDED


def test_a_completion_says_what_the_list_says() -> None:
    message = completed(IDENTITY, REQUEST, read(ENDED, 2), "w2", 3)
    assert [choice.message.content for choice in message.choices] == ["abc", "x"]
    assert [choice.finish_reason for choice in message.choices] == ["length", "stop"]
    assert (message.usage.prompt_tokens, message.usage.completion_tokens, message.usage.total_tokens) == (5, 4, 9)
    assert (message.worker, message.attempt, message.status, message.metadata) == ("w2", 3, "finished", {"a": "b"})
    assert message.timings.admitted_at == datetime.fromtimestamp(10, UTC)


def test_a_completion_carries_the_log_probabilities_only_with_the_text() -> None:
    a, b, p = (TokenLogprob(letter, -0.5, letter.encode(), (Alternative("z", -1.0, None),)) for letter in "abp")
    said = [
        Entry(0, 0, Delta((), "", prompt_logprobs=(p._replace(logprob=None),))),
        Entry(0, 0, Delta((1,), "a", None, (a,))),
        Entry(0, 1, Delta((2,), "b", "stop", (b,))),
        Entry(0, 2, End("finished", 5, 2, 0, 20.0)),
    ]
    message = completed(IDENTITY, REQUEST, read(said, 1), "w2", 3)
    assert message.choices[0].logprobs is not None
    told = message.choices[0].logprobs.content
    assert [(item.token, item.logprob, item.bytes) for item in told] == [("a", -0.5, (97,)), ("b", -0.5, (98,))]
    assert (told[0].top_logprobs[0].token, told[0].top_logprobs[0].bytes) == ("z", None)
    assert message.prompt_logprobs is not None
    assert [(item.token, item.logprob) for item in message.prompt_logprobs] == [("p", None)]
    for silent in (bare(message), completed(IDENTITY, without_text(), read(said, 1), "w2", 3)):
        assert (silent.choices[0].logprobs, silent.prompt_logprobs) == (None, None)


def without_text() -> GenerationRequest:
    return REQUEST.model_copy(update={"store": False})


def test_a_list_without_an_end_is_no_completion() -> None:
    with pytest.raises(ValueError, match="no end"):
        completed(IDENTITY, REQUEST, read(BEGUN, 2), "w2", 3)


def test_a_request_that_was_never_admitted_has_no_choices() -> None:
    end = Entry(0, 0, End("expired", 0, 0, 0, 20.0, "too late", "server_error", "deadline_exceeded"))
    message = completed(IDENTITY, REQUEST, read([end], 2), "w1", 1)
    assert message.choices == ()
    assert message.error is not None
    assert message.error.code == "deadline_exceeded"


def test_the_text_stays_out_where_it_is_not_to_be_stored_or_too_large() -> None:
    unstored = completed(IDENTITY, REQUEST.model_copy(update={"store": False}), read(ENDED, 2), "w", 1)
    assert {choice.message.content for choice in unstored.choices} == {None}
    assert not unstored.text_omitted
    cut = bare(completed(IDENTITY, REQUEST, read(ENDED, 2), "w", 1))
    assert {choice.message.content for choice in cut.choices} == {None}
    assert cut.text_omitted
    assert cut.usage.completion_tokens == 4
