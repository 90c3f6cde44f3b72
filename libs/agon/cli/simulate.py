"""`agon simulate`: voters that judge by rule fill the board, through the public HTTP API and nothing else."""

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from agon.cli.numbers import NumberRange
from agon.cli.server import events, get, post
from agon.cli.stack import find_url
from agon.errors import AgonError, SetupError

if TYPE_CHECKING:
    from agon.nano.skills import Item

OUTCOMES = ("a", "b", "tie", "both_bad")
BUSY = frozenset({"rate_limit_exceeded", "unavailable", "model_not_served"})
"""Errors that go away: a voter waits and tries again."""
PATIENCE_SECONDS = 60.0
BOARD_SECONDS = 30.0
TRIES_PER_VOTE = 3
"""A battle that fails is played again; after so many battles per vote something is wrong."""


@dataclass(slots=True)
class Voter:
    """One session. It asks, reads both answers as far as they may be right, and votes for the right one."""

    url: str
    arena: str
    noise: float
    draw: random.Random
    cookie: dict[str, str] = field(default_factory=dict)

    def play(self, item: "Item") -> str | None:
        """One battle: the outcome that was voted, None where a side failed. Raises `AgonError`."""
        asked = {"messages": list(item.messages), "arena": self.arena, "voter_kind": "simulated"}
        made = self._patiently("/arena/battles", asked)
        answers = {"a": "", "b": ""}
        done = False
        # An answer that is half as long again as any right one is lost, and some of them never end: nobody reads on.
        longest = len(item.answer) * 3 // 2 + 50
        for name, data in events(self.url, made["stream"]):
            if name == "delta":
                answers[data["side"]] += data["text"]
            done = done or name == "done" or max(map(len, answers.values())) > longest
            if done and name == "delta":
                break
            if name == "end":
                break
        if not done:
            return None
        outcome = self._judge(item, answers)
        vote = {"outcome": outcome, "ticket": made["ticket"]}
        self._patiently(f"/arena/battles/{made['battle_id']}/vote", vote)
        return outcome

    def _judge(self, item: "Item", answers: dict[str, str]) -> str:
        if self.draw.random() < self.noise:
            return self.draw.choice(OUTCOMES)
        return judge(item.is_right(answers["a"]), item.is_right(answers["b"]))

    def _patiently(self, path: str, body: dict[str, Any]) -> Any:
        """POST, again while the house says that it is busy. A vote is safe to send again: it counts once."""
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer, cookie = post(self.url, path, body, self.cookie)
            except AgonError as error:
                if error.code not in BUSY or time.monotonic() > ends_at:
                    raise
                time.sleep(0.5)
                continue
            if cookie is not None:
                self.cookie = {"cookie": cookie}
            return answer


def judge(a_is_right: bool, b_is_right: bool) -> str:
    """The rule: the right one wins; both right is a tie, both wrong is both bad."""
    if a_is_right == b_is_right:
        return "tie" if a_is_right else "both_bad"
    return "a" if a_is_right else "b"


