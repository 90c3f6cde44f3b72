"""Events become entries; the gate's answers decide what of them has been said."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agon.backends import Admitted, Finished, Scored, Tokens
from agon.dialects import Reader
from agon.engine.events import TokenLogprob
from agon.errors import AgonError, Cancelled, Expired, InvalidRequest
from agon.messages import GenerationRequest
from agon.stream.frames import Admission, Delta, End
from agon_inference.held import APART, Held, status_of
from agon_inference.taken import Identity, Taken
from agon_inference.transcript import Entry

KEY = "default/r1"


def held(n: int = 1, written: list[Entry] | None = None) -> Held:
    request = GenerationRequest(request_id="r1", model="m", kind="completion", prompt="p", n=n, seed=1)
    identity = Identity("default", "r1", "m", "t/0/1", "digest", datetime.now(UTC))
    nothing = cast(Any, SimpleNamespace(value=b""))
    taken = Taken(identity, request, nothing, nothing, nothing, nothing)
    return Held(taken, "w1", 1 if not written else 2, list(written or ()))


def tokens(at: int, *ids: int, choice: int = 0, finish: str | None = None) -> Tokens:
    return Tokens(KEY, choice, at, ids, "".join(chr(96 + number) for number in ids), finish)


def bodies(one: Held) -> list[Any]:
    return [entry.body for entry in one.send()]


def end(one: Held) -> End:
    body = one.pending[-1].body
    assert isinstance(body, End)
    return body


def test_an_answer_is_admitted_told_and_ended() -> None:
    one = held()
    one.admit(Admitted(KEY, 7, 2))
    one.add(tokens(0, 1, finish="stop"))
    one.finish(Finished(KEY, 7, 1))
    admission, delta, final = bodies(one)
    assert isinstance(admission, Admission)
    assert delta == Delta((1,), "a", "stop")
    assert (final.status, final.prompt_tokens, final.completion_tokens) == ("finished", 7, 1)
    one.accepted()
    assert one.ended


def test_a_token_has_a_frame_of_its_own() -> None:
    one = held(n=2)
    for event in (tokens(0, 1), tokens(0, 5, choice=1), tokens(1, 2), tokens(1, 6, choice=1)):
        one.add(event)
    assert bodies(one) == [Delta((1,), "a"), Delta((5,), "e"), Delta((2,), "b"), Delta((6,), "f")]


def test_tokens_are_joined_by_choice_where_many_wait_for_the_gate() -> None:
    one = held(n=2)
    for at in range(APART + 1):
        one.add(tokens(at, 1))
        one.add(tokens(at, 5, choice=1))
    *apart, left, right = bodies(one)
    assert len(apart) == 2 * (APART - 1)
    assert (left, right) == (Delta((1, 1), "aa"), Delta((5, 5), "ee"))


PIECES = ("<", "think", ">", "\n", "So ", "a>b", ".", *"0123456789", "</", "think", ">\n", "Yes", ".")


@given(st.lists(st.booleans(), min_size=len(PIECES), max_size=len(PIECES)))
def test_the_tokens_of_reasoning_are_as_many_however_busy_the_gate_is(busy: list[bool]) -> None:
    one, reader = held(), Reader(reasoning="think")
    for at, piece in enumerate(PIECES):
        one.add(Tokens(KEY, 0, at, (at,), piece))
        if at == len(PIECES) - 1 or not busy[at]:
            for delta in bodies(one):
                reader.feed(delta.text, len(delta.token_ids))
            one.accepted()
    assert reader.reasoning_tokens == len(PIECES) - len(("<", "think", ">")) - len(("Yes", "."))


def test_log_probabilities_are_joined_like_their_tokens_and_the_prompts_come_first() -> None:
    one = held()
    p, a, b = (TokenLogprob(letter, -1.0, letter.encode()) for letter in "pab")
    one.score(Scored(KEY, (p,)))
    for at in range(APART - 1):
        one.add(Tokens(KEY, 0, at, (1,), "a", None, (a,)))
    one.add(Tokens(KEY, 0, APART - 1, (2,), "b", "stop", (b,)))
    first, *_, last = bodies(one)
    assert first == Delta((), "", prompt_logprobs=(p,))
    assert last == Delta((1, 2), "ab", "stop", (a, b))


def test_an_attempt_that_goes_on_does_not_tell_the_prompts_log_probabilities_again() -> None:
    p = TokenLogprob("p", None, b"p")
    one = held(written=[Entry(0, 0, Delta((), "", prompt_logprobs=(p,)))])
    one.score(Scored(KEY, (p,)))
    assert one.pending == []


def test_what_was_sent_stays_as_it_was_sent() -> None:
    one = held()
    one.add(tokens(0, 1))
    sent = one.send()
    one.add(tokens(1, 2))
    assert one.pending[: len(sent)] == list(sent)
    one.accepted()
    assert [(entry.at, entry.body) for entry in one.send()] == [(1, Delta((2,), "b"))]


def test_nothing_comes_behind_an_end() -> None:
    one = held()
    one.fail(Expired("late"))
    one.add(tokens(0, 1))
    one.finish(Finished(KEY, 1, 1))
    one.fail(Cancelled("gone"))
    assert [type(body) for body in bodies(one)] == [End]
    assert end(one).status == "expired"


@pytest.mark.parametrize("at", [0, 2])
def test_a_backend_that_repeats_or_skips_tokens_fails_the_request(at: int) -> None:
    one = held()
    one.add(tokens(0, 1))
    one.add(tokens(at, 2))
    assert (end(one).status, end(one).error_code) == ("failed", "engine_failed")
    assert end(one).completion_tokens == 1


def test_after_a_lost_list_everything_is_written_again_in_order() -> None:
    one = held()
    one.admit(Admitted(KEY, 7))
    one.add(tokens(0, 1))
    one.send()
    one.accepted()
    one.add(tokens(1, 2))
    one.send()
    one.rewrite()
    assert one.rewriting
    assert [type(body) for body in bodies(one)] == [Admission, Delta, Delta]
    one.accepted()
    assert not one.rewriting
    assert one.transcript().completion_tokens == 2


def test_a_request_that_is_cut_off_ends_with_what_was_accepted() -> None:
    one = held()
    one.admit(Admitted(KEY, 7))
    one.add(tokens(0, 1))
    one.send()
    one.accepted()
    one.add(tokens(1, 2, 3, finish="stop"))
    one.finish(Finished(KEY, 7, 3))
    one.send()
    one.cut_off(Cancelled("the client left"))
    (final,) = bodies(one)
    assert (final.status, final.prompt_tokens, final.completion_tokens) == ("cancelled", 7, 1)


def test_a_resumed_request_goes_on_behind_its_list_and_is_admitted_once() -> None:
    one = held(written=[Entry(0, 0, Admission("w0", 7, 0, 1.0)), Entry(0, 0, Delta((1, 2), "ab"))])
    one.admit(Admitted(KEY, 9))
    one.add(tokens(2, 3))
    assert [(entry.at, entry.body) for entry in one.send()] == [(2, Delta((3,), "c"))]


def test_what_an_unexpected_error_says_is_not_told_to_clients() -> None:
    one = held()
    one.fail(RuntimeError("/secret/path"))
    assert end(one).status == "failed"
    assert "secret" not in (end(one).error_message or "")


@pytest.mark.parametrize(
    ("error", "status"), [(Cancelled("x"), "cancelled"), (Expired("x"), "expired"), (InvalidRequest("x"), "failed")]
)
def test_an_end_is_called_by_its_cause(error: AgonError, status: str) -> None:
    assert status_of(error) == status
