"""Durations, instants and what may be either. The recorded tables are in tests/conformance/config."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisor.core.durations import (
    HOUR,
    LONGEST,
    MINUTE,
    SECOND,
    SHORTEST,
    UNSET_TIME,
    Duration,
    DurationError,
    TimeDuration,
    add,
    elapsed,
    format_duration,
    format_go_time,
    format_rfc3339,
    format_time_duration,
    parse_duration,
    parse_rfc3339,
    parse_time_duration,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
durations = st.integers(SHORTEST, LONGEST).map(Duration)
instants = st.datetimes(timezones=st.just(UTC))


@given(durations)
def test_a_duration_survives_being_written(duration: Duration) -> None:
    assert parse_duration(format_duration(duration)) == duration


@given(st.text(alphabet="0123456789.+-hmsunµ d\n"))
def test_a_text_is_a_duration_or_a_duration_error(text: str) -> None:
    try:
        duration = parse_duration(text)
    except DurationError:
        return
    assert SHORTEST <= duration <= LONGEST


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9" * 5000 + "h", "invalid duration"),
        ("3000000h", "invalid duration"),
        ("2562047h2562047h", "invalid duration"),
        ("-", "invalid duration"),
        ("+-1h", "invalid duration"),
        ("1h.", "invalid duration"),
        ("1", "missing unit"),
        ('1"h', r'unknown unit "\\"h" in duration "1\\"h"'),
    ],
)
def test_what_does_not_fit_is_refused(text: str, message: str) -> None:
    with pytest.raises(DurationError, match=message):
        parse_duration(text)


def test_digits_beyond_a_nanosecond_are_cut() -> None:
    assert parse_duration("0.9999999999" + "9" * 1000 + "ns") == 0
    assert parse_duration("1." + "0" * 400 + "s") == SECOND


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2020-03-14T15:09:26.535897Z", datetime(2020, 3, 14, 15, 9, 26, 535897, UTC)),
        ("2020-03-14T15:09:26.5358979999Z", datetime(2020, 3, 14, 15, 9, 26, 535897, UTC)),
        ("2020-03-14T15:09:26-07:00", datetime(2020, 3, 14, 22, 9, 26, tzinfo=UTC)),
        ("2020-03-14T15:09:26+07:00", datetime(2020, 3, 14, 8, 9, 26, tzinfo=UTC)),
        ("9999-12-31T23:59:59-07:00", datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_an_instant_is_read_into_utc(text: str, instant: datetime) -> None:
    assert parse_rfc3339(text) == instant
    assert parse_rfc3339(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "2020-03-14T15:09:26Z07:00",
        "2020-03-14t15:09:26z",
        "2020-03-14T15:09:26",
        "2020-02-30T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2020-03-14T24:00:00Z",
        "2020-03-14T15:09:26+25:00",
        "2020-03-14T15:09:60Z",
        "２020-03-14T15:09:26Z",
        "2020-03-14T15:09:26Z\n",
    ],
)
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(DurationError):
        parse_rfc3339(text)
    with pytest.raises(DurationError, match="failed to parse"):
        parse_time_duration(text)


@given(instants)
def test_an_instant_survives_being_written(instant: datetime) -> None:
    assert parse_rfc3339(format_rfc3339(instant)) == instant


def test_instants_are_shown_in_utc() -> None:
    east = timezone(timedelta(hours=2))
    assert format_go_time(datetime(2026, 11, 23, 18, 8, 54, tzinfo=east)) == "2026-11-23 16:08:54 +0000 UTC"
    assert format_go_time(datetime(1, 1, 2, 0, 0, 1, 500000, tzinfo=UTC)) == "0001-01-02 00:00:01.5 +0000 UTC"


@given(instants, instants)
def test_elapsed_is_signed_and_saturates(start: datetime, end: datetime) -> None:
    duration = elapsed(start, end)
    assert SHORTEST <= duration <= LONGEST
    if SHORTEST < duration < LONGEST:
        assert add(start, duration) == end


def test_the_longest_duration_reads_as_recorded() -> None:
    assert format_duration(elapsed(NOON, datetime(9999, 12, 31, tzinfo=UTC))) == "2562047h47m16.854775807s"


def test_adding_stops_at_the_ends_of_the_calendar() -> None:
    assert add(datetime(9999, 12, 31, 23, tzinfo=UTC), Duration(2 * HOUR)).year == 9999
    assert add(datetime(1, 1, 1, tzinfo=UTC), Duration(-HOUR)) == datetime(1, 1, 1, tzinfo=UTC)


def test_a_relative_time_counts_from_the_base_and_an_absolute_one_does_not() -> None:
    assert parse_time_duration("-5m").resolve(NOON) == NOON - timedelta(minutes=5)
    assert parse_time_duration("2026-06-01T00:00:00Z").resolve(NOON) == datetime(2026, 6, 1, tzinfo=UTC)
    assert UNSET_TIME.resolve(NOON) is None


@pytest.mark.parametrize("text", ["", "0", "0s", "-0h", "0001-01-01T00:00:00Z"])
def test_nothing_zero_and_the_first_instant_are_unset(text: str) -> None:
    assert parse_time_duration(text).is_unset
    assert parse_time_duration(text) == UNSET_TIME
    assert format_time_duration(parse_time_duration(text)) == ""


@given(durations | instants)
def test_a_time_or_duration_survives_being_written(value: Duration | datetime) -> None:
    both = TimeDuration(at=value) if isinstance(value, datetime) else TimeDuration(after=value)
    assert parse_time_duration(format_time_duration(both)) == both
    assert hash(parse_time_duration(format_time_duration(both))) == hash(both)


def test_a_time_or_duration_does_not_change() -> None:
    value = TimeDuration(after=MINUTE)
    with pytest.raises(AttributeError):
        value.after = HOUR
    with pytest.raises(AttributeError):
        del value.at
    assert repr(value) == "TimeDuration('1m0s')"
    assert value != "1m0s"
