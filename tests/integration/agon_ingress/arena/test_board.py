"""Boards over HTTP: read, and pushed when they change."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest

from agon.messages import now
from agon.store.leaderboard import Board, BoardRow, LiveBoard, publish
from agon_ingress.arena.board import Boards as BoardStreams
from integration.agon_ingress.conftest import Ingress, MakeSettings, eventually, serving

pytestmark = pytest.mark.servers

FIELDS = ["arena", "slice", "method", "as_of", "votes", "rows"]


@dataclass
class Boards:
    ingress: Ingress
    http: httpx.AsyncClient

    async def publish(self, as_of: int, tell: bool = True) -> None:
        """As rating_compute does: the tables, then the channel."""
        house = self.ingress.house
        rows = tuple(
            BoardRow(rank=n, rank_best=1, rank_worst=2, model=f"m{n}", rating=1000, lower=900, upper=1100, votes=as_of)
            for n in (1, 2)
        )
        board = Board(arena="main", as_of=as_of, votes=as_of, rows=rows, published_at=now())
        assert await publish(house.pool, [LiveBoard("default", board, 1e-9)])
        if tell:
            await house.redis.publish(
                house.settings.keys.board, json.dumps({"arena": "main", "slice": "overall", "as_of": as_of})
            )

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        async with self.http.stream("GET", "/arena/leaderboard/stream") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            yield _boards(response)


async def _boards(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    name = ""
    async for line in response.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            assert name == "board", line
            yield json.loads(line.removeprefix("data: "))


@asynccontextmanager
async def serving_boards(make_settings: MakeSettings, database_url: str, silence: float) -> AsyncIterator[Boards]:
    """`silence`: seconds after which a stream looks for itself whether its board has changed."""
    every = timedelta(seconds=silence)
    settings = make_settings(postgres_url=database_url, session_secret="s", heartbeat_every=every)
    async with (
        serving(settings) as ingress,
        httpx.AsyncClient(base_url=ingress.url, timeout=60) as http,
    ):
        await eventually(lambda: ingress.house.health.problems["postgres"] is None)
        yield Boards(ingress, http)


@pytest.fixture
async def boards(make_settings: MakeSettings, database_url: str) -> AsyncIterator[Boards]:
    async with serving_boards(make_settings, database_url, silence=0.5) as served:
        yield served


async def test_an_empty_board_explains_itself(boards: Boards) -> None:
    board = (await boards.http.get("/arena/leaderboard")).json()
    assert {name: board[name] for name in FIELDS} == {
        "arena": "main", "slice": "overall", "method": "bradley_terry", "as_of": 0, "votes": 0, "rows": [],
    }  # fmt: skip


async def test_a_board_has_the_promised_shape(boards: Boards) -> None:
    await boards.publish(7)
    board = (await boards.http.get("/arena/leaderboard?arena=main&slice=overall&method=bradley_terry")).json()
    assert set(FIELDS) <= set(board)
    assert (board["as_of"], board["votes"]) == (7, 7)
    promised = {"rank", "rank_best", "rank_worst", "model", "rating", "lower", "upper", "votes"}
    assert all(set(row) == promised for row in board["rows"])
    assert [row["model"] for row in board["rows"]] == ["m1", "m2"]


async def test_a_board_that_is_not_there(boards: Boards) -> None:
    wrong = {"arena=nowhere": 404, "slice=no": 404, "method=guess": 400, "arena=a%00": 400, "slice=a%00": 400}
    for query, status in wrong.items():
        for path in ("/arena/leaderboard", "/arena/leaderboard/stream"):
            response = await boards.http.get(f"{path}?{query}")
            assert response.status_code == status, response.text
            assert set(response.json()["error"]) == {"message", "type", "param", "code"}


async def test_a_changed_board_is_pushed_to_all_who_watch(make_settings: MakeSettings, database_url: str) -> None:
    # With so long a silence nobody looks: what comes was pushed.
    async with (
        serving_boards(make_settings, database_url, silence=600) as boards,
        asyncio.timeout(60),
        boards.stream() as one,
        boards.stream() as other,
    ):
        assert (await anext(one))["as_of"] == (await anext(other))["as_of"] == 0
        for as_of in (1, 2, 3):
            await boards.publish(as_of)
            assert (await anext(one))["as_of"] == (await anext(other))["as_of"] == as_of


async def test_a_change_that_nobody_told_is_found_after_a_silence(boards: Boards) -> None:
    async with asyncio.timeout(60), boards.stream() as stream:
        assert (await anext(stream))["as_of"] == 0
        await boards.publish(5, tell=False)
        assert (await anext(stream))["as_of"] == 5


async def test_streams_of_boards_end_when_the_process_stops(boards: Boards) -> None:
    watched = BoardStreams(boards.ingress.house)
    async with asyncio.timeout(60), watched.running():
        events = watched.events("default", "main", "overall", "bradley_terry")
        assert b"event: board" in await anext(events)
        watched.close()
        assert [event async for event in events] == []
