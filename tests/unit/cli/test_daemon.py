from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from provisor.cli import daemon
from provisor.core.durations import HOUR, SECOND, Duration


def test_a_signal_ends_the_wait() -> None:
    with daemon.Signals() as signals:
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGHUP))
        timer.start()
        started = time.monotonic()
        assert signals.wait_until(time.time() + 30) is signal.SIGHUP
        assert time.monotonic() - started < 10
        timer.join()


def test_signals_are_kept_in_order_until_somebody_waits() -> None:
    with daemon.Signals() as signals:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.wait_until(0) is signal.SIGHUP
        assert signals.wait_until(0) is signal.SIGTERM
        assert signals.wait_until(0) is None


def test_the_handlers_of_before_are_back() -> None:
    before = [signal.getsignal(number) for number in daemon._WATCHED]
    with daemon.Signals():
        assert [signal.getsignal(number) for number in daemon._WATCHED] != before
    assert [signal.getsignal(number) for number in daemon._WATCHED] == before


@pytest.mark.parametrize(
    ("duration", "text"),
    [(15 * HOUR + 37 * SECOND + 400_000_000, "15h0m37s"), (1_500_000_000, "2s"), (499_999_999, "0s"), (0, "0s")],
)
def test_people_read_whole_seconds(duration: int, text: str) -> None:
    assert daemon.rounded(Duration(duration)) == text


def test_the_random_part_is_within_its_limit() -> None:
    assert daemon.jitter(Duration(0)) == 0
    assert all(0 <= daemon.jitter(Duration(5)) < 5 for _ in range(50))
