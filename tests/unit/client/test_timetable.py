"""When a kept certificate is renewed, with clocks that the test turns."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from provisor import Certificate
from provisor.client.timetable import Timetable, random_jitter, steady_clock, wall_clock
from provisor.core.durations import Duration
from provisor.testing import CA

MINUTE = 60.0
HOUR = 3600.0


class Clocks:
    """One that may be set, and one that may not."""

    def __init__(self) -> None:
        self.wall = datetime.now(UTC)
        self.steady = 1000.0

    def pass_by(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.steady += seconds

    def set_to(self, seconds_later: float) -> None:
        self.wall += timedelta(seconds=seconds_later)


@pytest.fixture(scope="module")
def ca() -> Iterator[CA]:
    with CA() as running:
        yield running


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def timetable(clocks: Clocks, expires_in: timedelta | None = None) -> Timetable:
    return Timetable(
        expires_in, wall=lambda: clocks.wall, steady=lambda: clocks.steady, jitter=lambda limit: Duration(0)
    )


def a_day(ca: CA) -> Certificate:
    return ca.issue("a.test", not_after=timedelta(hours=24))


def test_a_third_of_the_time_is_left(ca: CA, clocks: Clocks) -> None:
    times = timetable(clocks)
    times.begin(a_day(ca).leaf, again=False)
    assert times.left() == pytest.approx(16 * HOUR, abs=2 * MINUTE)
    assert times.due - clocks.wall == pytest.approx(timedelta(hours=16), abs=timedelta(minutes=2))
    clocks.pass_by(16 * HOUR)
    assert times.left() <= 0
    assert times.is_due


def test_or_as_long_before_its_end_as_is_wanted(ca: CA, clocks: Clocks) -> None:
    times = timetable(clocks, timedelta(hours=1))
    times.begin(a_day(ca).leaf, again=False)
    assert times.left() == pytest.approx(23 * HOUR, abs=2 * MINUTE)


def test_the_clock_may_be_set_while_nothing_is_due(ca: CA, clocks: Clocks) -> None:
    times = timetable(clocks)
    times.begin(a_day(ca).leaf, again=False)
    clocks.set_to(20 * HOUR)
    assert times.left() <= 0
    clocks.set_to(-20 * HOUR)
    assert times.left() > 15 * HOUR


def test_failures_are_tried_again_less_and_less_often(ca: CA, clocks: Clocks) -> None:
    times = timetable(clocks)
    leaf = a_day(ca).leaf
    times.begin(leaf, again=False)
    clocks.pass_by(16 * HOUR)
    waits = []
    for _ in range(6):
        waits.append(times.failed(leaf))
        assert times.left() == pytest.approx(waits[-1])
        clocks.pass_by(waits[-1])
        assert times.left() <= 0
    assert waits == [1 * MINUTE, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE, 15 * MINUTE, 15 * MINUTE]
    assert times.failures == 6
    times.recovered()
    assert times.failures == 0


def test_the_nearer_the_end_the_oftener(ca: CA, clocks: Clocks) -> None:
    times = timetable(clocks)
    leaf = ca.issue("a.test", not_after=timedelta(seconds=60)).leaf
    times.begin(leaf, again=False)
    clocks.pass_by(30)
    assert times.failed(leaf) < 4


@pytest.mark.parametrize("jump", [-HOUR, -31.0, 31.0, HOUR])
def test_a_clock_that_was_set_may_have_been_the_reason_of_a_failure(ca: CA, clocks: Clocks, jump: float) -> None:
    times = timetable(clocks)
    leaf = a_day(ca).leaf
    times.begin(leaf, again=False)
    times.failed(leaf)
    assert times.left() > 0
    clocks.set_to(jump)
    assert times.left() == 0


def test_a_clock_that_is_slewed_is_not_a_jump(ca: CA, clocks: Clocks) -> None:
    times = timetable(clocks)
    leaf = a_day(ca).leaf
    times.begin(leaf, again=False)
    times.failed(leaf)
    clocks.set_to(5)
    assert times.left() == pytest.approx(MINUTE)


def test_a_certificate_that_is_due_at_once_is_used_for_a_while(ca: CA, clocks: Clocks) -> None:
    times = timetable(clocks, timedelta(hours=48))
    times.begin(a_day(ca).leaf, again=False)
    assert times.left() <= 0
    times.begin(a_day(ca).leaf, again=True)
    assert times.left() == pytest.approx(MINUTE)


def test_the_usual_clocks_tell_the_time() -> None:
    assert wall_clock().tzinfo is UTC
    assert steady_clock() <= steady_clock()
    assert random_jitter(Duration(0)) == 0
    assert 0 <= random_jitter(Duration(10)) < 10
