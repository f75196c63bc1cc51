"""The two encodings below every JOSE object: base64url without padding, and JSON read strictly."""

from __future__ import annotations

import binascii
import json
import re
from typing import NoReturn

import msgspec

MAX_BYTES = 64 * 1024
"""Longest token, key or JWE text that is looked at."""

MAX_DEPTH = 64
"""Deepest nesting of arrays and objects in any of them."""


class NotJOSE(ValueError):
    """Not base64url, or not the JSON it should be. Each parser turns it into its own kind of error."""


_READER = msgspec.json.Decoder(dict[str, object])
_WRITER = msgspec.json.Encoder()

_URL_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/!!!")
_STANDARD_TO_URL = bytes.maketrans(b"+/", b"-_")
_PADDING = {0: b"", 2: b"==", 3: b"="}
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def encode_base64url(data: bytes) -> bytes:
    """RFC 7515 section 2: the URL alphabet, no padding."""
    return binascii.b2a_base64(data, newline=False).translate(_STANDARD_TO_URL).rstrip(b"=")


def decode_base64url(text: bytes) -> bytes:
    """The inverse; padding at the end is tolerated. Raises `NotJOSE`."""
    # step-ca: any number of "=" at the end of a part is dropped before decoding.
    text = text.rstrip(b"=")
    padding = _PADDING.get(len(text) & 3)
    if padding is None:
        raise NotJOSE(f"illegal base64 data at input byte {min(_first_stranger(text), len(text) - 1)}")
    try:
        return binascii.a2b_base64(text.translate(_URL_TO_STANDARD) + padding, strict_mode=True)
    except binascii.Error as problem:
        raise NotJOSE(f"illegal base64 data at input byte {_first_stranger(text)}") from problem


def parse_members(data: bytes) -> dict[str, object]:
    """One JSON object and nothing after it: UTF-8, no member twice, no NaN, at most `MAX_DEPTH` deep.

    RFC 7515 section 4 and RFC 7519 section 4 let a parser refuse duplicates; two readers that
    disagree about which one counts are an attack. Raises `NotJOSE`.
    """
    if len(data) > MAX_BYTES:
        raise NotJOSE(f"more than {MAX_BYTES} octets")
    usual = _parse_compact(data)
    return _parse_strictly(data) if usual is None else usual


def _parse_compact(data: bytes) -> dict[str, object] | None:
    """An object that is written as we would write it, as most are; None for any other.

    The reader is fast and takes the last of two equal members. Written again octet for octet, there were none.
    """
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH:
        return None
    try:
        value = _READER.decode(data)
        return value if _WRITER.encode(value) == data else None
    except (msgspec.MsgspecError, ValueError):
        return None


def _parse_strictly(data: bytes) -> dict[str, object]:
    try:
        text = data.decode()
        if text.count("{") + text.count("[") > MAX_DEPTH:
            _check_depth(text)
        value = _DECODER.decode(text)
        if "\\u" in text:
            _check_surrogates(value)
    except NotJOSE:
        raise
    except UnicodeError as problem:
        raise NotJOSE("invalid UTF-8") from problem
    except (ValueError, RecursionError) as problem:
        raise NotJOSE(f"invalid JSON: {problem}") from problem
    if not isinstance(value, dict):
        raise NotJOSE(f"json: cannot unmarshal {json_kind(value)} into an object")
    return value


def json_kind(value: object) -> str:
    """What JSON calls a decoded value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, dict):
        return "object"
    return "null" if value is None else "array"


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise NotJOSE(f"json: duplicate key '{name[:100]}' in object")
            seen.add(name)
    return members


def _no_constant(name: str) -> NoReturn:
    raise NotJOSE(f"invalid JSON: {name} is not a number")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def _check_depth(text: str) -> None:
    """Brackets outside of strings, counted; the decoder itself would recurse."""
    depth = 0
    for sign in re.findall(r"[\[\]{}]", _STRING.sub("", text)):
        depth += 1 if sign in "[{" else -1
        if depth > MAX_DEPTH:
            raise NotJOSE(f"more than {MAX_DEPTH} levels of nesting")


def _check_surrogates(value: object) -> None:
    """An escape such as `\\ud800` alone is no character; let it in and it fails wherever it is written."""
    json.dumps(value, ensure_ascii=False).encode()


def _first_stranger(text: bytes) -> int:
    found = re.search(rb"[^A-Za-z0-9_-]", text)
    return found.start() if found else len(text)
