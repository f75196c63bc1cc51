"""Instants: sprig's date functions and the ones step adds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from provisor.core.durations import Duration, DurationError, format_duration, parse_duration
from provisor.core.template.errors import FunctionError
from provisor.core.template.function import ANY, Function, spends, takes
from provisor.core.template.functions.numbers import wrap
from provisor.core.template.limits import Budget
from provisor.core.template.times import (
    LAYOUTS,
    LOCAL,
    RFC3339,
    UTC_ZONE,
    ZERO_TIME,
    GoTime,
    Zone,
    format_time,
    from_datetime,
    named_zone,
    parse_time,
)
from provisor.core.template.values import Int32, Int64, Value

_SECOND: Final = 1_000_000_000


def _now(budget: Budget) -> GoTime:
    return from_datetime(budget.world.now, LOCAL)


def _zone(budget: Budget, name: str) -> Zone:
    if name in ("", "UTC"):
        return UTC_ZONE
    if name == "Local":
        return LOCAL
    zone = budget.world.zone(name)
    if zone is None:
        raise FunctionError(f"unknown time zone {name}")
    return named_zone(name, zone)


def _instant(budget: Budget, value: Value) -> GoTime:
    """A time, or seconds from 1970 as a whole number; anything else means now."""
    if isinstance(value, GoTime):
        return value
    if type(value) in (int, Int64, Int32):
        return GoTime(int(value), 0, LOCAL)
    return _now(budget)


def _in_zone(budget: Budget, layout: str, value: Value, name: str) -> str:
    try:
        zone = _zone(budget, name)
    except FunctionError:
        zone = UTC_ZONE
    instant = _instant(budget, value)
    return format_time(GoTime(instant.seconds, instant.nanosecond, zone), layout)


def _date(budget: Budget, layout: str, value: Value) -> str:
    return _in_zone(budget, layout, value, "Local")


def _moved(text: str, time: GoTime) -> GoTime:
    try:
        return time.moved(int(parse_duration(text)))
    except DurationError as error:
        raise FunctionError(str(error)) from None


def _moved_or_not(text: str, time: GoTime) -> GoTime:
    try:
        return _moved(text, time)
    except FunctionError:
        return time


def _ago(budget: Budget, value: Value) -> str:
    since = int(_now(budget).since(_instant(budget, value)))
    rest = abs(since) % _SECOND
    whole = abs(since) - rest + (_SECOND if rest * 2 >= _SECOND else 0)
    return format_duration(Duration(-whole if since < 0 else whole))


def _duration(value: Value) -> str:
    seconds = 0
    if isinstance(value, str):
        digits = value[1:] if value[:1] in ("+", "-") else value
        if digits.isascii() and digits.isdecimal() and len(digits) < 40:
            seconds = max(-(2**63), min(2**63 - 1, int(value)))
    elif type(value) is Int64:
        seconds = int(value)
    return format_duration(Duration(wrap(seconds * _SECOND)))


_ROUND: Final = (
    (365 * 24 * 3600 * _SECOND, "y"),
    (30 * 24 * 3600 * _SECOND, "mo"),
    (24 * 3600 * _SECOND, "d"),
    (3600 * _SECOND, "h"),
    (60 * _SECOND, "m"),
    (_SECOND, "s"),
)


def _duration_round(budget: Budget, value: Value) -> str:
    length = 0
    if isinstance(value, str):
        try:
            length = int(parse_duration(value))
        except DurationError:
            length = 0
    elif type(value) is Int64:
        length = int(value)
    elif isinstance(value, GoTime):
        length = int(_now(budget).since(value))
    length = abs(length)
    return next((f"{length // unit}{name}" for unit, name in _ROUND if length > unit), "0s")


def _to_date(layout: str, text: str) -> GoTime:
    return parse_time(layout, text, LOCAL)


def _to_date_or_zero(layout: str, text: str) -> GoTime:
    try:
        return _to_date(layout, text)
    except FunctionError:
        return ZERO_TIME


# -- what step adds ------------------------------------------------------------------------------


def _to_time(budget: Budget, value: Value) -> GoTime:
    if isinstance(value, GoTime):
        return GoTime(value.seconds, value.nanosecond)
    if type(value) in (int, Int64, Int32) or (isinstance(value, float) and abs(value) < 2**62):
        return GoTime(int(value))
    return from_datetime(budget.world.now)


def _layout(name: str) -> str:
    return LAYOUTS.get(name.removeprefix("time.").lower(), name)


def _parse_time(budget: Budget, *texts: str) -> GoTime:
    if not texts:
        return from_datetime(budget.world.now)
    if len(texts) == 1:
        return parse_time(RFC3339, texts[0])
    if len(texts) == 2:
        return parse_time(_layout(texts[0]), texts[1])
    if len(texts) == 3:
        return parse_time(_layout(texts[0]), texts[1], _zone(budget, texts[2]))
    raise FunctionError("unsupported number of parameters")


def _parse_time_or_zero(budget: Budget, *texts: str) -> GoTime:
    try:
        return _parse_time(budget, *texts)
    except FunctionError:
        return ZERO_TIME


_IN_ZONE: Final = spends("string", ANY, "string")(_in_zone)
_MODIFY: Final = takes("string", "time.Time")(_moved_or_not)
_MUST_MODIFY: Final = takes("string", "time.Time")(_moved)

DATES: Final[Mapping[str, Function]] = {
    "ago": spends(ANY)(_ago),
    "date": spends("string", ANY)(_date),
    "dateInZone": _IN_ZONE,
    "dateModify": _MODIFY,
    "date_in_zone": _IN_ZONE,
    "date_modify": _MODIFY,
    "duration": takes(ANY)(_duration),
    "durationRound": spends(ANY)(_duration_round),
    "htmlDate": spends(ANY)(lambda budget, value: _in_zone(budget, "2006-01-02", value, "Local")),
    "htmlDateInZone": spends(ANY, "string")(lambda budget, value, zone: _in_zone(budget, "2006-01-02", value, zone)),
    "mustDateModify": _MUST_MODIFY,
    "mustToDate": takes("string", "string")(_to_date),
    "must_date_modify": _MUST_MODIFY,
    "now": spends()(_now),
    "toDate": takes("string", "string")(_to_date_or_zero),
    "unixEpoch": takes("time.Time")(lambda time: str(time.seconds)),
}
STEP_DATES: Final[Mapping[str, Function]] = {
    "formatTime": spends(ANY)(lambda budget, value: format_time(_to_time(budget, value), RFC3339)),
    "mustParseTime": spends("...string")(_parse_time),
    "parseTime": spends("...string")(_parse_time_or_zero),
    "toTime": spends(ANY)(_to_time),
    "toTimeLayout": takes("string")(_layout),
}
