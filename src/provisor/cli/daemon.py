"""Doing something again and again in time, until a signal says otherwise."""

from __future__ import annotations

import os
import secrets
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from types import FrameType, TracebackType
from typing import Self

from provisor.core.durations import Duration, format_duration

_SECOND = 1_000_000_000
_LONGEST_SLEEP_SECONDS = 60.0  # a machine that was asleep notices soon that the time has come
_WATCHED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_ENDING = (signal.SIGINT, signal.SIGTERM)

Left = Callable[[], float]
"""How many seconds are left; none or fewer: the time has come."""


class Signals:
    """SIGHUP, SIGINT and SIGTERM as things to wait for instead of interruptions, within a `with` block."""

    def __enter__(self) -> Self:
        self._early: deque[signal.Signals] = deque()
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._before = {number: signal.signal(number, _ignore) for number in _WATCHED}
        self._before_wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._before_wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)

    def wait(self, left: Left) -> signal.Signals | None:
        """Wait for a signal until nothing is `left`; None when that came first.

        `left` is asked again at least once a minute, so that a clock that was set, or a machine that slept, makes
        nobody wait for the wrong time.
        """
        while (seconds := left()) > 0:
            if found := self._next(min(seconds, _LONGEST_SLEEP_SECONDS)):
                return found
        return self._next(0)

    def wait_until(self, at: float) -> signal.Signals | None:
        """As `wait`, until `at` (seconds of `time.time()`)."""
        return self.wait(lambda: at - time.time())

    @property
    def end_is_wanted(self) -> bool:
        """SIGINT or SIGTERM came, and nobody has waited for it yet."""
        while (found := self._read(0)) is not None:
            self._early.append(found)
        return any(one in _ENDING for one in self._early)

    def _next(self, seconds: float) -> signal.Signals | None:
        return self._early.popleft() if self._early else self._read(seconds)

    def _read(self, seconds: float) -> signal.Signals | None:
        ready, _, _ = select.select([self._reader], [], [], seconds)
        return signal.Signals(os.read(self._reader, 1)[0]) if ready else None


def after(seconds: float) -> Left:
    """So many seconds from now, whatever the clock on the wall does; a machine's sleep counts."""
    at = _steady() + seconds
    return lambda: at - _steady()


def until(at: datetime) -> Left:
    """When the clock on the wall says so."""
    return lambda: (at - datetime.now(UTC)).total_seconds()


def _steady() -> float:
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


def _ignore(number: int, frame: FrameType | None) -> None:
    """The wakeup descriptor has told already."""


def jitter(limit: Duration) -> Duration:
    """A random duration below `limit`."""
    return Duration(secrets.randbelow(limit)) if limit > 0 else Duration(0)


def rounded(duration: Duration) -> str:
    """To whole seconds, as people read it: `15h20m37s`."""
    return format_duration(Duration((duration + _SECOND // 2) // _SECOND * _SECOND))


def say(text: str) -> None:
    """A line of the daemon's log, on stdout."""
    print(f"INFO: {_now()} {text}", flush=True)


def complain(text: str) -> None:
    """A failure, on stderr."""
    print(f"ERROR: {_now()} {text}", file=sys.stderr, flush=True)


def _now() -> str:
    return datetime.now().astimezone().strftime("%Y/%m/%d %H:%M:%S")
