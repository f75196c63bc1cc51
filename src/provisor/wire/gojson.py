"""JSON as the reference reads and writes it, for HTTP bodies and ca.json (core-api 0.1). Not for tokens.

Reading: member names match exactly or with letter case apart, the last of several wins, unknown ones
are ignored, `null` means unset, only the first value of the input is read, octets that are not UTF-8
become U+FFFD. Writing: compact, `<`, `>` and `&` escaped, one newline at the end.

`decode_json` has two paths. What well-behaved clients send is decoded in one pass by msgspec, which is
stricter than the reference in everything; whatever it refuses is read again by the tolerant path.
"""

from __future__ import annotations

import codecs
import json
import math
import re
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Raw, Struct

from provisor.core.durations import TimeDuration, format_time_duration, parse_time_duration
from provisor.errors import BadRequest

T = TypeVar("T")

MAX_DEPTH: Final = 64


def decode_json(data: bytes, type: type[T], *, max_depth: int = MAX_DEPTH) -> T:
    """The first JSON value of `data` as `type`. Raises `BadRequest` with the public text `error decoding json`.

    Structs take the fast path when they, and the structs in them, have `forbid_unknown_fields`.
    """
    try:
        _check_depth(data, max_depth)
        reader = _reader(type)
        # A null may undo what an earlier member set, here but not there: those bodies take the tolerant path.
        if reader.fast is not None and b"null" not in data and (data.isascii() or _is_utf8(data)):
            try:
                return reader.fast.decode(data)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                pass  # it may still be JSON that the reference accepts
        value = reader.read(_parse(data))
        return msgspec.convert({} if value is None and reader.is_struct else value, type, dec_hook=decode_hook)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadRequest("error decoding json", detail=f"error decoding json: {error}") from error


def decode_value(data: bytes, *, max_depth: int = MAX_DEPTH) -> object:
    """The first JSON value as dict, list, str, int, float, bool or None. Raises `BadRequest` as above.

    Members keep their order and spelling; of several spelt alike the last stands, in its own place.
    """
    try:
        _check_depth(data, max_depth)
        return _plain(_parse(data))
    except (ValueError, RecursionError) as error:
        raise BadRequest("error decoding json", detail=f"error decoding json: {error}") from error


def fold(name: str) -> str:
    """The form in which two member names are equal, letter case apart."""
    return name.lower() if name.isascii() else name.replace("ſ", "s").lower()


def canonical_members(raw: Mapping[str, object], known: Sequence[str]) -> dict[str, object]:
    """The members of `raw` under the names of `known`; the last of several wins, unknown ones are left out."""
    names = {fold(name): name for name in known}
    return {names[key]: value for name, value in raw.items() if (key := fold(name)) in names}


# -- writing -------------------------------------------------------------------------------------

_ESCAPED: Final = (
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"&", b"\\u0026"),
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
)


def encode_json(value: object) -> bytes:
    """Compact, HTML characters escaped, a newline at the end: the body of an answer."""
    return _html_safe(_ENCODER.encode(value)) + b"\n"


def encode_config(value: object) -> bytes:
    """Indented by tabs, HTML characters escaped, no newline at the end: a configuration file."""
    plain = msgspec.to_builtins(value, enc_hook=encode_hook)
    return _html_safe(json.dumps(_written(plain), indent="\t", ensure_ascii=False).encode("utf-8", "replace"))


def _html_safe(octets: bytes) -> bytes:
    # These octets stand only inside JSON strings, so that replacing them everywhere is right.
    for character, escape in _ESCAPED:
        if character in octets:
            octets = octets.replace(character, escape)
    return octets


def _written(value: object) -> object:
    """Whole floats as integers: the reference writes 1.0 as 1."""
    match value:
        case dict():
            return {name: _written(member) for name, member in value.items()}
        case list():
            return [_written(element) for element in value]
        case float() if value.is_integer() and abs(value) < 1e21:
            return int(value)
        case _:
            return value


# -- types that are strings on the wire ------------------------------------------------------------


def decode_hook(wanted: type, value: Any) -> object:
    """For msgspec: a `TimeDuration` from its text, `object` from anything. Raises `ValueError`."""
    if wanted is TimeDuration:
        if not isinstance(value, str):
            raise ValueError("a time or duration is a string")
        return parse_time_duration(value)
    if wanted is object:
        return value
    raise NotImplementedError(wanted)


def encode_hook(value: Any) -> object:
    if isinstance(value, TimeDuration):
        return format_time_duration(value)
    raise NotImplementedError(type(value))


_ENCODER: Final = msgspec.json.Encoder(enc_hook=encode_hook)


# -- the tolerant path ---------------------------------------------------------------------------


