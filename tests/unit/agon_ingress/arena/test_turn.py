"""A turn while it runs: two scripted requests come in, clients read one stream of events."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from agon.arena.events import BUCKET, position
from agon.arena.pacing import Rates, Rules
from agon.errors import StreamLost
from agon.store.battles import SideEnd
from agon.stream.frames import Admission, Delta, End, Frame, decode, encode
from agon_ingress.arena.side import Frames
from agon_ingress.arena.turn import SIDE_FAILED, Diary, Turn

RULES = Rules(tick=0.002, window=0.006, start_timeout=60)
IMPATIENT = replace(RULES, start_timeout=0.3)
SECRET = ("fast-model", "slow-model")


class Script:
    """Frames of one request: pieces of text with a pause before each, then an end; or an error, or nothing ever."""

    def __init__(
        self, pieces: Sequence[str], pause: float = 0.0, error: Exception | None = None, status: str = "finished"
    ) -> None:
        self._pieces = list(pieces)
        self._pause = pause
        self._error = error
        self._status = status
        self._at = 0
        self.closed = False

    async def open(self) -> Frames:
        return self

    async def take(self) -> list[Frame]:
        await asyncio.sleep(self._pause)
        if self._pieces:
            at, self._at = self._at, self._at + 1
            return [_frame(at, Delta((1,), self._pieces.pop(0), None if self._pieces else "stop"))]
        if self._error is not None:
            raise self._error
        code = None if self._status == "finished" else "engine_failed"
        message = None if self._status == "finished" else "fast-model ran out of memory"
        return [_frame(self._at, End(self._status, 3, self._at, 0, 0.0, message, None, code))]

    async def close(self) -> None:
        self.closed = True


class Silent(Script):
    """A request of which nothing is ever heard but its admission."""

    async def take(self) -> list[Frame]:
        if self._at:
            await asyncio.Event().wait()
        self._at = 1
        return [_frame(0, Admission("w", 3, 0, 0.0))]


def _frame(at: int, body: Admission | Delta | End) -> Frame:
    return decode(encode("default/r", 0, at, 0, body))


class Book(list[str]):
    """A diary that notes what it was told, in order."""

    def __init__(self, pace: float = 4.0, since: float = 0.0) -> None:
        super().__init__()
        self.ends: tuple[SideEnd, SideEnd] | None = None
        self._pace, self._since = pace, since

    def diary(self) -> Diary:
        return Diary(self._shown, self._finished, self._done)

    async def _shown(self, _chosen: float) -> tuple[float, float]:
        self.append("shown")
        return self._pace, self._since

    async def _finished(self, a: SideEnd, b: SideEnd) -> None:
        self.append("finished")
        self.ends = (a, b)

    async def _done(self) -> None:
        self.append("done")


@asynccontextmanager
async def playing(a: Script, b: Script, book: Book | None = None) -> AsyncIterator[Turn]:
    turn = Turn(*SECRET, IMPATIENT if isinstance(a, Silent) else RULES, Rates())
    task = asyncio.create_task(turn.run(a.open, b.open, (Book() if book is None else book).diary(), 0.0))
    try:
        async with asyncio.timeout(60):
            yield turn
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


Event = tuple[str | None, str, dict]  # type: ignore[type-arg]


def parse(chunk: bytes) -> list[Event]:
    events = []
    for block in chunk.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if fields:
            events.append((fields.get("id"), fields["event"], json.loads(fields["data"])))
    return events


async def listen(turn: Turn, last: str | None = None, most: int | None = None) -> list[Event]:
    heard: list[Event] = []
    async for chunk in turn.events(*position(last), 5.0):
        heard += parse(chunk)
        if most is not None and len(heard) >= most:
            break
    return heard


def text(events: list[Event], side: str) -> str:
    return "".join(data["text"] for _, name, data in events if name == "delta" and data["side"] == side)


WORDS_A = ["The quick ", "brown fox ", "jumps", " over the lazy dog. "] * 5
WORDS_B = ["Ja: ", "e\u0301 ", "👍🏽", "!"]


async def test_both_answers_come_whole_and_the_end_of_both_comes_once() -> None:
    book = Book()
    async with playing(Script(WORDS_A), Script(WORDS_B, pause=0.003), book) as turn:
        events = await listen(turn)
    assert text(events, "a") == "".join(WORDS_A)
    assert text(events, "b") == "".join(WORDS_B)
    assert [name for _, name, _ in events if name != "delta"] == ["done", "end"]
    assert events[-2][2] == {"finish_reasons": {"a": "stop", "b": "stop"}}
    assert book == ["shown", "finished", "done"]
    assert book.ends is not None
    assert (book.ends[0].answer, book.ends[1].error) == ("".join(WORDS_A), None)


async def test_neither_side_is_ahead_of_the_other_before_one_is_complete() -> None:
    async with playing(Script(WORDS_A), Script(["b" * 7] * 9, pause=0.004)) as turn:
        events = await listen(turn)
    positions = [position(event_id) for event_id, name, data in events if name == "delta" and data["side"] == "b"]
    assert positions
    assert all(a == b or b == 63 for a, b in positions), "63 is all of b"


async def test_a_client_that_comes_back_misses_nothing_and_gets_nothing_twice() -> None:
    async with playing(Script(WORDS_A), Script(WORDS_B)) as turn:
        whole = await listen(turn)
        ids = [event_id for event_id, name, _ in whole if name == "delta"]
        for cut, last in enumerate(ids, 1):
            rest = await listen(turn, last)
            for side in ("a", "b"):
                assert text(whole[:cut], side) + text(rest, side) == text(whole, side)


async def test_two_clients_and_a_late_one_read_the_same() -> None:
    async with playing(Script(WORDS_A, pause=0.002), Script(WORDS_B, pause=0.002)) as turn:
        first, second = await asyncio.gather(listen(turn), listen(turn))
        late = await listen(turn)
    for side in ("a", "b"):
        assert text(first, side) == text(second, side) == text(late, side)


async def test_a_position_beyond_what_is_shown_moves_nothing() -> None:
    async with playing(Script(WORDS_A), Script(WORDS_B)) as turn:
        events = await listen(turn, "0-99999")
    assert text(events, "a") == "".join(WORDS_A)
    assert text(events, "b") == ""


@pytest.mark.parametrize(
    "broken",
    [
        Script(["Half of "], status="failed"),
        Script([], status="failed"),
        Script(["Half"], error=StreamLost("fast-model lost it")),
        Silent([]),
    ],
    ids=["in the middle", "at once", "stream lost", "never begins"],
)
async def test_a_failed_side_is_told_at_the_end_and_not_why(broken: Script) -> None:
    book = Book()
    raw = b""
    async with playing(broken, Script(WORDS_B), book) as turn:
        async for chunk in turn.events(0, 0, 5.0):
            raw += chunk
    events = parse(raw)
    assert [name for _, name, _ in events if name != "delta"] == ["failed", "end"]
    assert events[-2][2] == {"side": "a", "error": SIDE_FAILED}
    assert text(events, "b") == "".join(WORDS_B)
    assert not any(name.encode() in raw for name in (*SECRET, "engine_failed", "stream_lost"))
    assert book.ends is not None
    assert book.ends[0].error is not None
    assert book.ends[1].error is None


async def test_nothing_is_told_before_it_is_stored() -> None:
    turn = Turn(*SECRET, RULES, Rates())
    may_show, may_finish = asyncio.Event(), asyncio.Event()

    async def shown(_chosen: float) -> tuple[float, float]:
        await may_show.wait()
        return 4.0, 0.0

    async def finished(_a: SideEnd, _b: SideEnd) -> None:
        await may_finish.wait()

    async def done() -> None:
        pass

    diary = Diary(shown, finished, done)
    task = asyncio.create_task(turn.run(Script(WORDS_B).open, Script(WORDS_B).open, diary, None))
    heard: list[str] = []

    async def hear() -> None:
        async for chunk in turn.events(0, 0, 5.0):
            heard.extend(name for _, name, _ in parse(chunk))

    hearing = asyncio.create_task(hear())
    await asyncio.sleep(RULES.window * 5)
    assert heard == []
    may_show.set()
    async with asyncio.timeout(60):
        while not turn.shown.complete:  # noqa: ASYNC110  there is no event for it: nothing is told
            await asyncio.sleep(0.001)
        await asyncio.sleep(RULES.tick * 3)
        assert set(heard) == {"delta"}
        may_finish.set()
        await asyncio.gather(task, hearing)
    assert heard[-2:] == ["done", "end"]


async def test_a_turn_that_is_cut_ends_its_streams_without_an_end() -> None:
    turn = Turn(*SECRET, RULES, Rates())
    task = asyncio.create_task(turn.run(Script(WORDS_A, 0.01).open, Silent([]).open, Book().diary(), None))
    hearing = asyncio.create_task(listen(turn))
    await asyncio.sleep(0.02)
    task.cancel()
    assert await asyncio.wait_for(hearing, 60) == []
    await asyncio.gather(task, return_exceptions=True)


async def test_a_process_that_takes_over_goes_on_where_the_showing_would_be() -> None:
    book = Book(pace=2.0, since=RULES.tick * 10)
    async with playing(Script(["x" * 100]), Script(["y" * 100]), book) as turn:
        first = await listen(turn, most=1)
    assert first[0][0] is not None
    assert len(text(first, "a")) == 16, "a client still gets it in steps"
    assert turn.shown.a >= 22


async def test_a_turn_that_was_told_before_is_told_again_at_once() -> None:
    turn = Turn(*SECRET, RULES, Rates())
    turn.replay(SideEnd("one", "stop", None, None, None, None), SideEnd("two words", "length", None, None, None, None))
    events = await listen(turn)
    assert (text(events, "a"), text(events, "b")) == ("one", "two words")
    assert events[-2][2] == {"finish_reasons": {"a": "stop", "b": "length"}}


async def test_silence_is_filled_with_comments() -> None:
    async with playing(Silent([]), Silent([])) as turn:
        chunks = turn.events(0, 0, 0.01)
        first = await anext(chunks)
        assert first.startswith(b":")
        assert parse(first) == []
        await chunks.aclose()


async def test_every_delta_is_one_bucket_and_every_request_is_closed() -> None:
    a, b = Script(WORDS_A), Script(WORDS_B)
    async with playing(a, b) as turn:
        sizes = [len(chunk) async for chunk in turn.events(0, 0, 5.0)]
    assert all(size % BUCKET == 0 for size in sizes)
    assert a.closed
    assert b.closed
