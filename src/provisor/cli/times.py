"""Times and durations in flags."""

from __future__ import annotations

from provisor.cli import exits
from provisor.cli.grammar import Call
from provisor.core.durations import Duration, DurationError, TimeDuration, parse_duration, parse_time_duration


def time_flag(call: Call, name: str) -> TimeDuration:
    """An RFC 3339 time or a duration from now; unset without the flag. Raises `CommandError`."""
    try:
        return parse_time_duration(call.text(name))
    except DurationError as error:
        raise exits.invalid_value(call.text(name), name) from error


def duration_flag(call: Call, name: str) -> Duration | None:
    """A duration; None without the flag. Raises `CommandError`."""
    if not call.text(name):
        return None
    try:
        return parse_duration(call.text(name))
    except DurationError as error:
        raise exits.invalid_value(call.text(name), name) from error
