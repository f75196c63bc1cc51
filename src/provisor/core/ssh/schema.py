"""The JSON that a template renders, read as an SSH certificate (templates 3.1). Go's rules, as for X.509."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from provisor.core.ssh.wire import HOST, USER
from provisor.core.template.errors import FunctionError
from provisor.core.template.times import RFC3339, parse_time
from provisor.core.x509.schema import (
    Literal,
    Mismatch,
    OutputError,
    Pairs,
    clean,
    fold,
    parse_json,
    read_octets,
    wrong,
)

_PREFIX: Final = "error unmarshaling certificate: "
_FIELD: Final = "struct field Certificate."
_YEAR_ONE: Final = -62135596800
_MOST_SERIAL: Final = 2**64 - 1


class SSHShape(Struct):
    """What a template said. None stands for `null` and for what it did not say; `type` 0 for neither user nor host."""

    type: int = 0
    key_id: str = ""
    principals: tuple[str, ...] | None = None
    valid_after: int = 0
    valid_before: int = 0
    critical_options: Mapping[str, str] | None = None
    extensions: Mapping[str, str] | None = None
    serial: int = 0
    nonce: bytes | None = None
    reserved: bytes | None = None


def read_ssh_certificate(text: str) -> SSHShape:
    """Raises `OutputError`."""
    shape = SSHShape()
    try:
        value = parse_json(text)
    except OutputError as error:
        raise OutputError(_PREFIX + str(error), error.position) from None
    if value is None:
        return shape
    if not isinstance(value, Pairs):
        raise OutputError(f"{_PREFIX}{wrong(value, 'value of type sshutil.Certificate')}")
    fault: Mismatch | None = None
    for key, item in value:
        name = _KEYS.get(key) or _KEYS.get(key.casefold())
        if name is None or (item is None and name != "type"):
            continue
        attribute, read = _FIELDS[name]
        try:
            setattr(shape, attribute, read(clean(item)))
        except Mismatch as error:
            fault = fault or error
    if fault is not None:
        raise OutputError(_PREFIX + str(fault))
    for moment in (shape.valid_after, shape.valid_before):
        if moment < 0:
            # step-ca: crashes on a time before 1970
            raise OutputError(f"value {moment} out of range for uint64")
    return shape


def _type(value: Any) -> int:
    if value is not None and type(value) is not str:
        raise Mismatch(f"error unmarshaling certificate type: {wrong(value, 'value of type string')}")
    found = {"user": USER, "host": HOST}.get((value or "").lower())
    if found is None:
        raise Mismatch(f"error unmarshaling '{value or ''}' as a certificate type")
    return found


def _text(name: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if type(value) is not str:
            raise wrong(value, f"{_FIELD}{name} of type string")
        return value

    return read


def _principals(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or isinstance(value, Pairs):
        raise wrong(value, f"{_FIELD}principals of type []string")
    read = _text("principals")
    return tuple("" if item is None else read(clean(item)) for item in value)


def _options(name: str) -> Callable[[Any], dict[str, str]]:
    def read(value: Any) -> dict[str, str]:
        if not isinstance(value, Pairs):
            raise wrong(value, f"{_FIELD}{name} of type map[string]string")
        one = _text(name)
        return {clean(key): "" if item is None else one(clean(item)) for key, item in value}

    return read


def _time(value: Any) -> int:
    """Unix seconds, 0 for the zero time."""
    if type(value) is not str:
        raise Mismatch("Time.UnmarshalJSON: input is not a JSON string")
    try:
        seconds = parse_time(RFC3339, value).seconds
    except FunctionError as error:
        raise Mismatch(str(error)) from None
    return 0 if seconds == _YEAR_ONE else seconds


def _serial(value: Any) -> int:
    where = f"{_FIELD}serial of type uint64"
    if not isinstance(value, Literal):
        raise wrong(value, where)
    if not value.isdecimal() or int(value) > _MOST_SERIAL:
        raise wrong(value, where, shown=True)
    return int(value)


def _blob(name: str) -> Callable[[Any], bytes]:
    return lambda value: read_octets(value, f"{_FIELD}{name} of type []uint8")


_FIELDS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "nonce": ("nonce", _blob("nonce")),
    "serial": ("serial", _serial),
    "type": ("type", _type),
    "keyId": ("key_id", _text("keyId")),
    "principals": ("principals", _principals),
    "validAfter": ("valid_after", _time),
    "validBefore": ("valid_before", _time),
    "criticalOptions": ("critical_options", _options("criticalOptions")),
    "extensions": ("extensions", _options("extensions")),
    "reserved": ("reserved", _blob("reserved")),
}
_KEYS: Final = fold(*_FIELDS)
