"""`agon rank` as a person runs it."""

import csv
import io
import json
import math
import random
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from agon.cli import main

# x beats y beats z, w never loses, and nobody met u or v but each other.
BATTLES = [
    ("x", "y", "a", 30), ("y", "x", "a", 12), ("x", "y", "tie", 6), ("y", "z", "a", 25), ("z", "y", "a", 9),
    ("x", "z", "a", 20), ("x", "z", "both_bad", 4), ("z", "x", "a", 5), ("w", "z", "a", 2), ("u", "v", "a", 1),
]  # fmt: skip


@pytest.fixture
def votes(tmp_path: Path) -> str:
    path = tmp_path / "votes.csv"
    rows = [
        f"{left},{right},{word},{'de' if i % 3 else 'en'},2024-0{1 + i % 9}-01"
        for left, right, word, n in BATTLES
        for i in range(n)
    ]
    path.write_text("\n".join(["model_a,model_b,winner,language,tstamp", *rows]) + "\n")
    return str(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["rank", *arguments])


def data(*arguments: str) -> dict[str, object]:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.output))


def first_board(*arguments: str) -> dict[str, dict[str, float]]:
    boards = data(*arguments)["boards"]
    assert isinstance(boards, list)
    return {row["model"]: row for row in boards[0]["rows"]}


def test_the_table_shows_ranks_ranges_ratings_intervals_and_votes(votes: str) -> None:
    output = run(votes).output
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines() if "│" in line]
    assert [line[2] for line in lines] == ["x", "y", "z", "u", "v", "w"]
    rank, ranks, _, rating, interval, bar, count = lines[0]
    assert (rank, ranks, count) == ("1", "1-1", "77")
    lower, upper = map(float, interval.split(" to "))
    assert lower < float(rating) < upper
    assert "●" in bar


def test_what_was_read_and_what_to_know_is_said(votes: str) -> None:
    output = run(votes).output
    assert "114 votes on 6 models, 5.3 % ties, 3.5 % both bad" in output
    assert "3 models can't be compared with the others" in output
    assert "never lost" in output


def test_json_has_all_of_it(votes: str) -> None:
    told = data(votes)
    assert (told["votes"], told["models"], told["outcomes"]) == (114, 6, {"a": 104, "b": 0, "tie": 6, "both_bad": 4})
    board = told["boards"][0]  # type: ignore[index]
    assert [row["model"] for row in board["rows"]] == ["x", "y", "z"]
    assert {model["model"]: model["reason"] for model in board["unranked"]} == {
        "u": "undefeated", "v": "winless", "w": "undefeated",
    }  # fmt: skip
    assert board["gradient"] < 1e-6


def test_json_is_also_a_format(votes: str) -> None:
    assert run(votes, "--json").output == run(votes, "--format", "json").output


def test_csv_is_a_line_for_each_model(votes: str) -> None:
    rows = list(csv.DictReader(io.StringIO(run(votes, "--format", "csv").output)))
    assert [row["model"] for row in rows] == ["x", "y", "z", "u", "v", "w"]
    assert float(rows[0]["lower"]) < float(rows[0]["rating"]) < float(rows[0]["upper"])
    assert [row["reason"] for row in rows[3:]] == ["undefeated", "winless", "undefeated"]


def test_markdown_is_a_table(votes: str, tmp_path: Path) -> None:
    text = Path(votes).read_text().replace("x,", "x|1,")
    (tmp_path / "bar.csv").write_text(text)
    output = run(str(tmp_path / "bar.csv"), "--format", "markdown").output
    assert "| 1 | 1–1 | x\\|1 |" in output
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in output.splitlines() if line.startswith("|")}
    assert widths == {7}


def test_the_page_needs_nothing_else(votes: str) -> None:
    page = run(votes, "--format", "html").output
    fetched = re.findall(r"""(?:src|href)=["']?(?!#)[^"'>]+|url\(|@import|fetch\(""", page)
    assert fetched == []
    assert re.findall(r"https?://[^\"' ]+", page) == ["http://www.w3.org/2000/svg"]
    assert page.count('<th scope="row">') == 6
    assert "prefers-color-scheme:dark" in page
    assert 'lang="en"' in page


