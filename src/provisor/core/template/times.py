"""Instants, durations and layouts as Go's package time has them.

Go's years reach beyond Python's: an instant is a count of seconds, and the calendar is arithmetic.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, NamedTuple, final

from provisor.core.durations import Duration, format_duration
from provisor.core.template.errors import FunctionError
from provisor.core.template.numerals import quoted
from provisor.core.template.values import Bytes, Field, Int64, Method, NilPointer, Number, Struct, Uint64, Value

MONTHS: Final = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
DAYS: Final = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
_BEFORE: Final = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)

LAYOUTS: Final[Mapping[str, str]] = {
    "layout": "01/02 03:04:05PM '06 -0700",
    "ansic": "Mon Jan _2 15:04:05 2006",
    "unixdate": "Mon Jan _2 15:04:05 MST 2006",
    "rubydate": "Mon Jan 02 15:04:05 -0700 2006",
    "rfc822": "02 Jan 06 15:04 MST",
    "rfc822z": "02 Jan 06 15:04 -0700",
    "rfc850": "Monday, 02-Jan-06 15:04:05 MST",
    "rfc1123": "Mon, 02 Jan 2006 15:04:05 MST",
    "rfc1123z": "Mon, 02 Jan 2006 15:04:05 -0700",
    "rfc3339": "2006-01-02T15:04:05Z07:00",
    "rfc3339nano": "2006-01-02T15:04:05.999999999Z07:00",
    "kitchen": "3:04PM",
    "stamp": "Jan _2 15:04:05",
    "stampmilli": "Jan _2 15:04:05.000",
    "stampmicro": "Jan _2 15:04:05.000000",
    "stampnano": "Jan _2 15:04:05.000000000",
    "datetime": "2006-01-02 15:04:05",
    "dateonly": "2006-01-02",
    "timeonly": "15:04:05",
}
RFC3339: Final = LAYOUTS["rfc3339"]
RFC3339_NANO: Final = LAYOUTS["rfc3339nano"]
PLAIN: Final = "2006-01-02 15:04:05.999999999 -0700 MST"
YEAR_ONE: Final = -62135596800
"""The zero time, in seconds from 1970."""


class Zone(Struct):
    """A `*time.Location`: its name, and what it shows at an instant."""

    go = "time.Location"
    pointer = True

    def __init__(self, name: str, at: Callable[[int], tuple[str, int]]) -> None:
        super().__init__({})
        self.name = name
        self.at = at

    def text(self) -> str:
        return self.name


Zone.methods = {"String": Method((), lambda zone: zone.name)}

UTC_ZONE: Final = Zone("UTC", lambda _seconds: ("UTC", 0))


LOCAL: Final = Zone("UTC", lambda _seconds: ("UTC", 0))
"""The servers' zone is UTC, whatever the machine's."""


def fixed_zone(name: str, offset: int) -> Zone:
    return Zone(name, lambda _seconds: (name, offset))


def named_zone(name: str, zone: tzinfo) -> Zone:
    """An IANA zone. Outside the years Python knows it shows what it shows at their ends."""

    def at(seconds: int) -> tuple[str, int]:
        inside = max(YEAR_ONE + 86400 * 2, min(253402214400 - 86400 * 2, seconds))
        moment = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=inside)).astimezone(zone)
        offset = moment.utcoffset()
        return moment.tzname() or "", int(offset.total_seconds()) if offset else 0

    return Zone(name, at)


class Weekday(Number):
    go = "time.Weekday"
    kind = "int"

    def text(self) -> str:
        return DAYS[self] if 0 <= self < 7 else f"%!Weekday({int(self)})"


class Month(Number):
    go = "time.Month"
    kind = "int"

    def text(self) -> str:
        return MONTHS[self - 1] if 1 <= self <= 12 else f"%!Month({int(self)})"


class GoDuration(Int64):
    go = "time.Duration"

    def text(self) -> str:
        return format_duration(Duration(int(self)))


class Civil(NamedTuple):
    """What a clock and a calendar on the wall show."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    weekday: int
    year_day: int


