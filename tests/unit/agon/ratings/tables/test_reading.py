"""Tables of votes: formats, columns, words, and what is said where a row is no vote."""

import gzip
import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from agon.errors import InvalidRequest
from agon.ratings.tables import Question, VoteTable, moment, read, told_words

VOTES = [("x", "y", "a"), ("y", "x", "b"), ("x", "z", "tie"), ("z", "y", "both_bad"), ("x", "y", "a")]
FRAME = pl.DataFrame(VOTES, schema=["model_a", "model_b", "winner"], orient="row")
COUNTED = {("x", "y"): [2, 0, 0, 0], ("x", "z"): [0, 0, 1, 0], ("y", "x"): [0, 1, 0, 0], ("z", "y"): [0, 0, 0, 1]}


def counted(table: VoteTable) -> dict[tuple[str, str], list[int]]:
    cells = table.cells()
    pairs = zip(cells.left.tolist(), cells.right.tolist(), cells.counts.tolist(), strict=True)
    return {(cells.models[left], cells.models[right]): counts for left, right, counts in pairs}


def csv(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def write(kind: str, folder: Path) -> Path:
    """The same votes, in each format."""
    path = folder / f"votes.{kind}"
    text = FRAME.write_csv() if "csv" in kind else FRAME.write_ndjson()
    match kind:
        case "parquet":
            FRAME.write_parquet(path)
        case "csv" | "jsonl":
            path.write_text(text)
        case "csv.gz" | "jsonl.gz":
            path.write_bytes(gzip.compress(text.encode()))
        case "csv.zst":
            FRAME.write_csv(path, compression="zstd")
        case "tsv":
            FRAME.write_csv(path, separator="\t")
        case "semicolon":
            path.write_bytes(b"\xef\xbb\xbf" + FRAME.write_csv(separator=";").encode())
        case "json":
            path.write_text(json.dumps(FRAME.to_dicts(), indent=1))
        case "folder":
            (path / "day=1").mkdir(parents=True)
            (path / "day=2").mkdir()
            FRAME[:2].write_parquet(path / "day=1" / "part.parquet")
            FRAME[2:].write_parquet(path / "day=2" / "part.parquet")
    return path


KINDS = ["parquet", "csv", "csv.gz", "csv.zst", "tsv", "semicolon", "jsonl", "jsonl.gz", "json", "folder"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_same_votes(kind: str, tmp_path: Path) -> None:
    table = read(str(write(kind, tmp_path)), Question())
    assert table.votes.models == ("x", "y", "z")
    assert counted(table) == COUNTED
    assert (table.read, table.left_out) == (5, {})


@pytest.mark.parametrize("kind", ["parquet", "csv", "csv.gz", "jsonl", "json"])
def test_standard_input_is_read_like_a_file(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write(kind, tmp_path).read_bytes()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    assert counted(read("-", Question())) == COUNTED


def test_of_an_export_the_votes_that_count_are_read(tmp_path: Path) -> None:
    for table, frame in (("preferences", FRAME), ("votes", FRAME.with_columns(why=pl.lit("excluded")))):
        day = tmp_path / table / "arena=main" / "date=2026-11-27"
        day.mkdir(parents=True)
        frame.write_parquet(day / "0.parquet")
    (tmp_path / "manifest.json").write_text("{}")
    table = read(str(tmp_path), Question(carry=["arena"]))
    assert counted(table) == COUNTED
    assert table.carried["arena"].to_list() == ["main"] * 5


def test_what_a_file_is_does_not_follow_from_its_name(tmp_path: Path) -> None:
    disguised = tmp_path / "votes.csv"
    FRAME.write_parquet(disguised)
    assert counted(read(str(disguised), Question())) == COUNTED


def test_the_order_of_votes_and_of_first_appearance_changes_nothing(tmp_path: Path) -> None:
    forward, backward = csv(tmp_path / "f", FRAME.write_csv()), csv(tmp_path / "b", FRAME.reverse().write_csv())
    one, other = read(forward, Question()).cells(), read(backward, Question()).cells()
    assert one.models == other.models
    assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("left", "right", "counts"))


PUBLIC = {
    "Arena's words": ("model_a,model_b,winner\nx,y,model_a\nx,y,model_b\nx,y,tie\nx,y,tie (bothbad)\n", [1, 1, 1, 1]),
    "evalica's": ("left,right,winner\nx,y,left\nx,y,right\nx,y,tie\n", [1, 1, 1, 0]),
    "llmfao's": ("id,model_x,model_y,worker,winner,left,right\n0,7,8,w,left,x,y\n", [1, 0, 0, 0]),
    "points of the left": ("left,right,result\nx,y,1\nx,y,0.0\nx,y,0.5\n", [1, 1, 1, 0]),
    "the winner's name": ("model_a,model_b,winner\nx,y,x\nx,y,y\nx,y,y\nx,y,tie\n", [1, 2, 1, 0]),
    "Kaggle's": (
        "model_a,model_b,prompt,winner_model_a,winner_model_b,winner_tie\nx,y,p,1,0,0\nx,y,p,0,1,0\nx,y,p,0,0,1\n",
        [1, 1, 1, 0],
    ),
    "lists of wins": ("winner,loser\nx,y\nx,y\n", [2, 0, 0, 0]),
    "our own": ("vote_id,model_a,model_b,outcome\nv1,x,y,a\nv2,x,y,both_bad\n", [1, 0, 0, 1]),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_columns_and_words_of_public_data_are_known(name: str, tmp_path: Path) -> None:
    text, counts = PUBLIC[name]
    assert counted(read(csv(tmp_path / "votes.csv", text), Question())) == {("x", "y"): counts}


def test_clean_battles_of_fastchat_count_where_names_were_hidden(tmp_path: Path) -> None:
    battle = {"question_id": "q", "model_a": "x", "model_b": "y", "winner": "model_a", "judge": "arena_user_1"}
    battles = [{**battle, "anony": True, "tstamp": 1.7e9}, {**battle, "anony": False, "tstamp": 1.7e9}]
    path = csv(tmp_path / "clean_battle.json", json.dumps(battles))
    table = read(path, Question())
    assert (counted(table), table.left_out) == ({("x", "y"): [1, 0, 0, 0]}, {"models named": 1})
    assert table.columns.voter == "judge"
    assert counted(read(path, Question(named=True))) == {("x", "y"): [2, 0, 0, 0]}


def test_logs_of_fastchat_are_read_vote_by_vote(tmp_path: Path) -> None:
    def event(kind: str, models: list[str]) -> dict[str, object]:
        states = [{"model_name": name, "conv_id": "c"} for name in ("x", "y")]
        return {"tstamp": 1.7e9, "type": kind, "models": models, "states": states, "ip": "198.51.100.1"}

    events = [
        {"tstamp": 1.7e9, "type": "chat", "model": "x", "ip": "198.51.100.1"},
        event("leftvote", ["", ""]),
        event("bothbad_vote", ["", ""]),
        event("rightvote", ["x", "y"]),
    ]
    table = read(csv(tmp_path / "log.jsonl", "\n".join(map(json.dumps, events))), Question())
    assert counted(table) == {("x", "y"): [1, 0, 0, 1]}
    assert table.left_out == {"models named": 1}
    assert table.rows.tolist() == [2, 3]


def test_counts_of_leaderbot_are_votes(tmp_path: Path) -> None:
    counts = {"models": ["y", "x", "z"], "X": [[0, 1], [1, 2]], "Y": [[3, 1, 2, 0], [0, 0, 0, 5]]}
    table = read(csv(tmp_path / "counts.json", json.dumps(counts)), Question())
    assert counted(table) == {("x", "z"): [0, 0, 0, 5], ("y", "x"): [3, 1, 2, 0]}
    assert (table.cells().votes, table.sides) == (11, False)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"models": ["x", "y"], "X": [[0, 2]], "Y": [[1, 0, 0, 0]]}, r"X\[0\] is \[0, 2\]"),
        ({"models": ["x", "y"], "X": [[0, 1]], "Y": [[1, -1, 0, 0]]}, r"Y\[0\] is \[1, -1, 0, 0\]"),
        ({"models": ["x", "y"], "X": [[0, 1]], "Y": []}, "1 pairs and Y has counts of 0"),
    ],
)
def test_counts_that_are_none_name_their_place(counts: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=said):
        read(csv(tmp_path / "counts.json", json.dumps(counts)), Question())


