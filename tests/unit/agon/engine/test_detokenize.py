"""Text from bytes: whole characters, stop strings never shown, nothing lost."""

from hypothesis import given
from hypothesis import strategies as st

from agon.engine.detokenize import StopScanner, TextStream


def reference(text: str, stops: list[str]) -> tuple[str, bool]:
    """Read character by character; the first complete stop string ends the text, the longest of those ending there."""
    for end in range(1, len(text) + 1):
        ending = [stop for stop in stops if text[:end].endswith(stop)]
        if ending:
            return text[: end - max(map(len, ending))], True
    return text, False


few = st.text(alphabet="abé🌱", max_size=40)
stop_strings = st.lists(st.text(alphabet="abé🌱", min_size=1, max_size=5), max_size=4)


@given(few, stop_strings, st.lists(st.integers(1, 5), max_size=80))
def test_any_cutting_of_any_text_shows_what_plain_reading_shows(text: str, stops: list[str], cuts: list[int]) -> None:
    data = text.encode()
    expected, stopped = reference(text, stops)
    stream, shown, at = TextStream(stops), "", 0
    for cut in [*cuts, len(data)]:
        shown += stream.push(data[at : at + cut])
        assert expected.startswith(shown)
        at += cut
        if stream.stopped:
            break
    if not stream.stopped:
        shown += stream.close()
    assert (shown, stream.stopped) == (expected, stopped)


@given(few, stop_strings)
def test_no_more_is_held_back_than_may_become_a_stop_string(text: str, stops: list[str]) -> None:
    scanner = StopScanner(stops)
    shown = "".join(scanner.push(character) for character in text)
    if not scanner.stopped:
        held = text[len(shown) :]
        assert not held or any(stop.startswith(held) and stop != held for stop in stops)


@given(st.lists(st.binary(max_size=6), max_size=12))
def test_any_bytes_become_the_text_that_decoding_them_at_once_gives(chunks: list[bytes]) -> None:
    stream = TextStream()
    text = "".join(stream.push(chunk) for chunk in chunks) + stream.close()
    assert text == b"".join(chunks).decode("utf-8", "replace")
    text.encode()


def test_a_character_in_pieces_is_shown_when_it_is_whole() -> None:
    stream = TextStream()
    assert [stream.push(bytes([byte])) for byte in "🌱".encode()] == ["", "", "", "🌱"]
    assert stream.close() == ""


def test_half_a_character_at_the_end_is_a_replacement_character() -> None:
    stream = TextStream()
    assert stream.push("né".encode()[:-1]) == "n"
    assert stream.close() == "\ufffd"


def test_what_was_held_back_comes_when_the_text_ends_otherwise() -> None:
    stream = TextStream(["</end>"])
    assert stream.push(b"go on </en") == "go on "
    assert stream.close() == "</en"


def test_a_stop_string_across_pushes_ends_the_text_before_it() -> None:
    stream = TextStream(["</end>"])
    assert stream.push(b"done</e") + stream.push(b"nd> and more") == "done"
    assert stream.stopped


@given(few, stop_strings, st.lists(st.integers(1, 5), max_size=80), st.integers(0, 40))
def test_a_stop_string_counts_only_where_the_answer_may_end(
    text: str, stops: list[str], cuts: list[int], least: int
) -> None:
    """The answer may end from so many characters on, and where it may, nothing changes."""
    expected, stopped = text, False
    for end in range(1, len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop) and end - len(stop) >= least]
        if starts:
            expected, stopped = text[: min(starts)], True
            break
    passed = ""

    def may_end(new: str, rest: str) -> bool:
        nonlocal passed
        passed += new
        assert text.startswith(passed + rest)
        return len(passed + rest) >= least

    stream, shown, at = TextStream(stops, may_end), "", 0
    data = text.encode()
    for cut in [*cuts, len(data)]:
        shown += stream.push(data[at : at + cut])
        assert expected.startswith(shown)
        at += cut
        if stream.stopped:
            break
    if not stream.stopped:
        shown += stream.close()
    assert (shown, stream.stopped) == (expected, stopped)
