import pytest
from hypothesis import given
from hypothesis import strategies as st

from agon.engine.events import Alternative, TokenLogprob
from agon.errors import StreamLost
from agon.stream.frames import Admission, Body, Delta, End, Frame, body, decode, encode
from agon.stream.told import Told

LETTERS = "an answer told in pieces"


def frame(at: int, what: Body, choice: int = 0, attempt: int = 1) -> Frame:
    return decode(encode("t/r", attempt, at, choice, what))


def cut(ends: list[int], attempt: int) -> list[Frame]:
    """The answer (one letter per token, held back by one until the end) in pieces that end at these tokens."""
    frames, start, shown = [], 0, 0
    for end in [*ends, len(LETTERS)]:
        last = end == len(LETTERS)
        visible = end if last else max(0, end - 1)
        text = LETTERS[shown:visible]
        frames.append(frame(start, Delta(tuple(range(start, end)), text, "stop" if last else None), attempt=attempt))
        start, shown = end, visible
    return frames


def said(frames: list[Frame]) -> tuple[list[int], str, list[str]]:
    deltas = [b for f in frames if isinstance(b := body(f), Delta)]
    reasons = [d.finish_reason for d in deltas if d.finish_reason]
    return [i for d in deltas for i in d.token_ids], "".join(d.text for d in deltas), reasons


cuts = st.lists(st.integers(1, len(LETTERS) - 1), unique=True, max_size=12).map(sorted)


@given(first=cuts, second=cuts, lost_after=st.integers(0, 12))
def test_an_answer_told_again_in_other_pieces_goes_on_where_it_stopped(
    first: list[int], second: list[int], lost_after: int
) -> None:
    told = Told()
    shown = [new for f in cut(first, 1)[:lost_after] if (new := told.take(f))]
    told.begin_again()
    shown += [new for f in cut(second, 2) if (new := told.take(f))]
    assert said(shown) == (list(range(len(LETTERS))), LETTERS, ["stop"])
    at = 0
    for f in shown:
        assert f.at == at
        at += len(body(f).token_ids)


def test_log_probabilities_are_told_once_with_their_tokens() -> None:
    a, b = TokenLogprob("a", -1.0, b"a"), TokenLogprob("b", -2.0, b"b", (Alternative("a", -0.5, b"a"),))
    prompt = frame(0, Delta((), "", prompt_logprobs=(TokenLogprob("p", None, b"p"),)))
    told = Told()
    assert told.take(prompt) == prompt
    told.take(frame(0, Delta((1,), "a", None, (a,))))
    told.begin_again()
    assert told.take(prompt) is None
    new = told.take(frame(0, Delta((1, 2), "ab", None, (a, b))))
    assert new is not None
    assert body(new) == Delta((2,), "b", None, (b,))


def test_a_frame_that_is_old_in_its_first_half_gives_its_second_half() -> None:
    told = Told()
    told.take(frame(0, Delta((1, 2), "ab")))
    told.begin_again()
    new = told.take(frame(0, Delta((1, 2, 3), "abc", "stop")))
    assert new is not None
    assert (new.at, body(new)) == (2, Delta((3,), "c", "stop"))


def test_choices_are_told_apart() -> None:
    told = Told()
    told.take(frame(0, Delta((1,), "a"), choice=0))
    told.take(frame(0, Delta((7,), "x"), choice=1))
    told.begin_again()
    assert told.take(frame(0, Delta((7,), "x"), choice=1)) is None
    assert told.take(frame(0, Delta((1,), "a"), choice=0)) is None
    assert told.take(frame(1, Delta((2,), "b"), choice=0)) is not None


@pytest.mark.parametrize(
    "again",
    [Delta((1, 9), "ab"), Delta((1, 2), "ax"), Delta((9,), ""), Delta((1, 2, 3), "xbc")],
    ids=["another token", "other text", "another first token", "other text in front"],
)
def test_an_answer_that_comes_out_differently_is_lost(again: Delta) -> None:
    told = Told()
    told.take(frame(0, Delta((1, 2), "ab")))
    told.begin_again()
    with pytest.raises(StreamLost):
        told.take(frame(0, again))


def test_an_answer_that_had_ended_can_not_go_on_when_told_again() -> None:
    told = Told()
    told.take(frame(0, Delta((1, 2), "ab", "stop")))
    told.begin_again()
    assert told.take(frame(0, Delta((1, 2), "ab"))) is None
    with pytest.raises(StreamLost):
        told.take(frame(2, Delta((3,), "c")))


def test_a_hole_is_never_passed_over() -> None:
    told = Told()
    told.take(frame(0, Delta((1, 2), "ab")))
    with pytest.raises(StreamLost):
        told.take(frame(3, Delta((4,), "d")))


def test_the_admission_is_told_once() -> None:
    told = Told()
    assert told.take(frame(0, Admission("a:1", 3, 0, 1.0))) is not None
    assert told.take(frame(0, Admission("b:1", 3, 0, 2.0), attempt=2)) is None


def test_a_good_end_needs_all_that_was_shown_but_a_bad_one_may_come_early() -> None:
    told = Told()
    told.take(frame(0, Delta((1, 2), "ab")))
    told.begin_again()
    with pytest.raises(StreamLost):
        told.take(frame(0, End("finished", 1, 1, 0, 2.0)))
    assert not told.ended
    assert told.take(frame(0, End("expired", 1, 0, 0, 2.0))) is not None
    assert told.ended
