"""`agon rank`: a leaderboard from any table of votes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agon.cli.rank.grouped import GroupedCommand, grouped
from agon.errors import InvalidRequest

if TYPE_CHECKING:
    from agon.cli.rank.report import Report

_columns = grouped("Columns (guessed for the public formats)")
_votes = grouped("Which votes")
_method = grouped("Ratings")
_uncertain = grouped("Uncertainty")
_output = grouped("Output")

METHODS = {"bt": "bradley_terry", "rao-kupper": "rao_kupper", "davidson": "davidson", "grounded": "grounded"}
SAID = {
    "bradley_terry": "Bradley-Terry",
    "rao_kupper": "Rao-Kupper (ties have a probability of their own)",
    "davidson": "Davidson (ties have a probability of their own)",
    "grounded": "grounded Rao-Kupper (both bad has a probability of its own)",
}
ROLES = ("left", "right", "outcome", "voter", "prompt", "time", "id", "count")
FORMATS = ("table", "json", "csv", "markdown", "html")


@click.command(cls=GroupedCommand)
@click.argument("file")
@_columns("--left", metavar="COLUMN", help="The model on the left.")
@_columns("--right", metavar="COLUMN", help="The model on the right.")
@_columns("--outcome", metavar="COLUMN", help="Who won.")
@_columns("--voter", metavar="COLUMN", help="Who voted.")
@_columns("--prompt", metavar="COLUMN", help="What was asked.")
@_columns("--time", metavar="COLUMN", help="When: RFC 3339, a date, or seconds since 1970.")
@_columns("--id", metavar="COLUMN", help="The vote's own id: the same one twice is an error.")
@_columns("--count", metavar="COLUMN", help="How many votes a row stands for.")
@_columns("--word", metavar="WORD=OUTCOME", multiple=True, help="What an outcome word means: a, b, tie or both_bad.")
@_votes("--since", metavar="TIME", help="Only votes from this moment on.")
@_votes("--until", metavar="TIME", help="Only votes before this moment.")
@_votes("--min-votes", type=click.IntRange(min=1), help="Leave out models with fewer votes.")
@_votes("--by", metavar="COLUMN", help="A board for each value of a column too (of each member, if it holds lists).")
@_votes("--skip", is_flag=True, help="Leave out and count rows that are no votes, instead of stopping at the first.")
@_votes("--named", is_flag=True, help="Count votes too that were cast with the models' names in sight.")
@_method("--method", type=click.Choice(list(METHODS)), default="bt", show_default=True, help="The model of a vote.")
@_method(
    "--both-bad",
    type=click.Choice(["tie", "apart", "grounded"]),
    default="tie",
    show_default=True,
    help="What `both bad` counts as: a tie, nothing, or a level below zero (same as --method grounded).",
)
@_method("--anchor", metavar="MODEL=RATING", help="Fix a model's rating; the mean is 1000 otherwise.")
@_method("--reweight", is_flag=True, help="Let every pair count the same, however often it met.")
@_uncertain("--level", type=click.FloatRange(0.5, 0.9999), default=0.95, show_default=True, help="Of the intervals.")
@_uncertain(
    "--ranks",
    type=click.Choice(["overlap", "pairwise", "joint"]),
    default="overlap",
    show_default=True,
    help="Ranges of ranks: from overlapping intervals (as Arena prints), from differences, or all true at once.",
)
@_output("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="What to print.")
@_output("--json", "as_json", is_flag=True, help="Same as --format json.")
@_output("--plot", type=click.Path(path_type=Path), help="Draw the ladder of intervals into this SVG file.")
@_output("--matrix", type=click.Path(path_type=Path), help="Write the win matrix: .svg draws it, .csv has the numbers.")
def rank(file: str, **options: Any) -> None:
    """Rank models by votes: FILE is CSV, JSON lines, JSON or Parquet, a folder of them, or - for standard input.

    The columns of Arena's, FastChat's, evalica's and leaderbot's data and of `agon export` are known; others are named.
    No services are needed.

    \b
    Example:
      agon rank votes.parquet
      agon rank votes.csv --left model_x --right model_y --outcome verdict --word better=a --word worse=b
      agon rank votes.jsonl --by language --min-votes 100 --format html > board.html
      zcat votes.csv.gz | agon rank - --plot board.svg --matrix wins.svg
    """
    report = _report(file, options)
    if options["plot"]:
        _draw(report, options["plot"])
    if options["matrix"]:
        _write_matrix(report, options["matrix"])
    form = "json" if options["as_json"] else options["form"]
    if form == "table":
        from agon.cli.rank.terminal import show

        show(report)
    else:
        click.echo(_writer(form)(report), nl=False)


def _report(file: str, options: dict[str, Any]) -> "Report":
    from agon.cli.rank.boards import Recipe, boards
    from agon.cli.rank.report import Report
    from agon.ratings.tables import Question, moment, read, told_words

    by = options["by"]
    question = Question(
        columns={role: options[role] for role in ROLES if options[role]},
        words=told_words(options["word"]),
        carry=[by] if by else [],
        since=moment(options["since"]) if options["since"] else None,
        until=moment(options["until"]) if options["until"] else None,
        skip=options["skip"],
        named=options["named"],
    )
    recipe = Recipe(
        method="grounded" if options["both_bad"] == "grounded" else METHODS[options["method"]],  # type: ignore[arg-type]
        both_bad="apart" if options["both_bad"] == "apart" else "tie",
        reweight=options["reweight"],
        anchor=_anchor(options["anchor"]),
        level=options["level"],
        ranks=options["ranks"],
        min_votes=options["min_votes"] or 0,
    )
    table = read(file, question)
    made = boards(table, recipe, by)
    outcomes = made[0].cells.counts.sum(axis=0).tolist()
    return Report(
        source="standard input" if file == "-" else file,
        rows=table.read,
        votes=sum(outcomes),
        models=len(made[0].cells.models),
        outcomes=dict(zip(("a", "b", "tie", "both_bad"), outcomes, strict=True)),
        left_out=table.left_out,
        columns={role: name for role in ROLES if (name := getattr(table.columns, role)) is not None},
        method=SAID[recipe.method] + (", every pair weighs the same" if recipe.reweight else ""),
        intervals="sandwich",
        level=recipe.level,
        boards=made,
        by=by,
        sides=table.sides,
    )


def _anchor(text: str | None) -> Any:
    from agon.ratings import Anchor

    if text is None:
        return None
    model, _, rating = text.rpartition("=")
    try:
        return Anchor(model, float(rating)) if model else Anchor(rating, 1000.0)
    except ValueError:
        return Anchor(text, 1000.0)


def _writer(form: str) -> Callable[["Report"], str]:
    from agon.cli.rank import page, texts

    return {"json": texts.as_json, "csv": texts.as_csv, "markdown": texts.as_markdown, "html": page.as_page}[form]


def _draw(report: "Report", path: Path) -> None:
    from agon.ratings.pictures import ladder

    path.write_text(ladder(report.boards[0].ranking.rows, f"Ratings from {report.votes:,} votes"), encoding="utf-8")


def _write_matrix(report: "Report", path: Path) -> None:
    from agon.ratings.pictures import win_matrix, win_shares

    board = report.boards[0]
    order: Sequence[str] = board.order
    if path.suffix == ".svg":
        path.write_text(win_matrix(board.cells, order, "Who beats whom"), encoding="utf-8")
    elif path.suffix == ".csv":
        from agon.cli.rank.texts import matrix_csv

        path.write_text(matrix_csv(order, win_shares(board.cells, order)), encoding="utf-8")
    else:
        raise InvalidRequest(f"--matrix {path}: a name that ends with .svg or .csv says what to write")
