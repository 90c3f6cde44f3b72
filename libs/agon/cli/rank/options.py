"""The options of `agon rank`, in groups, and what they come to."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agon.cli.numbers import NumberRange
from agon.cli.rank.grouped import grouped
from agon.errors import InvalidRequest

if TYPE_CHECKING:
    from agon.cli.rank.recipe import Recipe
    from agon.ratings import Anchor
    from agon.ratings.tables import Question

METHODS = ("bt", "rao-kupper", "davidson", "grounded", "elo", "win-rate")
ROLES = ("left", "right", "outcome", "voter", "prompt", "time", "id", "count", "left_text", "right_text")
FORMATS = ("table", "json", "csv", "markdown", "html")
ORDERS = 100
"""Rounds of a bootstrap and orders of Elo, if nobody says how many."""

_columns = grouped("Columns (guessed for the public formats)")
_votes = grouped("Which votes")
_ratings = grouped("Ratings")
_uncertain = grouped("Uncertainty")
_questions = grouped("Questions")
_output = grouped("Output")

OPTIONS: tuple[Callable[[Any], Any], ...] = (
    _columns("--left", metavar="COLUMN", help="The model on the left."),
    _columns("--right", metavar="COLUMN", help="The model on the right."),
    _columns("--outcome", metavar="COLUMN", help="Who won."),
    _columns(
        "--word", metavar="WORD=OUTCOME", multiple=True, help="What an outcome word means: a, b, tie or both_bad."
    ),
    _columns("--voter", metavar="COLUMN", help="Who voted."),
    _columns("--prompt", metavar="COLUMN", help="What was asked."),
    _columns("--time", metavar="COLUMN", help="When: RFC 3339, a date, or seconds since 1970."),
    _columns("--id", metavar="COLUMN", help="The vote's own id: the same one twice is an error."),
    _columns("--count", metavar="COLUMN", help="How many votes a row stands for."),
    _columns("--left-text", metavar="COLUMN", help="The left answer: text, or a conversation."),
    _columns("--right-text", metavar="COLUMN", help="The right answer."),
    _votes("--since", metavar="TIME", help="Only votes from this moment on."),
    _votes("--until", metavar="TIME", help="Only votes before this moment."),
    _votes("--min-votes", type=click.IntRange(min=1), help="Do not show models with fewer votes; their votes count."),
    _votes(
        "--by", metavar="COLUMN", help="A board for each value of a column too (of each member, if it holds lists)."
    ),
    _votes(
        "--skip", is_flag=True, help="Leave out and count rows that are no votes, instead of stopping at the first."
    ),
    _votes("--named", is_flag=True, help="Count votes too that were cast with the models' names in sight."),
    _ratings("--method", type=click.Choice(METHODS), default="bt", show_default=True, help="The model of a vote."),
    _ratings(
        "--both-bad",
        type=click.Choice(["tie", "apart", "grounded"]),
        default="tie",
        show_default=True,
        help="What `both bad` counts as: a tie, nothing, or a level below zero (the same as --method grounded).",
    ),
    _ratings("--anchor", metavar="MODEL[=RATING]", help="Fix a model's rating; the mean is 1000 otherwise."),
    _ratings("--weight", metavar="COLUMN", help="What each vote weighs: a number of at least 0."),
    _ratings("--reweight", is_flag=True, help="Let every pair count the same, however often it met, as Arena does."),
    _ratings(
        "--mix", metavar="COLUMN", help="Weigh the groups of a column (languages, categories) to declared shares."
    ),
    _ratings("--share", metavar="VALUE=SHARE", multiple=True, help="With --mix: what share a group should have."),
    _ratings(
        "--style",
        metavar="WHAT",
        multiple=True,
        help="Control for style: `text` looks at the answers (length, headers, lists, bold, code), LEFT,RIGHT "
        "takes two columns of amounts, COLUMN one of differences.",
    ),
    _ratings("--position", is_flag=True, help="Measure the advantage of standing left, and take it out."),
    _uncertain(
        "--intervals",
        type=click.Choice(["sandwich", "cluster", "bootstrap", "fisher"]),
        help="Where intervals come from; sandwich, unless --cluster or --bootstrap say otherwise.",
    ),
    _uncertain(
        "--cluster", metavar="WHAT", help="Votes are alike within a voter, prompt or column; or two: voter,prompt."
    ),
    _uncertain(
        "--bootstrap", metavar="ROUNDS", type=click.IntRange(2, 100_000), help="Rounds (orders of votes, for elo)."
    ),
    _uncertain("--seed", type=int, default=0, show_default=True, help="Of everything that is drawn."),
    _uncertain("--level", type=NumberRange(0.5, 0.9999), default=0.95, show_default=True, help="Of the intervals."),
    _uncertain(
        "--ranks",
        type=click.Choice(["overlap", "pairwise", "joint"]),
        default="overlap",
        show_default=True,
        help="Ranges of ranks: from overlapping intervals (as Arena prints), from differences, or all true at once.",
    ),
    _questions(
        "--compare", metavar="A B", nargs=2, multiple=True, help="How far A is above B, how sure, votes needed."
    ),
    _questions("--influence", is_flag=True, help="The fewest votes whose removal changes the first place."),
    _questions("--voters", is_flag=True, help="Voters who agree less with the board than chance explains: to look at."),
    _questions("--best-of", metavar="A,B,...", help="The best of one owner's variants, allowing for the picking."),
    _output("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="What to print."),
    _output("--json", "as_json", is_flag=True, help="Same as --format json."),
    _output("--plot", type=click.Path(path_type=Path), help="Draw the ladder of intervals into this SVG file."),
    _output(
        "--matrix", type=click.Path(path_type=Path), help="Write the win matrix: .svg draws it, .csv has the numbers."
    ),
)


def recipe_of(options: dict[str, Any]) -> "Recipe":
    """Raises `InvalidRequest` for what does not go together."""
    from agon.cli.rank.recipe import Intervals, Recipe

    cluster = tuple(options["cluster"].split(",")) if options["cluster"] else ()
    resampled = options["bootstrap"] is not None and options["method"] != "elo"
    implied: Intervals = "cluster" if cluster else "bootstrap" if resampled else "sandwich"
    grounded = options["both_bad"] == "grounded"
    return Recipe(
        method="grounded" if grounded else options["method"],
        both_bad="apart" if options["both_bad"] == "apart" else "tie",
        intervals=options["intervals"] or implied,
        cluster=cluster,
        rounds=options["bootstrap"] or ORDERS,
        seed=options["seed"],
        weight=options["weight"],
        reweight=options["reweight"],
        mix=options["mix"],
        shares=_shares(options["share"]),
        style=options["style"],
        position=options["position"],
        anchor=_anchor(options["anchor"]),
        level=options["level"],
        ranks=options["ranks"],
        min_votes=options["min_votes"] or 0,
    )


def question_of(options: dict[str, Any], recipe: "Recipe") -> "Question":
    """What has to be read of the file."""
    from agon.ratings.tables import Question, moment, told_words

    carried = [*recipe.carried()]
    carried += [options["by"]] if options["by"] else []
    carried += ["voter"] if options["voters"] else []
    return Question(
        columns={role: options[role] for role in ROLES if options[role]},
        words=told_words(options["word"]),
        carry=list(dict.fromkeys(carried)),
        in_time=recipe.method == "elo",
        since=moment(options["since"]) if options["since"] else None,
        until=moment(options["until"]) if options["until"] else None,
        skip=options["skip"],
        named=options["named"],
    )


def _shares(pairs: Sequence[str]) -> dict[str, float]:
    shares = {}
    for pair in pairs:
        value, _, share = pair.rpartition("=")
        try:
            shares[value] = float(share)
        except ValueError:
            raise InvalidRequest(f"--share {pair} should be VALUE=SHARE, such as en=0.6") from None
    return shares


def _anchor(text: str | None) -> "Anchor | None":
    from agon.ratings import Anchor

    if text is None:
        return None
    model, _, rating = text.rpartition("=")
    try:
        return Anchor(model, float(rating)) if model else Anchor(text)
    except ValueError:
        return Anchor(text)  # a name with = in it
