"""Durations in the notation `1h30m`, instants, and the "time or duration" of requests (core-api 0.2).

A `Duration` is a signed 64-bit number of nanoseconds. Instants are aware datetimes in UTC, in
microseconds: finer digits are cut. Results outside the years 1 to 9999 stay at the nearest end.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, NewType, NoReturn, final

Duration = NewType("Duration", int)

NANOSECOND: Final = Duration(1)
MICROSECOND: Final = Duration(1_000)
MILLISECOND: Final = Duration(1_000_000)
SECOND: Final = Duration(1_000_000_000)
MINUTE: Final = Duration(60 * SECOND)
HOUR: Final = Duration(60 * MINUTE)
LONGEST: Final = Duration(2**63 - 1)
SHORTEST: Final = Duration(-(2**63))

_UNITS: Final = {
    "ns": NANOSECOND,
    "us": MICROSECOND,
    "µs": MICROSECOND,
    "μs": MICROSECOND,
    "ms": MILLISECOND,
    "s": SECOND,
    "m": MINUTE,
    "h": HOUR,
}

_TICK: Final = timedelta(microseconds=1)
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_LATEST: Final = datetime.max.replace(tzinfo=UTC)


class DurationError(ValueError):
    """Not a duration or not an instant. The text is the reference's."""


_PART: Final = re.compile(r"([0-9]*)(?:(\.)([0-9]*))?([^0-9.]*)")
_LONGEST_FRACTION: Final = 19
"""Digits of a fraction that can matter: an hour has 13 digits of nanoseconds."""


def parse_duration(text: str) -> Duration:
    """`[+-]` and one or more `<decimal><unit>`, or `0`. Raises `DurationError`."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    negative = text.startswith("-")
    if rest == "0":
        return Duration(0)
    if not rest:
        raise _invalid(text)
    total = 0
    while rest:
        amount, rest = _part(text, rest)
        total += amount
        if total > 2**63:
            raise _invalid(text)
    if negative:
        return Duration(-total)
    if total > LONGEST:
        raise _invalid(text)
    return Duration(total)


def _part(text: str, rest: str) -> tuple[int, str]:
    """Nanoseconds of the first `<decimal><unit>`, and what follows it."""
    match = _PART.match(rest)
    if match is None or not (match[1] or match[3]):
        raise _invalid(text)
    whole = match[1].lstrip("0")
    unit = _UNITS.get(match[4])
    if unit is None:
        if not match[4]:
            raise DurationError(f"time: missing unit in duration {_quoted(text)}")
        raise DurationError(f"time: unknown unit {_quoted(match[4])} in duration {_quoted(text)}")
    if len(whole) > _LONGEST_FRACTION:
        raise _invalid(text)
    amount = int(whole or "0") * unit
    if amount > 2**63:
        raise _invalid(text)
    if fraction := (match[3] or "")[:_LONGEST_FRACTION]:
        amount += int(fraction) * unit // 10 ** len(fraction)
    return amount, rest[match.end() :]


def _invalid(text: str) -> DurationError:
    return DurationError(f"time: invalid duration {_quoted(text)}")


def _quoted(text: str) -> str:
    """In quotes, with the octets of control and non-ASCII characters as `\\x..`."""
    return '"' + "".join(_quoted_octet(octet) for octet in text.encode("utf-8", "surrogatepass")) + '"'


def _quoted_octet(octet: int) -> str:
    if octet < 0x20 or octet >= 0x80:
        return f"\\x{octet:02x}"
    return f"\\{chr(octet)}" if octet in b'"\\' else chr(octet)


def format_duration(duration: Duration) -> str:
    """The canonical form: `24h0m0s`, `1m30s`, `1.5s`, `300ms`, `0s`. Inverse of `parse_duration`."""
    sign = "-" if duration < 0 else ""
    amount = abs(duration)
    if amount == 0:
        return "0s"
    for unit, name, digits in ((MICROSECOND, "ns", 0), (MILLISECOND, "µs", 3), (SECOND, "ms", 6)):
        if amount < unit:
            return f"{sign}{_decimal(amount, digits)}{name}"
    minutes, rest = divmod(amount, MINUTE)
    seconds = f"{_decimal(rest, 9)}s"
    if not minutes:
        return sign + seconds
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours}h{minutes}m{seconds}" if hours else f"{sign}{minutes}m{seconds}"


def _decimal(amount: int, digits: int) -> str:
    """`amount` with the decimal point `digits` from the right, without trailing zeros."""
    whole, fraction = divmod(amount, 10**digits)
    return f"{whole}.{fraction:0{digits}d}".rstrip("0") if fraction else str(whole)


# -- instants ------------------------------------------------------------------------------------

_RFC3339: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:[.,]([0-9]+))?(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)


def parse_rfc3339(text: str) -> datetime:
    """An RFC 3339 instant, `T` and `Z` in upper case, in UTC. Raises `DurationError`."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise DurationError(f"not an RFC 3339 time: {_quoted(text)}")
    microsecond = int((match[7] or "")[:6].ljust(6, "0"))
    numbers = (int(group) for group in match.groups()[:6])
    try:
        instant = datetime(*numbers, microsecond=microsecond, tzinfo=UTC)  # type: ignore[arg-type,misc]  # six integers
        if not match[8]:
            return instant
        hours, minutes = int(match[9]), int(match[10])
        if hours > 24 or minutes > 60:
            raise ValueError("time zone offset out of range")
        offset = timedelta(hours=hours, minutes=minutes)
    except ValueError as error:
        raise DurationError(f"not an RFC 3339 time: {_quoted(text)}: {error}") from error
    try:
        return instant - offset if match[8] == "+" else instant + offset
    except OverflowError:
        return _LATEST if match[8] == "-" else _EARLIEST


