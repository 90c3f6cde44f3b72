"""Tables of votes at the edge: any file that people keep comparisons in, as arrays (with polars, which is late here:
`agon.ratings` itself never imports it)."""

from agon.ratings.tables.answers import answers
from agon.ratings.tables.columns import NAMES, Columns
from agon.ratings.tables.outcomes import WORDS, told_words
from agon.ratings.tables.reading import Question, from_frame, read
from agon.ratings.tables.times import moment
from agon.ratings.tables.votes import VoteTable

__all__ = [
    "NAMES",
    "WORDS",
    "Columns",
    "Question",
    "VoteTable",
    "answers",
    "from_frame",
    "moment",
    "read",
    "told_words",
]
