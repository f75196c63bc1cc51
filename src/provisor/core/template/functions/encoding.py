"""JSON, base64, base32, hashes, URLs and paths."""

from __future__ import annotations

import base64
import binascii
import hashlib
import posixpath
import zlib
from collections.abc import Callable, Mapping
from typing import Final

from provisor.core.template.errors import FunctionError
from provisor.core.template.function import ANY, DICT, Function, spends, takes
from provisor.core.template.go_json import decode, encode, indented
from provisor.core.template.limits import Budget
from provisor.core.template.values import Value, go_string, octets, type_name
from provisor.core.url import URL, parse_url

# -- JSON ----------------------------------------------------------------------------------------


def _or_nothing(call: Callable[..., Value], nothing: Value) -> Callable[..., Value]:
    """The forms without `must` swallow what goes wrong."""

    def quiet(*arguments: Value) -> Value:
        try:
            return call(*arguments)
        except FunctionError:
            return nothing

    return quiet


def _to_json(budget: Budget, value: Value) -> str:
    return encode(value, budget)


def _to_pretty_json(budget: Budget, value: Value) -> str:
    text = indented(encode(value, budget))
    budget.allocate(len(text))
    return text


def _to_raw_json(budget: Budget, value: Value) -> str:
    return encode(value, budget, escape=False)


def _raw_or_fail(budget: Budget, value: Value) -> str:
    """Without `must` too, this one does not hide what went wrong."""
    return _to_raw_json(budget, value)