def test_columns_and_words_can_be_told(tmp_path: Path) -> None:
    path = csv(tmp_path / "v.csv", "first,second,verdict,n\nx,y,Better,3\nx,y,worse,2\nx,y,so-so,1\n")
    columns = {"left": "first", "right": "second", "outcome": "verdict", "count": "n"}
    words = told_words(["better=a", "worse=b", "so-so=tie"])
    assert counted(read(path, Question(columns=columns, words=words))) == {("x", "y"): [3, 2, 1, 0]}


def test_a_word_that_explains_nothing_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="should be WORD=OUTCOME"):
        told_words(["better=left"])


HEAD = "model_a,model_b,winner\n"
WRONG = {
    "an unknown outcome": (f"{HEAD}x,y,a\nx,y,meh\n", r"row 3, column winner: 'meh' is no known outcome.*--word"),
    "no outcome": (f"{HEAD}x,y,\n", "row 2, column winner: no outcome"),
    "no model": (f"{HEAD}x,y,a\n,y,a\n", "row 3, column model_a: no model"),
    "a model that meets itself": (f"{HEAD}x,x,a\n", "row 2, column model_b: model 'x' can't meet itself"),
    "a vote id again": (
        "vote_id,model_a,model_b,winner\n1,x,y,a\n2,x,y,a\n1,x,y,b\n",
        "row 4, column vote_id: vote '1' was already in row 2",
    ),
    "an unknown column": ("one,two,three\nx,y,a\n", "which column is left and which is right and which is outcome"),
    "nothing": ("", "is empty"),
    "a ragged row": (f"{HEAD}x,y,a,b,c\n", "can't be read as csv"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_with_its_row_and_column(name: str, tmp_path: Path) -> None:
    text, said = WRONG[name]
    with pytest.raises(InvalidRequest, match=said) as refused:
        read(csv(tmp_path / "votes.csv", text), Question())
    assert "\n" not in refused.value.message


def test_rows_are_counted_as_each_format_counts_them(tmp_path: Path) -> None:
    bad = FRAME.with_columns(winner=pl.Series(["a", "a", "meh", "a", "a"]))
    bad.write_ndjson(tmp_path / "v.jsonl")
    bad.write_parquet(tmp_path / "v.parquet")
    for name, row in (("v.jsonl", 3), ("v.parquet", 3)):
        with pytest.raises(InvalidRequest, match=f"row {row}, column winner"):
            read(str(tmp_path / name), Question())


def test_models_that_are_not_a_number_are_none(tmp_path: Path) -> None:
    pl.DataFrame({"model_a": [1.0, float("nan")], "model_b": [2.0, 1.0], "winner": ["a", "a"]}).write_parquet(
        tmp_path / "v.parquet"
    )
    with pytest.raises(InvalidRequest, match="row 2, column model_a: no model"):
        read(str(tmp_path / "v.parquet"), Question())


def test_rows_that_are_no_votes_can_be_skipped_and_are_counted(tmp_path: Path) -> None:
    text = "vote_id,model_a,model_b,winner\n1,x,y,a\n1,x,y,a\n2,x,x,a\n3,,y,a\n4,x,y,meh\n5,x,y,\n6,y,x,a\n"
    table = read(csv(tmp_path / "v.csv", text), Question(skip=True))
    assert counted(table) == {("x", "y"): [1, 0, 0, 0], ("y", "x"): [1, 0, 0, 0]}
    assert table.left_out == {"no model": 1, "met itself": 1, "no known outcome": 2, "vote id again": 1}
    assert table.rows.tolist() == [2, 8]


@pytest.mark.parametrize(
    "text", ["2024-05-01", "2024-05-01T00:00:00Z", "2024-05-01 00:00:00", "1714521600", "1714521600000"]
)
def test_times_are_read_however_they_are_written(text: str, tmp_path: Path) -> None:
    path = csv(tmp_path / "v.csv", f"model_a,model_b,winner,tstamp\nx,y,a,{text}\nx,y,b,2020-01-01\n")
    inside = Question(since=moment("2024-05-01"), until=moment("2024-05-01T00:00:01Z"))
    assert counted(read(path, inside)) == {("x", "y"): [1, 0, 0, 0]}
    assert read(path, Question(until=moment("2024-05-01"))).left_out == {"outside the time": 1}


def test_a_time_that_can_t_be_read_names_its_row(tmp_path: Path) -> None:
    path = csv(tmp_path / "v.csv", "model_a,model_b,winner,time\nx,y,a,2024-05-01\nx,y,b,yesterday\n")
    with pytest.raises(InvalidRequest, match="row 3, column time"):
        read(path, Question(since=moment("2024-01-01")))
    assert read(path, Question()).cells().votes == 2


def test_a_period_needs_a_column_of_times(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="--time COLUMN"):
        read(csv(tmp_path / "v.csv", FRAME.write_csv()), Question(since=moment("2024-01-01")))


def test_ten_thousand_models_are_no_harder_than_ten(tmp_path: Path) -> None:
    names = [f"m{i}" for i in range(10_000)]
    pl.DataFrame({"model_a": names, "model_b": names[1:] + names[:1], "winner": ["a"] * len(names)}).write_parquet(
        tmp_path / "v.parquet"
    )
    cells = read(str(tmp_path / "v.parquet"), Question()).cells()
    assert (len(cells.models), cells.votes) == (10_000, 10_000)
