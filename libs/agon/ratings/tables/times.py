"""Times as data sets write them: RFC 3339 text, dates, or seconds (milli-, microseconds) since 1970."""

from datetime import UTC, datetime

import polars as pl

from agon.errors import InvalidRequest

_LARGEST_SECONDS = 1e11
"""The year 5138; a larger number is in milliseconds, a thousand times as large in microseconds."""


def moment(text: str) -> datetime:
    """A date or time that a user typed, in UTC unless it says otherwise. Raises `InvalidRequest`."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidRequest(f"{text!r} is no date or time such as 2026-11-27 or 2026-11-27T15:00Z") from error
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def moments(column: str, kind: pl.DataType) -> pl.Expr:
    """A column as UTC times; null where it can't be read as one."""
    value = pl.col(column)
    if isinstance(kind, pl.Datetime):
        local = value if kind.time_zone is None else value.dt.convert_time_zone("UTC")
        return local.dt.replace_time_zone("UTC").dt.cast_time_unit("us")
    if kind == pl.Date:
        return value.cast(pl.Datetime("us", "UTC"))
    if kind.is_numeric():
        return _since_1970(value.cast(pl.Float64))
    text = value.cast(pl.String).str.strip_chars()
    zoned = text.str.replace(r"(?i)z$", "+00:00").str.replace(" ", "T")
    return pl.coalesce(
        zoned.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", strict=False, time_unit="us"),
        zoned.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", strict=False, time_unit="us").dt.replace_time_zone("UTC"),
        zoned.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us", "UTC")),
        _since_1970(text.cast(pl.Float64, strict=False)),
    )


def _since_1970(number: pl.Expr) -> pl.Expr:
    seconds = (
        pl.when(number.abs() < _LARGEST_SECONDS)
        .then(number)
        .when(number.abs() < _LARGEST_SECONDS * 1e3)
        .then(number / 1e3)
        .when(number.abs() < _LARGEST_SECONDS * 1e6)
        .then(number / 1e6)
        .otherwise(number / 1e9)
    )
    return (seconds * 1e6).cast(pl.Int64, strict=False).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