def _from_json(budget: Budget, text: str) -> Value:
    budget.allocate(len(text) * 4)
    budget.step(len(text) // 64)
    return decode(text)


# -- base64 and base32 ---------------------------------------------------------------------------

_BASE64: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
_BASE32: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")


def decode_base64(text: str) -> bytes:
    """Standard base64, line breaks anywhere. Raises `FunctionError` with the position of what is wrong."""
    data = octets(text)
    kept = [(at, octet) for at, octet in enumerate(data) if octet not in b"\r\n"]
    for start in range(0, len(kept), 4):
        _check_quantum(kept, start, len(data))
    try:
        return base64.b64decode(bytes(octet for _, octet in kept))
    except binascii.Error:
        raise FunctionError(f"illegal base64 data at input byte {len(data)}") from None


def _check_quantum(kept: list[tuple[int, int]], start: int, end: int) -> None:
    quantum = kept[start : start + 4]
    for number, (at, octet) in enumerate(quantum):
        if octet in _BASE64:
            continue
        if octet != ord("=") or number < 2:
            raise FunctionError(f"illegal base64 data at input byte {at}")
        if number == 2:
            if len(quantum) < 4:
                raise FunctionError(f"illegal base64 data at input byte {end}")
            if quantum[3][1] != ord("="):
                raise FunctionError(f"illegal base64 data at input byte {quantum[3][0]}")
        if start + 4 < len(kept):
            raise FunctionError(f"illegal base64 data at input byte {kept[start + 4][0]}")
        return
    if len(quantum) < 4:
        raise FunctionError(f"illegal base64 data at input byte {end - len(quantum)}")


def _b64dec(text: str) -> str:
    try:
        return go_string(decode_base64(text))
    except FunctionError as error:
        return str(error)


def _b32dec(text: str) -> str:
    data = octets(text).replace(b"\r", b"").replace(b"\n", b"")
    try:
        return go_string(_decode_base32(data))
    except FunctionError as error:
        return str(error)


def _decode_base32(data: bytes) -> bytes:
    """In groups of eight; the padding of the last one may be followed by less than a group, which nobody looks at."""
    letters = bytearray()
    at = 0
    while at < len(data):
        taken, at, ends = _take_group(data, at)
        letters += taken + b"=" * (8 - len(taken))
        if ends:
            break
    return base64.b32decode(bytes(letters))


def _take_group(data: bytes, start: int) -> tuple[bytes, int, bool]:
    """The letters of a group, where the next one begins, and whether this was the last."""
    for count in range(8):
        at = start + count
        if at == len(data):
            raise FunctionError(f"illegal base32 data at input byte {start}")
        left = len(data) - at - 1
        if data[at : at + 1] == b"=" and count >= 2 and left < 8:
            if left + count < 7:
                raise FunctionError(f"illegal base32 data at input byte {len(data)}")
            for k in range(7 - count):
                if left > k and data[at + 1 + k : at + 2 + k] != b"=":
                    raise FunctionError(f"illegal base32 data at input byte {at + k}")
            if count in (3, 6):
                raise FunctionError(f"illegal base32 data at input byte {at}")
            return data[start:at], at, True
        if data[at] not in _BASE32:
            raise FunctionError(f"illegal base32 data at input byte {at}")
    return data[start : start + 8], start + 8, False


def _hash(name: str) -> Function:
    return takes("string")(lambda text: hashlib.new(name, octets(text)).hexdigest())


# -- paths ---------------------------------------------------------------------------------------


def clean(path: str) -> str:
    """The shortest path that means the same."""
    if not path:
        return "."
    rooted = path.startswith("/")
    cleaned = posixpath.normpath(path)
    return "/" + cleaned.lstrip("/") if rooted else cleaned


def _base(path: str) -> str:
    if not path:
        return "."
    return path.rstrip("/").rpartition("/")[2] or "/"


def _dir(path: str) -> str:
    return clean(path[: path.rfind("/") + 1])


def _ext(path: str) -> str:
    name = path.rpartition("/")[2]
    dot = name.rfind(".")
    return name[dot:] if dot >= 0 else ""


_CLEAN, _BASE_NAME, _DIR, _EXT = (takes("string")(call) for call in (clean, _base, _dir, _ext))
_IS_ABSOLUTE: Final = takes("string")(lambda path: path.startswith("/"))


# -- URLs ----------------------------------------------------------------------------------------


def _url_parse(text: str) -> dict[str, Value]:
    try:
        url = parse_url(text)
    except ValueError as error:
        raise FunctionError(f"unable to parse url: {error}") from None
    return {
        "scheme": url.scheme,
        "host": url.host,
        "hostname": url.hostname,
        "path": url.path,
        "query": url.query,
        "opaque": url.opaque,
        "fragment": url.fragment,
        "userinfo": url.user_text or "",
    }


def _url_join(parts: dict[str, Value]) -> str:
    texts: dict[str, str] = {}
    for key in ("scheme", "host", "path", "query", "opaque", "fragment", "userinfo"):
        value = parts.get(key)
        if value is None:
            texts[key] = ""
        elif isinstance(value, str):
            texts[key] = value
        else:
            raise FunctionError(f"unable to parse {key} key, must be of type string, but {type_name(value)} found")
    userinfo = texts.pop("userinfo")
    user = password = None
    if userinfo:
        try:
            url = parse_url(f"proto://{userinfo}@host")
        except ValueError as error:
            raise FunctionError(f"unable to parse userinfo in dict: {error}") from None
        user, password = url.user, url.password
    return str(
        URL(
            scheme=texts["scheme"],
            opaque=texts["opaque"],
            user=user,
            password=password,
            host=texts["host"],
            path=texts["path"],
            query=texts["query"],
            fragment=texts["fragment"],
        )
    )


ENCODING: Final[Mapping[str, Function]] = {
    "adler32sum": takes("string")(lambda text: str(zlib.adler32(octets(text)))),
    "b32dec": takes("string")(_b32dec),
    "b32enc": takes("string")(lambda text: base64.b32encode(octets(text)).decode()),
    "b64dec": takes("string")(_b64dec),
    "b64enc": takes("string")(lambda text: base64.b64encode(octets(text)).decode()),
    "base": _BASE_NAME,
    "clean": _CLEAN,
    "dir": _DIR,
    "ext": _EXT,
    "fromJson": spends("string")(_or_nothing(_from_json, None)),
    "isAbs": _IS_ABSOLUTE,
    "mustFromJson": spends("string")(_from_json),
    "mustToJson": spends(ANY)(_to_json),
    "mustToPrettyJson": spends(ANY)(_to_pretty_json),
    "mustToRawJson": spends(ANY)(_to_raw_json),
    "osBase": _BASE_NAME,
    "osClean": _CLEAN,
    "osDir": _DIR,
    "osExt": _EXT,
    "osIsAbs": _IS_ABSOLUTE,
    "sha1sum": _hash("sha1"),
    "sha256sum": _hash("sha256"),
    "sha512sum": _hash("sha512"),
    "toJson": spends(ANY)(_or_nothing(_to_json, "")),
    "toPrettyJson": spends(ANY)(_or_nothing(_to_pretty_json, "")),
    "toRawJson": spends(ANY)(_raw_or_fail),
    "urlJoin": takes(DICT)(_url_join),
    "urlParse": takes("string")(_url_parse),
}