def test_names_of_models_are_no_markup(tmp_path: Path) -> None:
    name = "<script>[red]alert('1')[/red]</script>"
    (tmp_path / "v.jsonl").write_text(
        "\n".join(json.dumps({"model_a": name, "model_b": "y", "winner": w}) for w in ("a", "b", "a"))
    )
    path = str(tmp_path / "v.jsonl")
    assert "<script>[red]" not in run(path, "--format", "html").output
    assert name in run(path).output
    run(path, "--plot", str(tmp_path / "p.svg"), "--matrix", str(tmp_path / "m.svg"))
    for picture in ("p.svg", "m.svg"):
        assert name in "".join(ElementTree.parse(tmp_path / picture).getroot().itertext())


def test_pictures_are_written(votes: str, tmp_path: Path) -> None:
    done = run(votes, "--plot", str(tmp_path / "board.svg"), "--matrix", str(tmp_path / "wins.svg"))
    assert done.exit_code == 0, done.output
    ladder = ElementTree.parse(tmp_path / "board.svg").getroot()
    assert len(ladder.findall(".//{*}circle")) == 3
    matrix = "".join(ElementTree.parse(tmp_path / "wins.svg").getroot().itertext())
    assert "x beat y in 69% of 48 votes" in matrix


def test_the_matrix_has_its_numbers_too(votes: str, tmp_path: Path) -> None:
    assert run(votes, "--matrix", str(tmp_path / "wins.csv")).exit_code == 0
    rows = {
        (row["model"], row["opponent"]): row for row in csv.DictReader((tmp_path / "wins.csv").read_text().splitlines())
    }
    assert rows["x", "y"] == {"model": "x", "opponent": "y", "won": "0.6875", "votes": "48"}
    assert float(rows["y", "x"]["won"]) == 1 - 0.6875


def test_a_board_for_each_value_of_a_column(votes: str) -> None:
    told = data(votes, "--by", "language")
    boards = told["boards"]
    assert isinstance(boards, list)
    assert [board["name"] for board in boards] == ["overall", "de", "en"]
    assert boards[0]["votes"] == boards[1]["votes"] + boards[2]["votes"] == 114
    assert "language: de, " in run(votes, "--by", "language").output


def test_a_vote_counts_in_each_category_of_its_list(tmp_path: Path) -> None:
    votes = [{"model_a": "x", "model_b": "y", "winner": w, "tags": tags} for w, tags in
             [("a", ["code", "hard"]), ("b", ["code"]), ("tie", []), ("a", None)]]  # fmt: skip
    (tmp_path / "v.jsonl").write_text("\n".join(map(json.dumps, votes)))
    boards = data(str(tmp_path / "v.jsonl"), "--by", "tags")["boards"]
    assert isinstance(boards, list)
    assert {board["name"]: board["votes"] for board in boards} == {"overall": 4, "code": 2, "hard": 1}


def test_votes_of_a_period_and_models_with_enough_votes(votes: str) -> None:
    assert data(votes, "--since", "2024-03-01", "--until", "2024-05-01")["votes"] == 28
    assert set(first_board(votes, "--min-votes", "70")) == {"x", "y"}


def test_an_anchor_fixes_the_scale(votes: str) -> None:
    free, fixed = first_board(votes), first_board(votes, "--anchor", "y=1200")
    assert fixed["y"]["rating"] == fixed["y"]["lower"] == fixed["y"]["upper"] == 1200
    assert fixed["x"]["rating"] - 1200 == pytest.approx(free["x"]["rating"] - free["y"]["rating"])


@pytest.mark.parametrize("method", ["bt", "rao-kupper", "davidson", "grounded", "elo", "win-rate"])
def test_every_model_of_a_vote_ranks(votes: str, method: str) -> None:
    board = first_board(votes, "--method", method, "--min-votes", "50")
    assert list(board) == ["x", "y", "z"]
    assert board["x"]["lower"] < board["x"]["rating"] < board["x"]["upper"]


def test_options_change_what_they_say(votes: str) -> None:
    plain = first_board(votes)
    assert first_board(votes, "--both-bad", "apart")["z"]["rating"] < plain["z"]["rating"]
    assert first_board(votes, "--both-bad", "grounded") == first_board(votes, "--method", "grounded")
    assert first_board(votes, "--level", "0.99")["x"]["lower"] < plain["x"]["lower"]


