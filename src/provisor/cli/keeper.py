"""A daemon that keeps a certificate in two files from ending, whatever its CA, its clock and its host do.

Nothing that goes wrong ends it: it says what, and tries again. What is done after a renewal (`--exec`, `--pid`) is
tried again by itself: a service that cannot reload costs no second certificate.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from typing import final

import msgspec

from provisor.cli import afterwards, daemon, keys
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call
from provisor.cli.pair import Pair, reload_pair
from provisor.client import renewal
from provisor.core.durations import Duration, elapsed
from provisor.errors import ProvisorError

_NANOSECONDS = 1_000_000_000
_SURVIVED = (CommandError, ProvisorError, OSError, ValueError, RuntimeError)


class Task(msgspec.Struct, frozen=True):
    """`act` makes and writes the next certificate; `done` says it, `renewed`."""

    crt_file: str
    key_file: str
    act: Callable[[Pair], Pair]
    done: str
    expires_in: Duration | None
    period: Duration | None


@final
class Keeper:
    """`run` ends with SIGINT or SIGTERM; SIGHUP renews at once."""

    def __init__(self, call: Call, pair: Pair, task: Task) -> None:
        self._call = call
        self._pair = pair
        self._task = task
        self._seen = self._look()
        self._failures = 0
        self._owed = False
        """The certificate is written, but not everybody who should be told was told."""

    def run(self) -> None:
        with daemon.Signals() as signals:
            left = self._next()
            daemon.say(f"first renewal in {_shown(left)}")
            while (found := signals.wait(left)) in (None, signal.SIGHUP):
                left = self._turn(signals, hurried=found is not None)

    def _turn(self, signals: daemon.Signals, *, hurried: bool) -> daemon.Left:
        """Act, tell, and when to come back."""
        try:
            if hurried or not self._owed:
                self._take_over()
                self._pair = self._task.act(self._pair)
                self._seen = self._look()
                self._owed = True
            afterwards.run(self._call, signals)
        except _SURVIVED as error:
            # The next attempt may succeed, and nobody is there to start another daemon.
            return self._failed(error)
        self._owed, self._failures = False, 0
        left = self._next(again=True)
        daemon.say(f"{self._pair.leaf.common_name} certificate {self._task.done}, next in {_shown(left)}")
        return left

    def _failed(self, error: Exception) -> daemon.Left:
        expected = isinstance(error, CommandError | ProvisorError)
        daemon.complain(str(error).splitlines()[0] if expected and str(error) else f"{type(error).__name__}: {error}")
        self._failures += 1
        ends_in = elapsed(datetime.now(UTC), self._pair.leaf.not_after)
        return daemon.after(renewal.retry_delay(self._failures, ends_in, daemon.jitter) / _NANOSECONDS)

    def _next(self, *, again: bool = False) -> daemon.Left:
        """`again`: after a renewal, when a certificate that is due already is used for a while all the same."""
        task, leaf = self._task, self._pair.leaf
        if task.period is not None:
            return daemon.after(task.period / _NANOSECONDS)
        due = renewal.renewal_time(leaf.not_before, leaf.not_after, expires_in=task.expires_in, jitter=daemon.jitter)
        if again and due <= datetime.now(UTC):
            return daemon.after(renewal.least_wait(elapsed(leaf.not_before, leaf.not_after)) / _NANOSECONDS)
        return daemon.until(due)

    def _take_over(self) -> None:
        """Somebody else may have put another certificate into the files."""
        if (seen := self._look()) == self._seen:
            return
        password, _ = keys.password_from(self._call, "password-file")
        if found := reload_pair(self._task.crt_file, self._task.key_file, password):
            self._pair, self._seen = found, seen

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        """What changes when a file does; nothing for one that is not there."""
        looks = []
        for path in (self._task.crt_file, self._task.key_file):
            try:
                status = os.stat(path)
                looks.append((status.st_ino, status.st_size, status.st_mtime_ns))
            except OSError:
                looks.append((0, 0, 0))
        return tuple(looks)


def _shown(left: daemon.Left) -> str:
    return daemon.rounded(Duration(max(0, int(left() * _NANOSECONDS))))
