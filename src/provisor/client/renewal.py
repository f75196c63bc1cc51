"""When to renew a certificate. Pure: the clock and the random delay come from the caller.

Renewing a little before time is random so that many machines with one birthday do not come at one moment.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from provisor.core.durations import Duration, elapsed

Jitter = Callable[[Duration], Duration]
"""A random duration from zero up to, not including, the given one."""

_LATEST_PART: Final = 3  # renew when a third of the validity is left
_JITTER_PART: Final = 20


def is_due(not_after: datetime, now: datetime, expires_in: Duration, jitter: Jitter) -> bool:
    """No more than `expires_in` and a random twentieth of it is left."""
    return elapsed(now, not_after) <= expires_in + jitter(Duration(expires_in // _JITTER_PART))


def next_delay(
    not_before: datetime,
    not_after: datetime,
    now: datetime,
    *,
    expires_in: Duration | None,
    period: Duration | None,
    jitter: Jitter,
) -> Duration:
    """How long to wait before the next renewal, zero if it is due.

    A fixed `period`, else until `expires_in` before the end, else until a third of the validity is left; the latter
    two less a random twentieth of `expires_in` or of the validity.
    """
    if period is not None:
        return max(period, Duration(0))
    validity = elapsed(not_before, not_after)
    before_end = expires_in if expires_in is not None else Duration(validity // _LATEST_PART)
    spread = expires_in if expires_in is not None else validity
    delay = elapsed(now, not_after) - before_end - jitter(Duration(max(spread, 0) // _JITTER_PART))
    return Duration(max(delay, 0))
