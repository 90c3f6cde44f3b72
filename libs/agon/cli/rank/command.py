"""`agon rank`: a leaderboard from any table of votes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agon.cli.rank.grouped import GroupedCommand
from agon.cli.rank.options import OPTIONS, ROLES, question_of, recipe_of
from agon.errors import InvalidRequest

if TYPE_CHECKING:
    from agon.cli.rank.boards import Made
    from agon.cli.rank.recipe import Recipe
    from agon.cli.rank.report import Finding, Report
    from agon.ratings.tables import VoteTable


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(OPTIONS):
        command = option(command)
    return command


@click.command(cls=GroupedCommand)
@click.argument("file")
@_with_options
def rank(file: str, **options: Any) -> None:
    """Rank models by votes: FILE is CSV, JSON lines, JSON or Parquet, a folder of them, or - for standard input.

    The columns of Arena's, FastChat's, evalica's and leaderbot's data and of `agon export` are known; others are named.
    No services are needed.

    \b
    Example:
      agon rank votes.parquet
      agon rank votes.csv --left model_x --right model_y --outcome verdict --word better=a --word worse=b
      agon rank votes.parquet --cluster voter,prompt --ranks joint --compare gpt-4 claude-2
      agon rank votes.jsonl --style text --position --anchor gpt-4=1200
      agon rank votes.jsonl --by language --min-votes 100 --format html > board.html
      zcat votes.csv.gz | agon rank - --plot board.svg --matrix wins.svg
    """
    matrix: Path | None = options["matrix"]
    if matrix is not None and matrix.suffix not in (".svg", ".csv"):
        raise InvalidRequest(f"--matrix {matrix}: a name that ends with .svg or .csv says what to write")
    report = _report(file, options)
    if options["plot"] is not None:
        _draw(report, options["plot"])
    if matrix is not None:
        _write_matrix(report, matrix)
    form = "json" if options["as_json"] else options["form"]
    if form == "table":
        from agon.cli.rank.terminal import show

        show(report)
    else:
        click.echo(_writer(form)(report), nl=False)


def _report(file: str, options: dict[str, Any]) -> "Report":
    # A fit of hundreds of models is too small for threads of its own: they would only wait for each other, busily.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from agon.cli.rank.boards import boards
    from agon.cli.rank.report import Report
    from agon.ratings.tables import read

    recipe = recipe_of(options)
    table = read(file, question_of(options, recipe))
    made = boards(table, recipe, options["by"])
    outcomes = made.first.cells.counts.sum(axis=0).tolist()
    return Report(
        source="standard input" if file == "-" else file,
        rows=table.read,
        votes=sum(outcomes),
        models=len(made.first.cells.models),
        outcomes=dict(zip(("a", "b", "tie", "both_bad"), outcomes, strict=True)),
        left_out=table.left_out,
        columns={role: name for role in ROLES if (name := getattr(table.columns, role)) is not None},
        method=recipe.said(),
        intervals=recipe.intervals_said(),
        level=recipe.level,
        boards=(made.first, *made.parts),
        by=options["by"],
        sides=table.sides,
        findings=_findings(options, table, made, recipe),
    )


def _findings(options: dict[str, Any], table: "VoteTable", made: "Made", recipe: "Recipe") -> "list[Finding]":
    if not (options["compare"] or options["influence"] or options["voters"] or options["best_of"]):
        return []
    from agon.cli.rank import findings

    told = [findings.comparison(made.fitted, recipe, *pair) for pair in options["compare"]]
    if options["best_of"]:
        told.append(findings.best_variant(made.fitted, recipe, options["best_of"].split(",")))
    if options["influence"]:
        told.append(findings.influence(made.first.cells, made.fitted, recipe))
    if options["voters"]:
        told.append(findings.voters(table, made.fitted, recipe))
    return told


def _writer(form: str) -> Callable[["Report"], str]:
    from agon.cli.rank import page, texts

    return {"json": texts.as_json, "csv": texts.as_csv, "markdown": texts.as_markdown, "html": page.as_page}[form]


def _draw(report: "Report", path: Path) -> None:
    from agon.ratings.pictures import ladder

    path.write_text(ladder(report.boards[0].ranking.rows, f"Ratings from {report.votes:,} votes"), encoding="utf-8")


def _write_matrix(report: "Report", path: Path) -> None:
    from agon.cli.rank.texts import matrix_csv
    from agon.ratings.pictures import win_matrix, win_shares

    board = report.boards[0]
    told = (
        win_matrix(board.cells, board.order, "Who beats whom")
        if path.suffix == ".svg"
        else matrix_csv(board.order, win_shares(board.cells, board.order))
    )
    path.write_text(told, encoding="utf-8")
