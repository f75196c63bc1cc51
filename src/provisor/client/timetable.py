"""When a kept certificate is renewed, or tried again: by the clock on the wall, which may jump."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, final

from provisor.client import renewal
from provisor.core.durations import Duration, elapsed
from provisor.core.x509.certificate import Certificate

_NANOSECONDS: Final = 1_000_000_000
_JUMP_SECONDS: Final = 30.0


def wall_clock() -> datetime:
    return datetime.now(UTC)


def steady_clock() -> float:
    """Seconds that nobody sets; a machine's sleep counts, where the system tells."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def random_jitter(limit: Duration) -> Duration:
    """A random duration below `limit`."""
    return Duration(secrets.randbelow(limit)) if limit > 0 else Duration(0)


@final
class Timetable:
    """Says how many seconds are left; none or fewer: the time has come."""

    def __init__(
        self,
        expires_in: timedelta | None,
        *,
        wall: Callable[[], datetime] = wall_clock,
        steady: Callable[[], float] = steady_clock,
        jitter: renewal.Jitter = random_jitter,
    ) -> None:
        """`expires_in`: how long before its end a certificate is renewed, None: when a third of its time is left."""
        self._expires_in = None if expires_in is None else elapsed(_EPOCH, _EPOCH + expires_in)
        self._wall = wall
        self._steady = steady
        self._jitter = jitter
        self._failures = 0
        self._due = _EPOCH
        self._not_before = 0.0
        self._offset = 0.0

    @property
    def due(self) -> datetime:
        """When the certificate is to be renewed."""
        return self._due

    @property
    def failures(self) -> int:
        """Attempts in a row that failed."""
        return self._failures

    def begin(self, leaf: Certificate, *, again: bool) -> None:
        """`leaf` is used from now on. `again`: one that is due at once is used for a little while all the same."""
        self._due = renewal.renewal_time(
            leaf.not_before, leaf.not_after, expires_in=self._expires_in, jitter=self._jitter
        )
        self._rest(renewal.least_wait(elapsed(leaf.not_before, leaf.not_after)) if again else Duration(0))

    @property
    def is_due(self) -> bool:
        return self._due <= self._wall()

    def recovered(self) -> None:
        """What failed did not fail again."""
        self._failures = 0

    def failed(self, leaf: Certificate) -> float:
        """An attempt to renew `leaf` failed; how many seconds until the next one."""
        self._failures += 1
        delay = renewal.retry_delay(self._failures, elapsed(self._wall(), leaf.not_after), self._jitter)
        self._rest(delay)
        return delay / _NANOSECONDS

    def left(self) -> float:
        """Until due, and rested. When the clock was set, a failure may have had that reason: there is no more rest."""
        rest = self._not_before - self._steady()
        if self._failures:
            return 0.0 if abs(self._wall().timestamp() - self._steady() - self._offset) > _JUMP_SECONDS else rest
        return max((self._due - self._wall()).total_seconds(), rest)

    def _rest(self, duration: Duration) -> None:
        now = self._steady()
        self._not_before = now + duration / _NANOSECONDS
        self._offset = self._wall().timestamp() - now


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
