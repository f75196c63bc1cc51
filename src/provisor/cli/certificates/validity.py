"""`--not-before` and `--not-after` of a certificate that is made here."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct

from provisor.cli import exits
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call
from provisor.cli.times import time_flag

DAY = timedelta(days=1)
TEN_YEARS = timedelta(days=3650)


class Window(Struct, frozen=True):
    """Both ends are whole seconds and belong to it."""

    not_before: datetime
    not_after: datetime


def window_from(call: Call, lifetime: timedelta, now: datetime, *, refuse_expired: bool = False) -> Window:
    """From now, or `--not-before`, for `lifetime`, or until `--not-after`; durations count from now.

    Raises `CommandError` for an end before the start; `refuse_expired` gives one that is past, when no start is
    named, a text of its own.
    """
    start = time_flag(call, "not-before").resolve(now)
    end = time_flag(call, "not-after").resolve(now)
    if refuse_expired and start is None and end is not None and end < now:
        raise CommandError(f"{exits.invalid_value(call.text('not-after'), 'not-after').message}: {_EXPIRED}")
    not_before = start or now
    try:
        not_after = end or not_before + lifetime
    except OverflowError as error:
        raise exits.invalid_value(call.text("not-before"), "not-before") from error
    if not_after < not_before:
        raise CommandError(
            f"flag '--not-before {call.text('not-before')}' is incompatible with "
            f"flag '--not-after {call.text('not-after')}'"
        )
    return Window(not_before.replace(microsecond=0), not_after.replace(microsecond=0))


_EXPIRED = "certificate is already expired"