def days_from_civil(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 in the proleptic Gregorian calendar."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


def civil(seconds: int) -> Civil:
    days, rest = divmod(seconds, 86400)
    era, of_era = divmod(days + 719468, 146097)
    year_of_era = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * 400 + (month <= 2)
    year_day = _BEFORE[month - 1] + day + (month > 2 and is_leap(year))
    return Civil(year, month, day, rest // 3600, rest // 60 % 60, rest % 60, (days + 4) % 7, year_day)


def is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def days_in(month: int, year: int) -> int:
    return 29 if month == 2 and is_leap(year) else (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]


@final
class GoTime(Struct):
    """A `time.Time`: seconds from 1970, nanoseconds, and the zone that shows it."""

    go = "time.Time"
    members = (Field("wall"), Field("ext"), Field("loc"))
    hidden = frozenset({"wall", "ext", "loc"})
    comparable = True

    def __init__(self, seconds: int, nanosecond: int = 0, zone: Zone = UTC_ZONE) -> None:
        loc: Value = NilPointer("*time.Location") if zone is UTC_ZONE else zone
        super().__init__({"wall": Uint64(nanosecond), "ext": Int64(seconds - YEAR_ONE), "loc": loc})
        self.seconds = seconds
        self.nanosecond = nanosecond
        self.zone = zone

    def shown(self) -> Civil:
        return civil(self.seconds + self.zone.at(self.seconds)[1])

    def text(self) -> str:
        return format_time(self, PLAIN)

    def json(self) -> str:
        if not 0 <= self.shown().year <= 9999:
            raise FunctionError(
                "json: error calling MarshalJSON for type time.Time: Time.MarshalJSON: year outside of range [0,9999]"
            )
        return f'"{format_time(self, RFC3339_NANO)}"'

    def same(self, other: object) -> bool:
        return (
            isinstance(other, GoTime)
            and (self.seconds, self.nanosecond) == (other.seconds, other.nanosecond)
            and self.zone is other.zone
        )

    def moved(self, nanoseconds: int) -> GoTime:
        seconds, nanosecond = divmod(self.nanosecond + nanoseconds, 1_000_000_000)
        return GoTime(self.seconds + seconds, nanosecond, self.zone)

    def since(self, other: GoTime) -> GoDuration:
        length = (self.seconds - other.seconds) * 1_000_000_000 + self.nanosecond - other.nanosecond
        return GoDuration(max(-(2**63), min(2**63 - 1, length)))

    def order(self) -> tuple[int, int]:
        return self.seconds, self.nanosecond


def from_datetime(moment: datetime, zone: Zone = UTC_ZONE) -> GoTime:
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return GoTime(since.days * 86400 + since.seconds, since.microseconds * 1000, zone)


ZERO_TIME: Final = GoTime(YEAR_ONE)


def make_time(
    year: int, month: int, day: int, hour: int, minute: int, second: int, nanosecond: int, zone: Zone
) -> GoTime:
    """The instant at which a zone's clocks show this. Months and days beyond the end run on."""
    extra, month = divmod(month - 1, 12)
    local = days_from_civil(year + extra, month + 1, 1) * 86400 + (day - 1) * 86400
    local += hour * 3600 + minute * 60 + second
    offset = zone.at(local)[1]
    seconds = local - offset
    again = zone.at(seconds)[1]
    return GoTime(seconds if again == offset else local - again, nanosecond, zone)


# -- layouts -------------------------------------------------------------------------------------

_CHUNK: Final = re.compile(
    r"January|Jan(?![a-z])|Jan|Monday|Mon(?![a-z])|Mon|MST"
    r"|01|002|02|03|04|05|06"
    r"|2006|15"
    r"|__2|_2006|_2"
    r"|PM|pm"
    r"|-07:00:00|-070000|-07:00|-0700|-07"
    r"|Z07:00:00|Z070000|Z07:00|Z0700|Z07"
    r"|[.,](?:0+|9+)(?![0-9])"
    r"|1|2|3|4|5"
)


def chunks(layout: str) -> list[tuple[str, str]]:
    """The layout as `(text, element)` pairs; the last element may be empty."""
    found: list[tuple[str, str]] = []
    at = start = 0
    while (match := _CHUNK.search(layout, at)) is not None:
        element = match[0]
        if element in ("Jan", "Mon") and "a" <= layout[match.end() : match.end() + 1] <= "z":
            at = match.start() + 1
            continue
        if element == "_2006":
            found.append((layout[start : match.start() + 1], "2006"))
        else:
            found.append((layout[start : match.start()], element))
        at = start = match.end()
    found.append((layout[start:], ""))
    return found


def format_time(time: GoTime, layout: str) -> str:
    name, offset = time.zone.at(time.seconds)
    shown = civil(time.seconds + offset)
    parts: list[str] = []
    for text, element in chunks(layout):
        parts.append(text)
        if element:
            parts.append(_written(element, shown, time.nanosecond, name, offset))
    return "".join(parts)


def _written(element: str, shown: Civil, nanosecond: int, zone: str, offset: int) -> str:
    simple = _SIMPLE.get(element)
    if simple is not None:
        return simple(shown)
    if element == "MST":
        return zone or _offset("-0700", offset)
    if element[0] in ".,":
        digits = f"{nanosecond:09d}"[: len(element) - 1].ljust(len(element) - 1, "0")
        if element[1] == "9":
            digits = digits.rstrip("0")
            return element[0] + digits if digits else ""
        return element[0] + digits
    return _offset(element, offset)


def _year(shown: Civil) -> str:
    return f"{'-' if shown.year < 0 else ''}{abs(shown.year):04d}"


_SIMPLE: Final[Mapping[str, Callable[[Civil], str]]] = {
    "2006": _year,
    "06": lambda s: f"{s.year % 100:02d}",
    "January": lambda s: MONTHS[s.month - 1],
    "Jan": lambda s: MONTHS[s.month - 1][:3],
    "1": lambda s: str(s.month),
    "01": lambda s: f"{s.month:02d}",
    "Monday": lambda s: DAYS[s.weekday],
    "Mon": lambda s: DAYS[s.weekday][:3],
    "2": lambda s: str(s.day),
    "_2": lambda s: f"{s.day:2d}",
    "02": lambda s: f"{s.day:02d}",
    "__2": lambda s: f"{s.year_day:3d}",
    "002": lambda s: f"{s.year_day:03d}",
    "15": lambda s: f"{s.hour:02d}",
    "3": lambda s: str(s.hour % 12 or 12),
    "03": lambda s: f"{s.hour % 12 or 12:02d}",
    "4": lambda s: str(s.minute),
    "04": lambda s: f"{s.minute:02d}",
    "5": lambda s: str(s.second),
    "05": lambda s: f"{s.second:02d}",
    "PM": lambda s: "PM" if s.hour >= 12 else "AM",
    "pm": lambda s: "pm" if s.hour >= 12 else "am",
}


def _offset(element: str, offset: int) -> str:
    if element[0] == "Z" and offset == 0:
        return "Z"
    sign, amount = ("-", -offset) if offset < 0 else ("+", offset)
    hours, minutes, seconds = amount // 3600, amount // 60 % 60, amount % 60
    form = element[1:]
    parts = {
        "07": f"{hours:02d}",
        "0700": f"{hours:02d}{minutes:02d}",
        "07:00": f"{hours:02d}:{minutes:02d}",
        "070000": f"{hours:02d}{minutes:02d}{seconds:02d}",
        "07:00:00": f"{hours:02d}:{minutes:02d}:{seconds:02d}",
    }
    return sign + parts[form]


# -- parsing -------------------------------------------------------------------------------------


class _Mismatch(Exception):
    pass


class _OutOfRange(Exception):
    pass


class _Fields:
    """What has been read so far."""

    def __init__(self) -> None:
        self.year = 0
        self.month = self.day = -1
        self.year_day = -1
        self.hour = self.minute = self.second = self.nanosecond = 0
        self.pm = self.am = False
        self.offset: int | None = None
        self.zone: Zone | None = None
        self.zone_name = ""


def parse_time(layout: str, value: str, zone: Zone = UTC_ZONE) -> GoTime:
    """As `time.ParseInLocation`. Raises `FunctionError` with its text."""
    fields = _Fields()
    rest = value
    for text, element in chunks(layout):
        held = rest
        try:
            rest = _skip(rest, text)
        except _Mismatch:
            raise _cannot(value, layout, held, text) from None
        if not element:
            if rest:
                raise FunctionError(f"parsing time {quote(value)}: extra text: {quote(rest)}")
            break
        held = rest
        try:
            rest = _READERS[element[0] if element[0] in ".,-Z" else element](fields, rest, element)
        except (_Mismatch, IndexError):
            raise _cannot(value, layout, held, element) from None
        except _OutOfRange as error:
            raise FunctionError(f"parsing time {quote(value)}: {error} out of range") from None
        if element in ("05", "5") and _fraction_follows(rest, layout, text, element):
            rest = _read_fraction(fields, rest)
    return _assembled(fields, value, zone)


def quote(text: str) -> str:
    """As the time package puts values in its errors: octets of control and other characters as `\\x..`."""
    return quoted(text) if text.isascii() else '"' + "".join(_quoted_octets(character) for character in text) + '"'


def _quoted_octets(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if " " <= character < "\x7f":
        return character
    return "".join(f"\\x{octet:02x}" for octet in character.encode("utf-8", "surrogateescape"))


def _cannot(value: str, layout: str, rest: str, element: str) -> FunctionError:
    return FunctionError(
        f"parsing time {quote(value)} as {quote(layout)}: cannot parse {quote(rest)} as {quote(element)}"
    )


def _skip(value: str, text: str) -> str:
    """Past the layout's own text; any blanks match blanks."""
    at = 0
    while at < len(text):
        if text[at] == " ":
            if value and value[0] != " ":
                raise _Mismatch
            at += 1
            while text[at : at + 1] == " ":
                at += 1
            value = value.lstrip(" ")
            continue
        if not value or value[0] != text[at]:
            raise _Mismatch
        at += 1
        value = value[1:]
    return value


def _digits(rest: str, count: int) -> tuple[int, str]:
    text = rest[:count]
    if len(text) < count or not re.fullmatch("[0-9]+", text):
        raise _Mismatch
    return int(text), rest[count:]


def _one_or_two(rest: str, padded: bool) -> tuple[int, str]:
    if re.match("[0-9][0-9]", rest):
        return int(rest[:2]), rest[2:]
    if padded or not re.match("[0-9]", rest):
        raise _Mismatch
    return int(rest[0]), rest[1:]


def _word(rest: str, words: list[str], length: int = 0) -> tuple[int, str]:
    for number, word in enumerate(words):
        short = word[:length] if length else word
        if rest[: len(short)].lower() == short.lower():
            return number, rest[len(short) :]
    raise _Mismatch


def _check(number: int, low: int, high: int, name: str) -> int:
    if not low <= number <= high:
        raise _OutOfRange(name)
    return number


def _read_year(fields: _Fields, rest: str, element: str) -> str:
    if element == "06":
        number, rest = _digits(rest, 2)
        fields.year = number + (1900 if number >= 69 else 2000)
        return rest
    fields.year, rest = _digits(rest, 4)
    return rest


def _read_month(fields: _Fields, rest: str, element: str) -> str:
    if element in ("January", "Jan"):
        number, rest = _word(rest, MONTHS, 3 if element == "Jan" else 0)
        fields.month = number + 1
        return rest
    number, rest = _one_or_two(rest, element == "01")
    fields.month = _check(number, 1, 12, "month")
    return rest


def _read_weekday(_fields: _Fields, rest: str, element: str) -> str:
    return _word(rest, DAYS, 3 if element == "Mon" else 0)[1]


def _read_day(fields: _Fields, rest: str, element: str) -> str:
    if element == "_2" and rest.startswith(" "):
        rest = rest[1:]
    fields.day, rest = _one_or_two(rest, element == "02")
    return rest


def _read_year_day(fields: _Fields, rest: str, element: str) -> str:
    for _ in range(2):
        if element == "__2" and rest.startswith(" "):
            rest = rest[1:]
    match = re.match("[0-9]{1,3}", rest)
    if match is None or (element == "002" and len(match[0]) != 3):
        raise _Mismatch
    fields.year_day = int(match[0])
    return rest[match.end() :]


def _read_hour(fields: _Fields, rest: str, element: str) -> str:
    if element == "15":
        number, rest = _one_or_two(rest, False)
        fields.hour = _check(number, 0, 23, "hour")
    else:
        number, rest = _one_or_two(rest, element == "03")
        fields.hour = _check(number, 0, 12, "hour")
    return rest


def _read_minute(fields: _Fields, rest: str, element: str) -> str:
    number, rest = _one_or_two(rest, element == "04")
    fields.minute = _check(number, 0, 59, "minute")
    return rest


def _read_second(fields: _Fields, rest: str, element: str) -> str:
    number, rest = _one_or_two(rest, element == "05")
    fields.second = _check(number, 0, 59, "second")
    return rest


def _read_half(fields: _Fields, rest: str, element: str) -> str:
    upper = element == "PM"
    word = rest[:2]
    if word == ("PM" if upper else "pm"):
        fields.pm = True
    elif word == ("AM" if upper else "am"):
        fields.am = True
    else:
        raise _Mismatch
    return rest[2:]


def _fraction_follows(rest: str, layout: str, text: str, element: str) -> bool:
    """A fraction of a second in the value although the layout has none behind its seconds."""
    if not re.match("[.,][0-9]", rest):
        return False
    pairs = chunks(layout)
    at = next((n for n, pair in enumerate(pairs) if pair == (text, element)), len(pairs))
    if at + 1 < len(pairs):
        between, following = pairs[at + 1]
        return not (following[:1] in (".", ",") and not between and following)
    return True


def _read_fraction(fields: _Fields, rest: str) -> str:
    match = re.match("[.,]([0-9]+)", rest)
    assert match is not None
    fields.nanosecond = int(match[1][:9].ljust(9, "0"))
    return rest[match.end() :]


def _read_layout_fraction(fields: _Fields, rest: str, element: str) -> str:
    if element[1] == "9":
        if not re.match("[.,][0-9]", rest):
            return rest
        return _read_fraction(fields, rest)
    if not re.match(rf"[.,][0-9]{{{len(element) - 1}}}", rest):
        raise _Mismatch
    fields.nanosecond = int(rest[1 : len(element)][:9].ljust(9, "0"))
    return rest[len(element) :]


def _read_offset(fields: _Fields, rest: str, element: str) -> str:
    if element[0] == "Z" and rest.startswith("Z"):
        fields.zone = UTC_ZONE
        return rest[1:]
    form = {
        "07": r"([+-])([0-9]{2})",
        "0700": r"([+-])([0-9]{2})([0-9]{2})",
        "07:00": r"([+-])([0-9]{2}):([0-9]{2})",
        "070000": r"([+-])([0-9]{2})([0-9]{2})([0-9]{2})",
        "07:00:00": r"([+-])([0-9]{2}):([0-9]{2}):([0-9]{2})",
    }[element[1:]]
    match = re.match(form, rest)
    if match is None:
        raise _Mismatch
    numbers = [int(group) for group in match.groups()[1:]] + [0, 0]
    if numbers[0] > 24:
        raise _OutOfRange("time zone offset hour")
    if numbers[1] > 60:
        raise _OutOfRange("time zone offset minute")
    if numbers[2] > 60:
        raise _OutOfRange("time zone offset second")
    amount = numbers[0] * 3600 + numbers[1] * 60 + numbers[2]
    fields.offset = -amount if match[1] == "-" else amount
    return rest[match.end() :]


_ABBREVIATION: Final = re.compile(r"ChST|MeST|GMT(?:[+-][0-9]+)?|[+-][0-9]{2}(?:[0-9]{2})?|[A-Z]{3,5}")


def _read_zone_name(fields: _Fields, rest: str, _element: str) -> str:
    if rest.startswith("UTC"):
        fields.zone = UTC_ZONE
        return rest[3:]
    match = _ABBREVIATION.match(rest)
    if match is None:
        raise _Mismatch
    name = match[0]
    letters = re.match("[A-Z]+", rest)
    if letters and not name.startswith("GMT") and name not in ("ChST", "MeST"):
        length = len(letters[0])
        good = (
            length == 3
            or (length == 4 and (letters[0][3] == "T" or letters[0] == "WITA"))
            or (length == 5 and letters[0][4] == "T")
        )
        if not good:
            raise _Mismatch
    fields.zone_name = name
    return rest[len(name) :]


_READERS: Final[Mapping[str, Callable[[_Fields, str, str], str]]] = {
    **dict.fromkeys(("2006", "06"), _read_year),
    **dict.fromkeys(("January", "Jan", "1", "01"), _read_month),
    **dict.fromkeys(("Monday", "Mon"), _read_weekday),
    **dict.fromkeys(("2", "_2", "02"), _read_day),
    **dict.fromkeys(("002", "__2"), _read_year_day),
    **dict.fromkeys(("15", "3", "03"), _read_hour),
    **dict.fromkeys(("4", "04"), _read_minute),
    **dict.fromkeys(("5", "05"), _read_second),
    **dict.fromkeys(("PM", "pm"), _read_half),
    **dict.fromkeys((".", ","), _read_layout_fraction),
    **dict.fromkeys(("-", "Z"), _read_offset),
    "MST": _read_zone_name,
}


def _assembled(fields: _Fields, value: str, zone: Zone) -> GoTime:
    if fields.pm and fields.hour < 12:
        fields.hour += 12
    elif fields.am and fields.hour == 12:
        fields.hour = 0
    _date_of(fields, value)
    local = (fields.year, fields.month, fields.day, fields.hour, fields.minute, fields.second, fields.nanosecond)
    if fields.zone is not None:
        return make_time(*local, fields.zone)
    if fields.offset is not None:
        time = make_time(*local, fixed_zone("", fields.offset))
        name, offset = zone.at(time.seconds)
        if offset == fields.offset and (not fields.zone_name or name == fields.zone_name):
            return GoTime(time.seconds, time.nanosecond, zone)
        # a zone without a name shows its offset, as Go copies the name of one that was read
        return GoTime(time.seconds, time.nanosecond, fixed_zone(fields.zone_name, fields.offset))
    if fields.zone_name:
        time = make_time(*local, UTC_ZONE)
        name, offset = zone.at(time.seconds)
        if name == fields.zone_name:
            return GoTime(time.seconds - offset, time.nanosecond, zone)
        offset = 0
        if len(fields.zone_name) > 3 and fields.zone_name.startswith("GMT"):
            offset = int(fields.zone_name[3:]) * 3600
        return GoTime(time.seconds - offset, time.nanosecond, fixed_zone(fields.zone_name, offset))
    return make_time(*local, zone)


def _date_of(fields: _Fields, value: str) -> None:
    """Month and day, from the day of the year where that was said. Raises what is out of range."""
    if fields.year_day >= 0:
        if not 1 <= fields.year_day <= 365 + is_leap(fields.year):
            raise FunctionError(f"parsing time {quote(value)}: day-of-year out of range")
        found = civil(days_from_civil(fields.year, 1, 1) * 86400 + (fields.year_day - 1) * 86400)
        if fields.month >= 0 and fields.month != found.month:
            raise FunctionError(f"parsing time {quote(value)}: day-of-year does not match month")
        if fields.day >= 0 and fields.day != found.day:
            raise FunctionError(f"parsing time {quote(value)}: day-of-year does not match day")
        fields.month, fields.day = found.month, found.day
        return
    fields.month = 1 if fields.month < 0 else fields.month
    fields.day = 1 if fields.day < 0 else fields.day
    if not 1 <= fields.day <= days_in(fields.month, fields.year):
        raise FunctionError(f"parsing time {quote(value)}: day out of range")


# -- methods -------------------------------------------------------------------------------------


def _rounded_down(time: GoTime, duration: int) -> int:
    """Nanoseconds since the zero time beyond the last multiple of a duration."""
    since = (time.seconds - YEAR_ONE) * 1_000_000_000 + time.nanosecond
    return since % duration if duration > 0 else 0


def _truncate(time: GoTime, duration: Number) -> GoTime:
    return time.moved(-_rounded_down(time, int(duration)))


def _round(time: GoTime, duration: Number) -> GoTime:
    length = int(duration)
    rest = _rounded_down(time, length)
    return time.moved(-rest if rest * 2 < length else length - rest) if length > 0 else time


def _add_date(time: GoTime, years: int, months: int, days: int) -> GoTime:
    shown = time.shown()
    if max(abs(years), abs(months), abs(days)) > 10**6:
        raise FunctionError("a date beyond reason")
    return make_time(
        shown.year + years,
        shown.month + months,
        shown.day + days,
        shown.hour,
        shown.minute,
        shown.second,
        time.nanosecond,
        time.zone,
    )


def _whole(kind: Callable[[int], Value], of: Callable[[GoTime], int]) -> Method:
    return Method((), lambda time: kind(of(time)))


def _go_string(time: GoTime) -> str:
    shown = time.shown()
    numbers = (shown.day, shown.hour, shown.minute, shown.second, time.nanosecond)
    zone = {UTC_ZONE.name: "time.UTC", "Local": "time.Local"}.get(
        time.zone.name, f"time.Location({quoted(time.zone.name)})"
    )
    return f"time.Date({shown.year}, time.{MONTHS[shown.month - 1]}, {', '.join(map(str, numbers))}, {zone})"


def _wrong(name: str, second: str) -> Method:
    return Method((), None, f"invalid function signature for {name}: second return value should be error; is {second}")


def _several(name: str, count: int) -> Method:
    return Method((), None, f"function {name} has {count} return values; should be 1 or 2")


GoTime.methods = {
    "Year": _whole(int, lambda t: t.shown().year),
    "Month": _whole(Month, lambda t: t.shown().month),
    "Day": _whole(int, lambda t: t.shown().day),
    "Hour": _whole(int, lambda t: t.shown().hour),
    "Minute": _whole(int, lambda t: t.shown().minute),
    "Second": _whole(int, lambda t: t.shown().second),
    "Nanosecond": _whole(int, lambda t: t.nanosecond),
    "YearDay": _whole(int, lambda t: t.shown().year_day),
    "Weekday": _whole(Weekday, lambda t: t.shown().weekday),
    "Unix": _whole(Int64, lambda t: t.seconds),
    "UnixMilli": _whole(Int64, lambda t: _wrap(t.seconds * 1000 + t.nanosecond // 1_000_000)),
    "UnixMicro": _whole(Int64, lambda t: _wrap(t.seconds * 1_000_000 + t.nanosecond // 1000)),
    "UnixNano": _whole(Int64, lambda t: _wrap(t.seconds * 1_000_000_000 + t.nanosecond)),
    "Format": Method(("string",), format_time),
    "String": Method((), lambda time: time.text()),
    "GoString": Method((), lambda time: _go_string(time)),
    "MarshalJSON": Method((), lambda time: Bytes(time.json().encode())),
    "In": Method(("*time.Location",), lambda time, zone: GoTime(time.seconds, time.nanosecond, zone)),
    "IsZero": Method((), lambda time: time.order() == (YEAR_ONE, 0)),
    "IsDST": Method((), lambda _time: False),
    "UTC": Method((), lambda time: GoTime(time.seconds, time.nanosecond)),
    "Local": Method((), lambda time: GoTime(time.seconds, time.nanosecond, LOCAL)),
    "Location": Method((), lambda time: time.zone),
    "Add": Method(("time.Duration",), lambda time, duration: time.moved(int(duration))),
    "AddDate": Method(("int", "int", "int"), _add_date),
    "Sub": Method(("time.Time",), lambda time, other: time.since(other)),
    "After": Method(("time.Time",), lambda time, other: time.order() > other.order()),
    "Before": Method(("time.Time",), lambda time, other: time.order() < other.order()),
    "Equal": Method(("time.Time",), lambda time, other: time.order() == other.order()),
    "Compare": Method(
        ("time.Time",), lambda time, other: (time.order() > other.order()) - (time.order() < other.order())
    ),
    "Truncate": Method(("time.Duration",), _truncate),
    "Round": Method(("time.Duration",), _round),
    "ISOWeek": _wrong("ISOWeek", "int"),
    "Zone": _wrong("Zone", "int"),
    "Date": _several("Date", 3),
    "Clock": _several("Clock", 3),
}


def _wrap(number: int) -> int:
    return (number + 2**63) % 2**64 - 2**63


def _duration_method(of: Callable[[int], Value]) -> Method:
    return Method((), lambda duration: of(int(duration)))


_DURATION_METHODS: Final[Mapping[str, Method]] = {
    "String": Method((), lambda duration: duration.text()),
    "Nanoseconds": _duration_method(Int64),
    "Microseconds": _duration_method(lambda d: Int64(int(d / 1000))),
    "Milliseconds": _duration_method(lambda d: Int64(int(d / 1_000_000))),
    "Seconds": _duration_method(lambda d: d / 1_000_000_000),
    "Minutes": _duration_method(lambda d: d / 60_000_000_000),
    "Hours": _duration_method(lambda d: d / 3_600_000_000_000),
    "Abs": _duration_method(lambda d: GoDuration(abs(d))),
}
GoDuration.methods = _DURATION_METHODS
Weekday.methods = {"String": Method((), lambda day: day.text())}
Month.methods = {"String": Method((), lambda month: month.text())}
