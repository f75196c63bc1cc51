from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from provisor.client.renewal import Jitter, is_due, next_delay
from provisor.core.durations import HOUR, MINUTE, SECOND, Duration

START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(hours=24)


def none(limit: Duration) -> Duration:
    return Duration(0)


def most(limit: Duration) -> Duration:
    return limit


@pytest.mark.parametrize(
    ("jitter", "expected"),
    [(none, Duration(16 * HOUR)), (most, Duration(16 * HOUR - 72 * MINUTE))],
)
def test_a_fresh_certificate_waits_until_a_third_is_left(jitter: Jitter, expected: Duration) -> None:
    assert next_delay(START, END, START, expires_in=None, period=None, jitter=jitter) == expected


def test_a_certificate_that_is_due_does_not_wait() -> None:
    late = START + timedelta(hours=20)
    assert next_delay(START, END, late, expires_in=None, period=None, jitter=none) == 0
    assert next_delay(START, END, END + timedelta(days=9), expires_in=None, period=None, jitter=most) == 0


def test_expires_in_counts_from_the_end() -> None:
    delay = next_delay(START, END, START, expires_in=Duration(2 * HOUR), period=None, jitter=most)
    assert delay == 22 * HOUR - 6 * MINUTE


def test_a_period_is_fixed() -> None:
    delay = next_delay(START, END, START, expires_in=None, period=Duration(3 * SECOND), jitter=most)
    assert delay == 3 * SECOND
    assert next_delay(START, END, START, expires_in=None, period=Duration(-SECOND), jitter=none) == 0


@pytest.mark.parametrize(
    ("left", "jitter", "due"),
    [
        (timedelta(hours=1), none, True),
        (timedelta(hours=1, seconds=1), none, False),
        (timedelta(hours=1, minutes=3), most, True),
        (timedelta(hours=1, minutes=3, seconds=1), most, False),
        (timedelta(hours=-1), none, True),
    ],
)
def test_a_certificate_is_due_when_little_is_left(left: timedelta, jitter: Jitter, due: bool) -> None:
    assert is_due(END, END - left, HOUR, jitter) is due


def test_the_random_part_is_bounded_by_a_twentieth() -> None:
    asked: list[Duration] = []

    def note(limit: Duration) -> Duration:
        asked.append(limit)
        return Duration(0)

    is_due(END, START, HOUR, note)
    next_delay(START, END, START, expires_in=None, period=None, jitter=note)
    assert asked == [3 * MINUTE, 72 * MINUTE]