@dataclass(slots=True)
class Tally:
    """What has happened so far."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failed: int = 0

    @property
    def votes(self) -> int:
        return self.outcomes.total()


@click.command()
@click.option("--votes", type=click.IntRange(min=1), required=True, help="How many votes to cast.")
@click.option("--url", help="Where agon answers; found by itself for a stack that runs here.")
@click.option("--data", default=".agon", show_default=True, help="The data folder of the stack, to find its address.")
@click.option("--arena", default="main", show_default=True, help="Where to play.")
@click.option("--seed", default=0, show_default=True, help="Chooses the questions; the server draws the pairs.")
@click.option("--concurrency", type=click.IntRange(1, 256), default=8, show_default=True, help="Battles at once.")
@click.option("--noise", type=NumberRange(0, 1), default=0.0, show_default=True, help="Share of random votes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of progress and a table.")
def simulate(
    votes: int, url: str | None, data: str, arena: str, seed: int, concurrency: int, noise: float, as_json: bool
) -> None:
    """Fill a board with votes about something true.

    Rule-based voters ask held-out questions of the bundled models' skills in blind battles, and vote for the answer
    that is right: a tie if both are, both bad if none is. They use the public HTTP API like everybody else.

    \b
    Example:
      agon simulate --votes 500
    """
    url = find_url(url, data)
    before = get(url, f"/arena/leaderboard?arena={quote(arena)}")
    began = time.monotonic()
    tally = Tally()
    with _progress(votes, quiet=as_json) as told:
        _cast(
            votes,
            [Voter(url, arena, noise, random.Random(f"{seed}/{n}")) for n in range(concurrency)],
            seed,
            tally,
            told,
        )
    seconds = time.monotonic() - began
    board = _board(url, arena, before["as_of"] + tally.votes)
    if as_json:
        outcomes = {outcome: tally.outcomes[outcome] for outcome in OUTCOMES}
        click.echo(
            json.dumps(
                {
                    "votes": tally.votes,
                    "outcomes": outcomes,
                    "failed": tally.failed,
                    "seconds": round(seconds, 3),
                    "board": board,
                }
            )
        )
        return
    _show(board, tally, seconds)


def _cast(votes: int, voters: list[Voter], seed: int, tally: Tally, told: Callable[[Tally], None]) -> None:
    """Let the voters play until there are enough votes. Raises the first error that a voter could not wait out."""
    from agon.nano.skills import held_out

    questions = islice(held_out(seed), votes * TRIES_PER_VOTE)
    idle = list(voters)
    playing: dict[Future[str | None], Voter] = {}
    with ThreadPoolExecutor(len(voters), thread_name_prefix="voter") as threads:
        while tally.votes < votes:
            while idle and tally.votes + len(playing) < votes and (item := next(questions, None)) is not None:
                voter = idle.pop()
                playing[threads.submit(voter.play, item)] = voter
            if not playing:
                raise SetupError(f"{tally.failed} battles failed: look at `agon status` and the workers' logs")
            for future in wait(playing, return_when=FIRST_COMPLETED).done:
                idle.append(playing.pop(future))
                outcome = future.result()
                if outcome is None:
                    tally.failed += 1
                else:
                    tally.outcomes[outcome] += 1
                told(tally)


def _board(url: str, arena: str, as_of: int) -> Any:
    """The board, once it knows the vote with this number; or as it is, if that takes too long."""
    ends_at = time.monotonic() + BOARD_SECONDS
    while True:
        board = get(url, f"/arena/leaderboard?arena={quote(arena)}")
        if board["as_of"] >= as_of:
            return board
        if time.monotonic() > ends_at:
            click.echo(f"The board knows {board['as_of']} of {as_of} votes so far.", err=True)
            return board
        time.sleep(0.2)


@contextmanager
def _progress(votes: int, quiet: bool) -> Iterator[Callable[[Tally], None]]:
    """A bar on standard error, with the outcomes so far."""
    if quiet:
        yield lambda tally: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("votes"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=votes)

        def told(tally: Tally) -> None:
            outcomes = "  ".join(f"{outcome} {tally.outcomes[outcome]}" for outcome in OUTCOMES)
            failed = f"  failed {tally.failed}" if tally.failed else ""
            progress.update(task, completed=tally.votes, description=outcomes + failed)

        yield told


def _show(board: Any, tally: Tally, seconds: float) -> None:
    from agon.cli.board import board_console, board_table
    from agon.ratings import Rated, Unranked

    rows = [Rated(**{name: row[name] for name in Rated._fields}) for row in board["rows"]]
    unranked = [Unranked(**{name: row[name] for name in Unranked.__slots__}) for row in board.get("unranked", ())]
    console = board_console()
    title = f"{board['arena']} / {board['slice']}, {board['votes']} votes"
    console.print(board_table(rows, unranked, console, title))
    console.print(f"{tally.votes} votes in {seconds:.0f} s, {tally.votes / seconds:.1f} a second")
