from __future__ import annotations

from collections import deque

import pytest

from provisor.server.admission import (
    BEAT_SECONDS,
    LEAST,
    LEAST_HANDSHAKES,
    LONGEST_REFUSAL_SECONDS,
    MOST,
    REFUSALS_PER_SECOND,
    Admission,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(clock: Clock) -> Admission:
    made = Admission(clock)
    made.wake()
    return made


def answer(admission: Admission, clock: Clock, number: int, seconds: float) -> None:
    """So many requests, one after the other, each in work for so long."""
    for _ in range(number):
        began = admission.begin()
        assert began is not None
        clock.now += seconds
        admission.end(began)


def fill(admission: Admission) -> list[float]:
    """Take every place that is free."""
    taken = []
    while (began := admission.begin()) is not None:
        taken.append(began)
    return taken


def test_there_are_so_many_places_and_no_more(admission: Admission) -> None:
    taken = fill(admission)
    assert len(taken) == admission.places
    admission.end(taken.pop())
    assert admission.begin() is not None
    assert admission.begin() is None


def test_one_who_is_turned_away_is_told_at_once(admission: Admission, clock: Clock) -> None:
    assert admission.refusal_delay() == 0
    clock.now += 1 / REFUSALS_PER_SECOND
    assert admission.refusal_delay() == pytest.approx(0)


def test_a_crowd_that_is_turned_away_is_told_one_after_the_other(admission: Admission, clock: Clock) -> None:
    delays = [admission.refusal_delay() for _ in range(REFUSALS_PER_SECOND // 2)]
    assert delays == pytest.approx([number / REFUSALS_PER_SECOND for number in range(len(delays))])
    clock.now += 0.3
    assert admission.refusal_delay() == pytest.approx(0.2)


def test_nobody_waits_long_for_a_no(admission: Admission, clock: Clock) -> None:
    delays = [admission.refusal_delay() for _ in range(20 * REFUSALS_PER_SECOND)]
    assert max(delays) == pytest.approx(LONGEST_REFUSAL_SECONDS)
    clock.now += LONGEST_REFUSAL_SECONDS + 0.01
    assert admission.refusal_delay() == 0


def test_slow_answers_shrink_the_number_of_places_to_a_least_one(admission: Admission, clock: Clock) -> None:
    before = admission.places
    answer(admission, clock, 16, 0.3)
    assert admission.places < before
    answer(admission, clock, 1000, 0.3)
    assert admission.places == LEAST


def test_quick_answers_make_more_places_only_where_they_were_missed(admission: Admission, clock: Clock) -> None:
    before = admission.places
    answer(admission, clock, 1000, 0.01)
    assert admission.places == before
    for _ in range(100):
        for began in fill(admission):
            admission.end(began)
        clock.now += 0.2
    assert admission.places == MOST


def test_a_few_slow_answers_say_nothing(admission: Admission, clock: Clock) -> None:
    before = admission.places
    answer(admission, clock, 7, 5.0)
    answer(admission, clock, 100, 0.01)
    assert admission.places == before


def test_answers_of_a_late_process_are_slow(admission: Admission, clock: Clock) -> None:
    before = admission.places
    clock.now += 0.3
    admission.beat()
    answer(admission, clock, 30, 0.01)
    assert admission.places < before


@pytest.mark.parametrize(("late_by", "late"), [(0.0, False), (0.04, False), (0.06, True)])
def test_a_process_is_late_when_its_clock_is(admission: Admission, clock: Clock, late_by: float, late: object) -> None:
    clock.now += BEAT_SECONDS + late_by
    admission.beat()
    assert admission.is_late is late
    clock.now += BEAT_SECONDS
    admission.beat()
    assert not admission.is_late


def test_a_time_without_connections_is_no_lateness(admission: Admission, clock: Clock) -> None:
    clock.now += 3600
    admission.wake()
    clock.now += BEAT_SECONDS
    admission.beat()
    assert not admission.is_late


def test_a_late_process_takes_few_new_connections(admission: Admission, clock: Clock) -> None:
    clock.now += 1
    admission.beat()
    newcomers = [admission.welcome() for _ in range(LEAST + 10)]
    assert sum(newcomer is not None for newcomer in newcomers) == LEAST


def test_handshakes_and_requests_share_the_places(admission: Admission) -> None:
    for _ in range(admission.places - 20):
        assert admission.begin() is not None
    newcomers = [admission.welcome() for _ in range(30)]
    assert sum(newcomer is not None for newcomer in newcomers) == 20


def test_requests_of_kept_connections_never_shut_out_all_new_ones(admission: Admission) -> None:
    fill(admission)
    newcomers = [admission.welcome() for _ in range(30)]
    assert sum(newcomer is not None for newcomer in newcomers) == LEAST_HANDSHAKES


def test_a_handshake_that_is_over_makes_room_once(admission: Admission) -> None:
    first = admission.welcome()
    second = admission.welcome()
    assert first is not None
    assert second is not None
    first.done()
    first.done()
    assert admission.handshakes == 1


def test_who_connects_and_is_silent_keeps_nobody_out(admission: Admission, clock: Clock) -> None:
    silent = [admission.welcome() for _ in range(MOST + 10)]
    assert silent[-1] is None
    clock.now += 0.6
    newcomer = admission.welcome()
    assert newcomer is not None
    assert admission.handshakes == 1
    for each in silent:
        if each is not None:
            each.done()
    assert admission.handshakes == 1


@pytest.mark.parametrize("seconds_each", [0.0005, 0.002, 0.01])
def test_at_four_times_what_it_can_do_a_machine_does_what_it_can_in_time(
    admission: Admission, clock: Clock, seconds_each: float
) -> None:
    """One server, first come first served; turning away costs a thirtieth of an answer."""
    waiting: deque[float] = deque()
    took: list[float] = []
    arrived = done = 0
    start = ready = clock.now
    while clock.now < start + 30:
        clock.now += seconds_each / 4
        arrived += 1
        began = admission.begin()
        if began is None:
            ready += seconds_each / 30
        else:
            waiting.append(began)
        while waiting and ready <= clock.now:
            ready = max(ready, waiting[0]) + seconds_each
            began = waiting.popleft()
            took.append(clock.now - began)
            admission.end(began)
            done += 1
    settled = sorted(took[len(took) // 10 :])
    assert done >= 0.88 * (arrived / 4), "nine tenths of the peak, and the cost of turning away"
    assert settled[int(len(settled) * 0.99)] <= 1.0