def format_rfc3339(instant: datetime) -> str:
    """In UTC, with as many digits of a fraction as are needed."""
    if instant.tzinfo is not UTC:
        instant = instant.astimezone(UTC)
    text = instant.isoformat()[: -len("+00:00")]
    return (text.rstrip("0") if "." in text else text) + "Z"


def format_go_time(instant: datetime) -> str:
    """`2006-01-02 15:04:05 +0000 UTC`, as error texts show instants."""
    return format_rfc3339(instant)[:-1].replace("T", " ") + " +0000 UTC"


def elapsed(start: datetime, end: datetime) -> Duration:
    """From `start` to `end`, at most what a `Duration` holds (about 292 years)."""
    nanoseconds = (end - start) // _TICK * MICROSECOND
    return Duration(max(SHORTEST, min(LONGEST, nanoseconds)))


def add(instant: datetime, duration: Duration) -> datetime:
    """`instant` moved by `duration`, inside the years 1 to 9999."""
    try:
        return instant + timedelta(microseconds=duration // MICROSECOND)
    except OverflowError:
        return _LATEST if duration > 0 else _EARLIEST


# -- time or duration ----------------------------------------------------------------------------


@final
class TimeDuration:
    """An instant, a duration from a base that is chosen later, or unset. Immutable.

    Not a msgspec struct, because on the wire it is a string.
    """

    __slots__ = ("after", "at")

    at: datetime | None
    after: Duration | None

    def __init__(self, at: datetime | None = None, after: Duration | None = None) -> None:
        object.__setattr__(self, "at", at)
        # step-ca: the zero duration and the first instant of year 1 count as unset.
        object.__setattr__(self, "after", after or None)
        if at == _EARLIEST:
            object.__setattr__(self, "at", None)

    @property
    def is_unset(self) -> bool:
        return self.at is None and self.after is None

    def resolve(self, base: datetime) -> datetime | None:
        """The instant that is meant, None when unset."""
        if self.after is not None:
            return add(base, self.after)
        return self.at

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TimeDuration):
            return NotImplemented
        return (self.at, self.after) == (other.at, other.after)

    def __hash__(self) -> int:
        return hash((self.at, self.after))

    def __repr__(self) -> str:
        return f"TimeDuration({format_time_duration(self)!r})"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a TimeDuration does not change")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a TimeDuration does not change")


UNSET_TIME: Final = TimeDuration()


def parse_time_duration(text: str) -> TimeDuration:
    """RFC 3339 or a duration; `""`, `0` and the first instant of year 1 mean unset. Raises `DurationError`."""
    if not text:
        return UNSET_TIME
    try:
        if _RFC3339.fullmatch(text):
            return TimeDuration(at=parse_rfc3339(text))
        return TimeDuration(after=parse_duration(text))
    except DurationError:
        raise DurationError(f'failed to parse "{text}"') from None


def format_time_duration(value: TimeDuration) -> str:
    """`""`, RFC 3339 or the canonical duration. Inverse of `parse_time_duration`."""
    if value.at is not None:
        return format_rfc3339(value.at)
    return format_duration(value.after) if value.after is not None else ""
