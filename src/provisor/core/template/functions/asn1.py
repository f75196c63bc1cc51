"""ASN.1 values for extensions, as step adds them: DER in base64 (Go's package encoding/asn1)."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from provisor.core.der import element, encode_integer, encode_object_id
from provisor.core.template.errors import FunctionError
from provisor.core.template.function import ANY, Function, spends, takes
from provisor.core.template.functions.encoding import decode_base64
from provisor.core.template.limits import DEPTH, Budget
from provisor.core.template.numerals import quoted
from provisor.core.template.times import RFC3339, GoTime, parse_time
from provisor.core.template.values import NO_VALUE, Bytes, Number, Struct, Value, octets, type_name

_STRUCTURE: Final = "asn1: structure error: "
_PRINTABLE: Final = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]*")
_ALMOST_PRINTABLE: Final = re.compile(r"[A-Za-z0-9 '()+,\-./:=?*&]*")
_NUMERIC: Final = re.compile(r"[0-9 ]*")
_STRINGS: Final = {"utf8": 0x0C, "numeric": 0x12, "printable": 0x13, "ia5": 0x16}


class _Params(NamedTuple):
    """How a value is to be encoded, as struct tags of that package say it."""

    string: int = 0
    generalized: bool = False
    timed: bool = False
    is_set: bool = False
    optional: bool = False
    omit_empty: bool = False
    default: int | None = None
    tag: int | None = None
    explicit: bool = False
    tag_class: int = 0x80


def _parse_params(text: str) -> _Params:
    found: dict[str, object] = {}
    for word in text.split(","):
        if word in _STRINGS:
            found["string"] = _STRINGS[word]
        elif word in ("generalized", "utc"):
            found |= {"generalized": word == "generalized", "timed": True}
        elif word == "set":
            found["is_set"] = True
        elif word == "optional":
            found["optional"] = True
        elif word == "omitempty":
            found["omit_empty"] = True
        elif word in ("explicit", "application", "private"):
            found.setdefault("tag", 0)
            if word == "explicit":
                found["explicit"] = True
            else:
                found["tag_class"] = 0x40 if word == "application" else 0xC0
        elif match := re.fullmatch(r"(tag|default):([+-]?[0-9]{1,18})", word):
            found[match[1]] = int(match[2])
    return _Params(**found)  # type: ignore[arg-type]


def _marshal(value: Value, params: _Params, depth: int = 0) -> bytes:
    if depth > DEPTH:
        raise FunctionError(f"{_STRUCTURE}nested too deeply")
    if value is None or value is NO_VALUE:
        raise FunctionError("asn1: cannot marshal nil value")
    if (
        isinstance(value, list | Bytes)
        and params.omit_empty
        and not (value if isinstance(value, list) else value.octets)
    ):
        return b""
    if params.optional:
        default = params.default
        if default is not None:
            if isinstance(value, int) and not isinstance(value, bool) and int(value) == default:
                return b""
        elif _is_zero(value):
            return b""
    tag, body, constructed = _body(value, params, depth)
    if params.is_set:
        if tag != 0x10:
            raise FunctionError(f"{_STRUCTURE}non sequence tagged as set")
        tag = 0x11
    whole = element(bytes((tag | constructed,)), body)
    if params.tag is None:
        return whole
    if params.explicit:
        return _tagged(params.tag_class | 0x20, params.tag, whole)
    return _tagged(params.tag_class | constructed, params.tag, body)


def _tagged(first: int, tag: int, content: bytes) -> bytes:
    if tag < 0x1F:
        return element(bytes((first | tag,)), content)
    groups = [tag & 0x7F]
    while tag := tag >> 7:
        groups.append(0x80 | tag & 0x7F)
    return element(bytes((first | 0x1F, *reversed(groups))), content)


def _is_zero(value: Value) -> bool:
    if isinstance(value, list | Bytes):
        return bool(getattr(value, "nil", False))
    return not isinstance(value, Struct) and not value


def _body(value: Value, params: _Params, depth: int) -> tuple[int, bytes, int]:
    """Universal tag, content, and 0x20 for what is made of other elements."""
    if params.timed and not isinstance(value, GoTime) and _has_type(value):
        raise FunctionError(f"{_STRUCTURE}explicit time type given to non-time member")
    if params.string and not isinstance(value, str) and _has_type(value):
        raise FunctionError(f"{_STRUCTURE}explicit string type given to non-string member")
    if isinstance(value, bool):
        return 0x01, b"\xff" if value else b"\x00", 0
    if isinstance(value, int) and (not isinstance(value, Number) or value.signed):
        return 0x02, encode_integer(int(value))[2:], 0
    if isinstance(value, str):
        return _string(value, params.string)
    if isinstance(value, GoTime):
        return _time(value, params)
    if isinstance(value, Bytes):
        return 0x04, value.octets, 0
    if isinstance(value, list):
        return 0x10, b"".join(_marshal(item, _Params(), depth + 1) for item in value), 0x20
    if isinstance(value, Struct) and value.members and not value.pointer:
        return 0x10, b"".join(_marshal(value.values[m.name], _Params(), depth + 1) for m in value.members), 0x20
    raise FunctionError(f"{_STRUCTURE}unknown Go type: {type_name(value)}")


def _has_type(value: Value) -> bool:
    return isinstance(value, bool | int | str | GoTime | Bytes | list) and not (
        isinstance(value, Number) and not value.signed
    )


def _string(text: str, tag: int) -> tuple[int, bytes, int]:
    data = octets(text)
    if not tag:
        if _PRINTABLE.fullmatch(text):
            return 0x13, data, 0
        _check_utf8(data, "asn1: string not valid UTF-8")
        return 0x0C, data, 0
    if tag == 0x16 and not text.isascii():
        raise FunctionError(f"{_STRUCTURE}IA5String contains invalid character")
    # the package lets an asterisk through here, and no ampersand
    if tag == 0x13 and not _PRINTABLE.fullmatch(text.replace("*", "")):
        raise FunctionError(f"{_STRUCTURE}PrintableString contains invalid character")
    if tag == 0x12 and not _NUMERIC.fullmatch(text):
        raise FunctionError(f"{_STRUCTURE}NumericString contains invalid character")
    return tag, data, 0


def _check_utf8(data: bytes, text: str) -> None:
    try:
        data.decode()
    except UnicodeDecodeError:
        raise FunctionError(text) from None


def _time(time: GoTime, params: _Params) -> tuple[int, bytes, int]:
    shown = time.shown()
    generalized = params.generalized or not 1950 <= shown.year < 2050
    if generalized and not 0 <= shown.year <= 9999:
        raise FunctionError(f"{_STRUCTURE}cannot represent time as GeneralizedTime")
    year = f"{shown.year:04d}" if generalized else f"{shown.year % 100:02d}"
    text = f"{year}{shown.month:02d}{shown.day:02d}{shown.hour:02d}{shown.minute:02d}{shown.second:02d}"
    offset = (
        time.zone.at(time.seconds)[1] // 60
        if time.zone.at(time.seconds)[1] >= 0
        else -(-time.zone.at(time.seconds)[1] // 60)
    )
    if offset == 0:
        text += "Z"
    else:
        text += f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}{abs(offset) % 60:02d}"
    return (0x18 if generalized else 0x17), text.encode(), 0


def _encoded(der: bytes) -> str:
    return base64.b64encode(der).decode()


def _asn1_marshal(budget: Budget, value: Value, *params: str) -> str:
    der = _marshal(value, _parse_params(",".join(params)))
    budget.allocate(len(der))
    return _encoded(der)


def _joined(tag: bytes, parts: Sequence[str]) -> str:
    return _encoded(element(tag, b"".join(decode_base64(part) for part in parts)))


# -- asn1Enc -------------------------------------------------------------------------------------

_TYPES: Final = frozenset(
    ("printable", "utf8", "ia5", "numeric", "int", "oid", "utc", "generalized", "bool", "boolean", "raw")
)
_LONG_LAYOUT: Final = "2006-01-02 15:04:05.999999999 -0700 MST"


def split_specification(text: str) -> tuple[str, str, str]:
    """Type, parameters and value of `[type,param…:]value`; the type is `printable` where none is said."""
    head, colon, tail = text.partition(":")
    if not colon:
        return "printable", "", text
    words = head.split(",")
    kinds = [word for word in words if word in _TYPES]
    return kinds[-1] if kinds else "printable", ",".join(word for word in words if word not in _TYPES), tail


def marshal_specification(text: str) -> bytes:
    """DER of `[type,param…:]value`. Raises `FunctionError`."""
    kind, words, value = split_specification(text)
    if kind == "raw":
        return decode_base64(value)
    typed = _typed(kind, value)
    params = ",".join(part for part in (words, kind if kind in (*_STRINGS, "utc", "generalized") else "") if part)
    if isinstance(typed, bytes):
        return _with_tag(typed, _parse_params(params))
    return _marshal(typed, _parse_params(params))


def _with_tag(der: bytes, params: _Params) -> bytes:
    if params.is_set:
        raise FunctionError(f"{_STRUCTURE}non sequence tagged as set")
    if params.tag is None:
        return der
    if params.explicit:
        return _tagged(params.tag_class | 0x20, params.tag, der)
    return _tagged(params.tag_class, params.tag, der[2:])


def _typed(kind: str, value: str) -> Value:
    if kind == "int":
        return _integer(value)
    if kind == "oid":
        return _oid(value)
    if kind in ("bool", "boolean"):
        return _boolean(value)
    if kind in ("utc", "generalized"):
        try:
            return parse_time(RFC3339, value)
        except FunctionError:
            pass
        try:
            return parse_time(_LONG_LAYOUT, value)
        except FunctionError as error:
            raise FunctionError(f"invalid {kind} value: {error}") from None
    good = {
        "ia5": value.isascii(),
        "numeric": _NUMERIC.fullmatch(value) is not None,
        "utf8": not any("\ud800" <= character <= "\udfff" for character in value),
        "printable": _ALMOST_PRINTABLE.fullmatch(value) is not None,
    }
    if not good[kind]:
        raise FunctionError(f"invalid {kind} value")
    return value


def _integer(text: str) -> int:
    if not re.fullmatch("[+-]?[0-9]+", text):
        raise FunctionError(f"invalid int value: strconv.Atoi: parsing {quoted(text)}: invalid syntax")
    number = int(text) if len(text) < 40 else 2**63
    if not -(2**63) <= number < 2**63:
        raise FunctionError(f"invalid int value: strconv.Atoi: parsing {quoted(text)}: value out of range")
    return number


def _oid(text: str) -> bytes:
    parts = text.split(".") if text else []
    if not all(re.fullmatch("[+-]?[0-9]{1,18}", part) for part in parts):
        raise FunctionError(f"invalid oid value: error unmarshaling json: {text} is not an ASN1 object identifier")
    numbers = [int(part) for part in parts]
    if (
        len(numbers) < 2
        or numbers[0] > 2
        or numbers[0] < 0
        or (numbers[0] < 2 and numbers[1] >= 40)
        or min(numbers) < 0
    ):
        raise FunctionError(f"{_STRUCTURE}invalid object identifier")
    return encode_object_id(text)


def _boolean(text: str) -> bool:
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    raise FunctionError(f"invalid bool value: strconv.ParseBool: parsing {quoted(text)}: invalid syntax")


ASN1: Final[Mapping[str, Function]] = {
    "asn1Enc": takes("string")(lambda text: _encoded(marshal_specification(text))),
    "asn1Marshal": spends(ANY, "...string")(_asn1_marshal),
    "asn1Seq": takes("...string")(lambda *parts: _joined(b"\x30", parts)),
    "asn1Set": takes("...string")(lambda *parts: _joined(b"\x31", parts)),
}