@pytest.fixture
def weighed(tmp_path: Path) -> str:
    """Every vote twice over: with weights, and in a column of its own where it stands once for each."""
    rows = [f"{left},{right},{word},{1 + k % 3},{k % 3},1" for left, right, word, n in BATTLES for k in range(n)]
    path = tmp_path / "weighed.csv"
    path.write_text("\n".join(["model_a,model_b,winner,times,weight,one", *rows]) + "\n")
    return str(path)


def test_a_weight_of_one_changes_nothing(weighed: str) -> None:
    plain, ones = first_board(weighed), first_board(weighed, "--weight", "one")
    for model, row in plain.items():
        assert ones[model] == pytest.approx(row)


def test_a_vote_of_weight_three_pulls_as_three_votes_and_counts_as_one(weighed: str) -> None:
    several, weight = first_board(weighed, "--count", "times"), first_board(weighed, "--weight", "times")
    assert list(weight) == list(several)
    for model, row in weight.items():
        assert row["rating"] == pytest.approx(several[model]["rating"])
        assert row["upper"] - row["lower"] > several[model]["upper"] - several[model]["lower"]
        assert row["votes"] == first_board(weighed)[model]["votes"]


def test_reweighted_a_pair_that_met_often_counts_no_more_than_others(weighed: str) -> None:
    plain, even = (first_board(weighed, "--count", "times", *more) for more in ([], ["--reweight"]))
    assert abs(even["x"]["rating"] - plain["x"]["rating"]) > 1


def test_weights_reach_every_fit_that_takes_them(weighed: str) -> None:
    for options in (["--cluster", "times"], ["--method", "davidson"]):
        plain, told = first_board(weighed, *options), first_board(weighed, *options, "--weight", "weight")
        assert told["x"]["rating"] != plain["x"]["rating"], options


def test_joint_ranges_are_no_narrower_than_pairwise_ones(votes: str) -> None:
    pairwise, joint = first_board(votes, "--ranks", "pairwise"), first_board(votes, "--ranks", "joint")
    assert all(joint[model]["rank_best"] <= pairwise[model]["rank_best"] for model in joint)
    assert all(joint[model]["rank_worst"] >= pairwise[model]["rank_worst"] for model in joint)


def test_every_source_of_intervals_keeps_the_ratings(votes: str) -> None:
    plain = first_board(votes)
    for options in (["--intervals", "fisher"], ["--bootstrap", "50"], ["--cluster", "language,tstamp"]):
        board = first_board(votes, *options)
        assert board["x"]["rating"] == pytest.approx(plain["x"]["rating"])
        assert board["x"]["lower"] != plain["x"]["lower"]
        assert board["x"]["lower"] < board["x"]["rating"] < board["x"]["upper"]


def test_the_same_seed_draws_the_same(votes: str) -> None:
    one, same, other = (first_board(votes, "--bootstrap", "20", "--seed", seed) for seed in ("1", "1", "2"))
    assert one == same
    assert one != other


@pytest.fixture
def judged(tmp_path: Path) -> str:
    """z is better than y, and y than x; longer answers and the left side are favoured; `odd` prefers the worse."""
    draw = random.Random(0)
    strength = {"x": 0.0, "y": 1.0, "z": 2.0}
    rows = []
    for number in range(900):
        left, right = draw.sample(sorted(strength), 2)
        words = [draw.randint(5, 200) for _ in range(2)]
        voter = "odd" if number % 9 == 0 else f"voter {number % 9}"
        better = strength[left] - strength[right]
        log_odds = (-better if voter == "odd" else better) + 0.4 + 1.5 * (words[0] - words[1]) / sum(words)
        winner = "model_a" if draw.random() < 1 / (1 + math.exp(-log_odds)) else "model_b"
        asked = {"role": "user", "content": "?" * draw.randint(1, 300)}
        conversations = [[asked, {"role": "assistant", "content": "w " * count}] for count in words]
        rows.append(
            {
                **{"model_a": left, "model_b": right, "winner": winner, "voter": voter, "prompt_id": number % 20},
                **{"words_a": words[0], "words_b": words[1], "more": words[0] - words[1]},
                **{"conversation_a": conversations[0], "conversation_b": conversations[1]},
            }
        )
    path = tmp_path / "judged.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


