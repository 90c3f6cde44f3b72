"""What all messages share."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import example, given
from hypothesis import strategies as some

from agon.messages import rfc3339

ZONES = some.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=8))])
MOMENTS = some.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=ZONES)


@given(MOMENTS)
@example(datetime(2026, 11, 24, 12, tzinfo=UTC))
@example(datetime(2026, 11, 24, 12, 0, 0, 100000, tzinfo=UTC))
def test_a_time_is_told_in_utc_to_the_microsecond_always(moment: datetime) -> None:
    in_utc = moment.astimezone(UTC)
    assert rfc3339(moment) == f"{in_utc.year:04}-{in_utc:%m-%dT%H:%M:%S.%f}Z"
