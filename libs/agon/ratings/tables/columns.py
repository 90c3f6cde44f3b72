"""Which column is what: guessed from the names that public data sets use, or told.

| data | columns |
|---|---|
| Arena's human-preference sets, FastChat's clean battles | model_a, model_b, winner, tstamp, judge, language, anony |
| Kaggle's LMSYS set | model_a, model_b, winner_model_a, winner_model_b, winner_tie |
| FastChat's logs | type (leftvote, ...), states[].model_name, ip, tstamp |
| evalica, llmfao | left, right, winner, worker, prompt |
| leaderbot's counts | models, X, Y |
| lists of wins (choix) | winner, loser |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from agon.errors import InvalidRequest

NAMES: Mapping[str, tuple[str, ...]] = {
    "left": ("model_a", "left", "model_left", "model_1", "model_x", "a"),
    "right": ("model_b", "right", "model_right", "model_2", "model_y", "b"),
    "outcome": ("winner", "outcome", "result", "preference", "vote"),
    "voter": ("voter", "judge", "judge_hash", "worker", "annotator", "user", "user_id", "voter_id"),
    "prompt": ("prompt_id", "prompt"),
    "time": ("voted_at", "timestamp", "tstamp", "created_at", "time", "date"),
    "id": ("vote_id",),
    "count": (),
    "named": ("anony",),
    "left_text": ("conversation_a", "response_a", "answer_a", "output_a", "result_x", "text_a"),
    "right_text": ("conversation_b", "response_b", "answer_b", "output_b", "result_y", "text_b"),
}
"""The names that each role is looked for under, the likelier first. Counts are never guessed."""

_ONE_HOT = ("winner_model_a", "winner_model_b", "winner_tie")
_LOG = ("type", "states")
_LOG_WORDS = ("leftvote", "rightvote", "tievote", "bothbad_vote")


@dataclass(frozen=True, slots=True)
class Columns:
    """The column of each role; None where a file has none."""

    left: str
    right: str
    outcome: str
    voter: str | None = None
    prompt: str | None = None
    time: str | None = None
    id: str | None = None
    count: str | None = None
    """How many votes a row stands for."""
    sides: bool = True
    """whether left and right are where the answers stood"""
    left_text: str | None = None
    """The left answer: text, or a conversation as a list of {role, content}."""
    right_text: str | None = None
    named: str | None = None
    """False where voters knew the models' names: such votes are left out."""


def understand(frame: pl.LazyFrame, names: Sequence[str], told: Mapping[str, str]) -> tuple[pl.LazyFrame, Columns]:
    """The frame, with columns made where a format spreads them, and their roles; what is `told` goes before a guess.

    Raises `InvalidRequest` for a told column that is not there, and where left, right or outcome can't be found.
    """
    for role, name in told.items():
        if name not in names:
            raise InvalidRequest(f"no column {name!r} for {role}: the columns are {', '.join(names)}", param=role)
    if not {"left", "right"} & told.keys():
        frame, names = _spread(frame, names)
    found = {role: told.get(role) or _first(role, names) for role in NAMES}
    sides = True
    if "outcome" not in told and found["outcome"] == "winner" and "loser" in names and found["left"] is None:
        frame = frame.with_columns(outcome=pl.lit("a"))
        found |= {"left": "winner", "right": "loser", "outcome": "outcome"}
        sides = False
    if found["outcome"] is None and {*_ONE_HOT[:2]} <= set(names):
        frame, found["outcome"] = frame.with_columns(winner=_one_hot(names)), "winner"
    if found["left"] in ("left", "a") and found["right"] not in ("right", "b"):
        found["left"] = None
    missing = [role for role in ("left", "right", "outcome") if found[role] is None]
    if missing:
        options = " ".join(f"--{role} COLUMN" for role in missing)
        raise InvalidRequest(
            f"which column is {' and which is '.join(missing)}? The columns are {', '.join(names)}: say {options}",
            param=missing[0],
        )
    left, right, outcome = (str(found.pop(role)) for role in ("left", "right", "outcome"))
    return frame, Columns(left, right, outcome, sides=sides, **found)


def _first(role: str, names: Sequence[str]) -> str | None:
    return next((name for name in NAMES[role] if name in names), None)


def _spread(frame: pl.LazyFrame, names: Sequence[str]) -> tuple[pl.LazyFrame, Sequence[str]]:
    """FastChat's logs keep a battle as one event: two states and a type. Events that are no votes are left out."""
    if not set(_LOG) <= set(names) or "model_a" in names:
        return frame, names
    side = pl.col("states").list
    frame = frame.filter(pl.col("type").is_in(_LOG_WORDS)).with_columns(
        model_a=side.get(0, null_on_oob=True).struct.field("model_name"),
        model_b=side.get(1, null_on_oob=True).struct.field("model_name"),
        winner=pl.col("type"),
    )
    made = ["model_a", "model_b", "winner"]
    if "models" in names:  # the names that the voter saw before the vote: empty in a blind battle
        frame = frame.with_columns(anony=pl.col("models").list.eval(pl.element() == "").list.all())
        made.append("anony")
    if "ip" in names:
        frame = frame.with_columns(voter=pl.col("ip"))
        made.append("voter")
    return frame, [*names, *made]


def _one_hot(names: Sequence[str]) -> pl.Expr:
    def said(name: str) -> pl.Expr:
        return pl.col(name).cast(pl.String).is_in(["1", "1.0", "true", "True"])

    word = pl.when(said(_ONE_HOT[0])).then(pl.lit("a")).when(said(_ONE_HOT[1])).then(pl.lit("b"))
    if _ONE_HOT[2] in names:
        word = word.when(said(_ONE_HOT[2])).then(pl.lit("tie"))
        return word.otherwise(None)
    return word.otherwise(pl.lit("tie"))