@pytest.mark.parametrize(("style", "name"), [("text", "length"), ("words_a,words_b", "words_a"), ("more", "more")])
def test_style_is_measured_from_texts_amounts_or_differences(judged: str, style: str, name: str) -> None:
    board = data(judged, "--style", style, "--position")["boards"][0]  # type: ignore[index]
    effects = {effect["name"]: effect for effect in board["effects"]}
    assert set(effects) == {name, "position"}
    assert effects[name]["lower"] > 0
    assert f"{name}, one standard deviation more: +" in run(judged, "--style", style).output


def test_style_goes_with_clusters_and_weights(judged: str) -> None:
    for options in (["--cluster", "voter,prompt"], ["--reweight"], ["--mix", "voter", *_equal_shares()]):
        assert len(first_board(judged, "--style", "text", *options)) == 3


VOTERS = ["odd", *(f"voter {i}" for i in range(1, 9))]


def _equal_shares() -> list[str]:
    return [word for name in VOTERS for word in ("--share", f"{name}=1")]


def test_a_declared_mix_outweighs_who_came(judged: str) -> None:
    plain = first_board(judged)
    shares = [f"{voter}={int(voter == 'odd')}" for voter in VOTERS]
    mixed = first_board(judged, "--mix", "voter", *(word for share in shares for word in ("--share", share)))
    assert plain["z"]["rank"] == 1
    assert mixed["x"]["rank"] == 1


def test_two_models_are_compared(judged: str) -> None:
    told = data(judged, "--compare", "z", "x", "--compare", "x", "z")["comparisons"]
    assert isinstance(told, list)
    assert told[0]["difference"] == pytest.approx(-told[1]["difference"])
    assert told[0]["better"] + told[1]["better"] == pytest.approx(1)
    assert "P(z is better) = " in run(judged, "--compare", "z", "x").output


def test_what_the_first_place_hangs_on_is_found(votes: str) -> None:
    told = data(votes, "--influence")["influence"]
    assert isinstance(told, dict)
    assert (told["first"], told["successor"]) == ("x", "y")
    assert sum(kind["votes"] for kind in told["removed"]) == told["votes"]
    assert "y is before x" in run(votes, "--influence").output


def test_voters_who_vote_against_the_rest_are_listed(judged: str) -> None:
    told = data(judged, "--voters")["voters"]
    assert isinstance(told, list)
    assert [row["voter"] for row in told if row["flagged"]] == ["odd"]
    assert "odd: ability" in run(judged, "--voters").output


def test_the_best_of_variants_is_not_favoured_for_the_picking(judged: str) -> None:
    told = data(judged, "--best-of", "y,z")["best_of"]
    assert isinstance(told, dict)
    assert told["model"] == "z"
    assert told["estimate"] <= told["plain"]


def test_counts_of_pairs_do_not_tell_sides(tmp_path: Path) -> None:
    counts = {"models": ["x", "y"], "X": [[0, 1]], "Y": [[60, 20, 5, 5]]}
    (tmp_path / "counts.json").write_text(json.dumps(counts))
    assert "The left side" not in run(str(tmp_path / "counts.json")).output
    assert "--position needs to know who stood left" in run(str(tmp_path / "counts.json"), "--position").output