class _Members(list[tuple[str, Any]]):
    """The members of an object as written: order, spelling and repetitions."""


def _one_octet(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "\ufffd", error.start + 1


codecs.register_error("provisor-octetwise", _one_octet)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is too large for a number")
    return value


_PARSER: Final = json.JSONDecoder(object_pairs_hook=_Members, parse_constant=_refuse, parse_float=_number)
_BLANK: Final = re.compile(r"[ \t\n\r]*")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_NESTING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{\]}]', re.DOTALL)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_depth(data: bytes, limit: int) -> None:
    """Raises `ValueError` when the first value nests deeper than `limit`."""
    if data.count(b"{") + data.count(b"[") <= limit:
        return
    depth = 0
    for match in _NESTING.finditer(data):
        if match[0] in b"[{":
            depth += 1
            if depth > limit:
                raise ValueError(f"nested deeper than {limit}")
        elif match[0] in b"]}":
            depth -= 1
            if depth <= 0:
                return


def _parse(data: bytes) -> Any:
    text = data.decode("utf-8", "provisor-octetwise")
    start = _BLANK.match(text)
    value, _ = _PARSER.raw_decode(text, start.end() if start else 0)
    return _without_surrogates(value) if "\\u" in text else value


def _without_surrogates(value: Any) -> Any:
    match value:
        case str():
            return _SURROGATE.sub("\ufffd", value)
        case _Members():
            return _Members((_SURROGATE.sub("\ufffd", name), _without_surrogates(member)) for name, member in value)
        case list():
            return [_without_surrogates(element) for element in value]
        case _:
            return value


def _plain(value: Any) -> Any:
    match value:
        case _Members():
            members: dict[str, object] = {}
            for name, member in value:
                members.pop(name, None)
                members[name] = _plain(member)
            return members
        case list():
            return [_plain(element) for element in value]
        case _:
            return value


class _Reader(Generic[T]):
    """How values of one type are decoded."""

    def __init__(self, wanted: type[T]) -> None:
        self.is_struct = _is_struct(wanted)
        self.read = _shape(wanted)
        self.fast: msgspec.json.Decoder[T] | None = None
        if self.is_struct and _forbids_unknown(wanted):
            self.fast = msgspec.json.Decoder(wanted, dec_hook=decode_hook)


_READERS: Final[dict[type, _Reader[Any]]] = {}


def _reader(wanted: type[T]) -> _Reader[T]:
    reader = _READERS.get(wanted)
    if reader is None:
        reader = _READERS.setdefault(wanted, _Reader(wanted))
    return reader


def _is_struct(wanted: Any) -> bool:
    return isinstance(wanted, type) and issubclass(wanted, Struct)


def _forbids_unknown(wanted: Any) -> bool:
    if _is_struct(wanted):
        return bool(wanted.__struct_config__.forbid_unknown_fields) and all(
            _forbids_unknown(hint) for hint in get_type_hints(wanted).values()
        )
    return all(_forbids_unknown(argument) for argument in get_args(wanted))


def _shape(wanted: Any) -> Callable[[Any], Any]:
    """What turns a parsed value into one that msgspec can convert to `wanted`."""
    if wanted is Raw:
        return lambda value: Raw(msgspec.json.encode(_plain(value)))
    if _is_struct(wanted):
        return _struct_shape(wanted)
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        for argument in arguments:
            if argument is Raw or _is_struct(argument) or get_origin(argument) is not None:
                return _shape(argument)
    elif arguments and origin in (list, tuple, Sequence):
        element = _shape(arguments[0])
        return lambda value: [element(item) for item in value] if type(value) is list else _plain(value)
    elif arguments and origin in (dict, Mapping):
        member = _shape(arguments[1])
        return lambda value: (
            {name: member(item) for name, item in value} if isinstance(value, _Members) else _plain(value)
        )
    return _plain


def _struct_shape(wanted: Any) -> Callable[[Any], Any]:
    hints = get_type_hints(wanted)
    fields = msgspec.structs.fields(wanted)
    names = {fold(field.encode_name): field.encode_name for field in reversed(fields)}
    hint_of = {field.encode_name: hints[field.name] for field in fields}
    shapes = {name: _shape(hint) for name, hint in hint_of.items()}

    def read(value: Any) -> Any:
        if not isinstance(value, _Members):
            return _plain(value)
        members: dict[str, object] = {}
        for written, item in value:
            name = written if written in shapes else names.get(fold(written))
            # step-ca: null leaves a member as it is, even if an earlier one of its name set it.
            if name is None or item is None:
                continue
            if name in members:  # the last wins, but each has to be of the right type
                msgspec.convert(members[name], hint_of[name], dec_hook=decode_hook)
            members[name] = shapes[name](item)
        return members

    return read
