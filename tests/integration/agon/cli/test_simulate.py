"""`agon simulate` against a small arena of this test's own: who is right, what goes wrong, what is printed."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import CliRunner, Result

from agon.cli import main
from agon.cli.simulate import judge


class Arena(ThreadingHTTPServer):
    """Side a is always right, side b always wrong; what is in `trouble` happens first."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.trouble: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.votes: list[dict[str, Any]] = []
        self.sessions: set[str] = set()
        self.playing = self.most_playing = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def happens(self) -> str | None:
        with self.lock:
            return self.trouble.pop(0) if self.trouble else None


class _Handler(BaseHTTPRequestHandler):
    server: Arena

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.startswith("/arena/leaderboard"):
            votes = len(self.server.votes)
            row = {"rank": 1, "rank_best": 1, "rank_worst": 1, "model": "right", "rating": 1100.0, "lower": 1000.0,
                   "upper": 1200.0, "votes": votes}  # fmt: skip
            self._answer(200, {"arena": "main", "slice": "overall", "method": "bradley_terry", "as_of": votes,
                               "votes": votes, "rows": [row]})  # fmt: skip
            return
        question = self.server.asked[int(self.path.split("/")[3])]["messages"]
        right = _ANSWERS[json.dumps(question)]
        self.send_response(200)
        self.end_headers()
        if self.server.happens() == "failed side":
            events = [("failed", {"side": "b", "error": {}}), ("end", {})]
        else:
            events = [("delta", {"side": "a", "text": right[:3]}), ("delta", {"side": "b", "text": "\u2603"}),
                      ("delta", {"side": "a", "text": right[3:]}), ("done", {}), ("end", {})]  # fmt: skip
        for name, data in events:
            self.wfile.write(f":pad\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        trouble = self.server.happens()
        if trouble == "busy":
            self._answer(503, {"error": {"message": "busy", "code": "unavailable"}})
        elif trouble == "broken":
            self._answer(400, {"error": {"message": "this arena is broken", "code": "bad"}})
        elif self.path.endswith("/vote"):
            with self.server.lock:
                self.server.playing -= 1
                self.server.votes.append(body)
                self.server.sessions.add(self.headers.get("cookie", ""))
            self._answer(200, {"vote_id": "v", "outcome": body["outcome"], "models": {"a": "right", "b": "wrong"}})
        else:
            with self.server.lock:
                number = len(self.server.asked)
                self.server.asked.append(body)
                self.server.playing += 1
                self.server.most_playing = max(self.server.most_playing, self.server.playing)
            made = {"battle_id": str(number), "ticket": "t", "stream": f"/arena/battles/{number}/stream"}
            cookie = None if self.headers.get("cookie") else f"agon_session=s{number}; Path=/arena"
            self._answer(201, made, cookie)

    def _answer(self, status: int, body: Any, cookie: str | None = None) -> None:
        self.send_response(status)
        if cookie:
            self.send_header("set-cookie", cookie)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())


_ANSWERS: dict[str, str] = {}


@pytest.fixture
def arena() -> Iterator[Arena]:
    from itertools import islice

    from agon.nano.skills import held_out

    for seed in (0, 7):
        _ANSWERS.update({json.dumps(item.messages): item.answer for item in islice(held_out(seed), 200)})
    with Arena() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def simulate(arena: Arena, *options: str) -> Result:
    return CliRunner().invoke(main, ["simulate", "--url", arena.url, *options])


def test_voters_judge_by_rule_and_the_board_is_printed(arena: Arena) -> None:
    result = simulate(arena, "--votes", "20", "--concurrency", "4")
    assert result.exit_code == 0, result.output
    assert [vote["outcome"] for vote in arena.votes] == ["a"] * 20
    assert all(vote["ticket"] == "t" for vote in arena.votes)
    assert all(asked["voter_kind"] == "simulated" and asked["arena"] == "main" for asked in arena.asked)
    assert "right" in result.stdout
    assert "1100" in result.stdout
    assert "20 votes in" in result.stdout


def test_each_voter_is_one_session_and_no_more_play_at_once_than_allowed(arena: Arena) -> None:
    assert simulate(arena, "--votes", "20", "--concurrency", "3").exit_code == 0
    assert len(arena.sessions) <= 3
    assert all(session.startswith("agon_session=") for session in arena.sessions)
    assert arena.most_playing <= 3


def test_json_is_one_object_and_nothing_else(arena: Arena) -> None:
    result = simulate(arena, "--votes", "5", "--json")
    told = json.loads(result.stdout)
    assert (told["votes"], told["outcomes"]) == (5, {"a": 5, "b": 0, "tie": 0, "both_bad": 0})
    assert told["board"]["rows"][0]["model"] == "right"
    assert result.stderr == ""


def test_the_seed_chooses_the_questions(arena: Arena) -> None:
    for seed in ("7", "7", "0"):
        assert simulate(arena, "--votes", "4", "--concurrency", "1", "--seed", seed).exit_code == 0
    asked = [each["messages"] for each in arena.asked]
    assert asked[:4] == asked[4:8] != asked[8:]


def test_a_busy_arena_is_waited_for_and_a_failed_battle_played_again(arena: Arena) -> None:
    arena.trouble = ["busy", "failed side", "busy"]
    result = simulate(arena, "--votes", "3", "--concurrency", "1", "--json")
    assert result.exit_code == 0, result.output
    assert (json.loads(result.stdout)["votes"], len(arena.votes)) == (3, 3)


def test_an_arena_where_every_battle_fails_ends_with_one_line(arena: Arena) -> None:
    arena.trouble = [trouble for _ in range(20) for trouble in ("nothing", "failed side")]
    result = simulate(arena, "--votes", "3", "--concurrency", "1")
    assert result.exit_code == 2
    assert "9 battles failed" in result.stderr
    assert arena.votes == []


def test_an_error_that_does_not_go_away_is_told_in_one_line(arena: Arena) -> None:
    arena.trouble = ["broken"]
    result = simulate(arena, "--votes", "3", "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.strip() == "agon: this arena is broken"


def test_noise_makes_votes_random(arena: Arena) -> None:
    assert simulate(arena, "--votes", "60", "--noise", "1").exit_code == 0
    assert {vote["outcome"] for vote in arena.votes} == {"a", "b", "tie", "both_bad"}


@pytest.mark.parametrize(
    ("a", "b", "outcome"),
    [(True, True, "tie"), (True, False, "a"), (False, True, "b"), (False, False, "both_bad")],
)
def test_the_rule(a: bool, b: bool, outcome: str) -> None:
    assert judge(a, b) == outcome