def test_counted_rows_are_single_votes_where_those_are_needed(tmp_path: Path) -> None:
    cells = [("x", "y", "a", 30), ("x", "y", "b", 12), ("y", "x", "a", 9), ("y", "x", "b", 14), ("y", "x", "tie", 3)]
    counted = [f"{left},{right},{word},{n}" for left, right, word, n in cells]
    (tmp_path / "counted.csv").write_text("\n".join(["model_a,model_b,winner,n", *counted]) + "\n")
    single = [f"{left},{right},{word}" for left, right, word, n in cells for _ in range(n)]
    (tmp_path / "single.csv").write_text("\n".join(["model_a,model_b,winner", *single]) + "\n")
    board = first_board(str(tmp_path / "counted.csv"), "--count", "n", "--position")
    assert board == first_board(str(tmp_path / "single.csv"), "--position")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.csv"], "missing.csv: No such file"),
        (["VOTES", "--left", "nobody"], "no column 'nobody' for left"),
        (["VOTES", "--by", "nothing"], "has no column 'nothing'"),
        (["VOTES", "--since", "soon"], "'soon' is no date or time"),
        (["VOTES", "--anchor", "nobody=1000"], "'nobody' is not among the rated"),
        (["VOTES", "--word", "meh"], "should be WORD=OUTCOME"),
        (["VOTES", "--matrix", "wins.png"], "ends with .svg or .csv"),
        (["VOTES", "--cluster", "voter"], "which column is the voter? Say --voter COLUMN"),
        (["VOTES", "--voters"], "which column is the voter? Say --voter COLUMN"),
        (["VOTES", "--style", "text"], "which column is the left-text? Say --left-text COLUMN"),
        (["VOTES", "--style", "language"], "row 2, column language: no number"),
        (["VOTES", "--method", "elo", "--style", "text"], "--style goes with --method bt"),
        (["VOTES", "--method", "davidson", "--cluster", "language"], "only Bradley-Terry has a score for each vote"),
        (
            ["VOTES", "--method", "grounded", "--bootstrap", "9"],
            "--intervals bootstrap goes with --method bt",
        ),
        (["VOTES", "--weight", "language"], "row 2, column language: no number: --weight needs one"),
        (["VOTES", "--weight", "tstamp"], "no number"),
        (["VOTES", "--weight", "nothing"], "has no column 'nothing'"),
        (["VOTES", "--weight", "tstamp", "--reweight"], "--weight and --reweight both say what the votes weigh"),
        (["VOTES", "--bootstrap", "20", "--reweight"], "it takes no weights"),
        (["VOTES", "--intervals", "cluster"], "needs --cluster"),
        (["VOTES", "--mix", "language"], "--share VALUE=SHARE for each"),
        (["VOTES", "--mix", "language", "--share", "en"], "should be VALUE=SHARE"),
        (["VOTES", "--mix", "language", "--share", "en=1"], "'de' has votes and no declared share"),
        (["VOTES", "--compare", "x", "w"], "'w' is not among the rated"),
        (["VOTES", "--influence", "--reweight"], "--influence removes plain votes"),
        (["VOTES", "--method", "elo", "--compare", "x", "y"], "--compare needs a fitted board"),
        (["VOTES", "--outcome", "language"], "row 2, column language: 'en' is no known outcome"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(votes: str, arguments: list[str], said: str) -> None:
    done = run(*(votes if argument == "VOTES" else argument for argument in arguments))
    assert done.exit_code == 2
    assert said in done.output
    assert done.output.startswith("agon: ")
    assert done.output.count("\n") == 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "there are no ratings"),
        (["x,y,a"], "there are no ratings"),
        (["x,y,tie"] * 40, "●"),
        (["x,y,a", "x,y,b"], "2 models with fewer than 30 votes"),
    ],
)
def test_tables_with_next_to_nothing_get_an_answer(rows: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("\n".join(["model_a,model_b,winner", *rows]) + "\n")
    for form in ("table", "json", "csv", "markdown", "html"):
        done = run(str(tmp_path / "v.csv"), "--format", form)
        assert done.exit_code == 0, done.output
    assert said in run(str(tmp_path / "v.csv")).output


def test_the_base_install_is_enough(votes: str) -> None:
    code = (
        "import sys, importlib.abc\n"
        "base = {'agon', 'click', 'numpy', 'polars', 'pydantic', 'rich', 'markdown_it', 'mdurl', 'pygments'}\n"
        "class Base(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        top = name.partition('.')[0]\n"
        "        if top not in base and top not in sys.stdlib_module_names and not top.startswith('_'):\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Base())\n"
        "from agon.cli import main\n"
        "main(sys.argv[1:], standalone_mode=False)\n"
        "assert not {'scipy', 'numba', 'torch', 'asyncio', 'pydantic'} & set(sys.modules), 'the fast path is slow'\n"
    )
    done = subprocess.run([sys.executable, "-c", code, "rank", votes], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "│" in done.stdout
