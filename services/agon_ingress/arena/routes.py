"""The arena over HTTP: battles, turns, votes. No answer names a model before the voter's own vote."""

import re
import secrets
from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from agon.arena.events import position
from agon.messages.base import Id
from agon.store.leaderboard import METHOD, OVERALL, Board
from agon_ingress.access.callers import caller_of
from agon_ingress.arena.arena import Arena
from agon_ingress.arena.bodies import BattleMade, NewBattle, NewTurn, NewVote, TurnMade, VoteTaken
from agon_ingress.arena.rows import facts_of, read_battle
from agon_ingress.bodies.fields import ignored_header

router = APIRouter(prefix="/arena", tags=["arena"])

SESSION_COOKIE = "agon_session"
_SESSION = re.compile(r"^[A-Za-z0-9_-]{16,128}$")
Name = Annotated[str, Query(min_length=1, max_length=128, pattern=r"^[!-~]+$")]
STREAM_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


def _arena(request: Request) -> Arena:
    arena: Arena = request.app.state.arena
    return arena


def _session(request: Request) -> str | None:
    """The session that the client sent, None where it sent none (or nothing that we gave out)."""
    sent = request.cookies.get(SESSION_COOKIE)
    return sent if sent is not None and _SESSION.match(sent) else None


def _event_stream(arena: Arena, events: AsyncGenerator[bytes]) -> StreamingResponse:
    return StreamingResponse(arena.streams.count(events), media_type="text/event-stream", headers=STREAM_HEADERS)


@router.post("/battles", status_code=201)
async def create_battle(asked: NewBattle, request: Request, response: Response) -> BattleMade:
    """Two models answer `prompt` or `messages`, and nobody tells which. Read `stream`, then vote with `ticket`."""
    response.headers.update(ignored_header(asked.ignored))
    session = _session(request)
    if session is None:
        session = secrets.token_urlsafe(32)
        response.set_cookie(
            SESSION_COOKIE, session, path="/arena", httponly=True, samesite="lax", secure=request.url.scheme == "https"
        )
    return await _arena(request).battles.begin(caller_of(request), asked, session)


@router.get("/battles/{battle_id}/stream", response_class=StreamingResponse)
async def stream_battle(
    battle_id: str,
    request: Request,
    turn: Annotated[int | None, Query(ge=1)] = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> StreamingResponse:
    """Both answers of a turn (the last one, unless told) as server-sent events: `delta`, then `done` or `failed`, then
    `end`. An event's id counts the characters shown of both sides: with `Last-Event-ID` the stream goes on behind it,
    on any ingress."""
    arena = _arena(request)
    arena.streams.check()
    battle, turns = await read_battle(arena.house, caller_of(request).tenant, battle_id)
    number = facts_of(battle, turns).turn(turn).number
    running = await arena.turns.find(battle, turns[number - 1])
    events = running.events(*position(last_event_id), arena.house.settings.heartbeat_every.total_seconds())
    return _event_stream(arena, events)


@router.post("/battles/{battle_id}/turns", status_code=201)
async def create_turn(battle_id: str, asked: NewTurn, request: Request, response: Response) -> TurnMade:
    """Ask both sides the next question, each with its own answers as context."""
    response.headers.update(ignored_header(asked.ignored))
    return await _arena(request).battles.ask_further(caller_of(request), battle_id, asked, _session(request))


@router.post("/battles/{battle_id}/vote")
async def create_vote(battle_id: str, cast: NewVote, request: Request, response: Response) -> VoteTaken:
    """Vote, and learn the names. The same vote again gives the same answer; another outcome is refused (409)."""
    response.headers.update(ignored_header(cast.ignored))
    return await _arena(request).votes.cast(caller_of(request).tenant, battle_id, cast, _session(request))


@router.get("/leaderboard")
async def get_leaderboard(request: Request, arena: Id = "main", slice: Name = OVERALL, method: Name = METHOD) -> Board:
    """The board of an arena. One without votes has no rows and says `votes: 0`; an unknown arena is a 404."""
    return await _arena(request).boards.read(caller_of(request).tenant, arena, slice, method)


@router.get("/leaderboard/stream", response_class=StreamingResponse)
async def stream_leaderboard(
    request: Request, arena: Id = "main", slice: Name = OVERALL, method: Name = METHOD
) -> StreamingResponse:
    """The same object as server-sent `board` events: at once, and whenever it changes."""
    house, tenant = _arena(request), caller_of(request).tenant
    house.streams.check()
    await house.boards.read(tenant, arena, slice, method)  # an unknown arena is a 404, not an empty stream
    return _event_stream(house, house.boards.events(tenant, arena, slice, method))
