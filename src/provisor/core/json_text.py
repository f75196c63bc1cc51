"""Where and why octets are not JSON, in the words of the reference."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NoReturn

_BLANK: Final = re.compile(rb"[ \t\r\n]*")
_PLAIN: Final = re.compile(rb'[^"\\\x00-\x1f]*')
_DIGITS: Final = re.compile(rb"[0-9]*")
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")


class JSONSyntaxError(ValueError):
    """Not JSON. `position` counts octets from 0."""

    def __init__(self, text: str, position: int) -> None:
        super().__init__(text)
        self.position = position


def find_syntax_error(data: bytes) -> JSONSyntaxError | None:
    """The first fault of the first JSON value of `data`; None when it is well formed."""
    if not data.strip(b" \t\r\n"):
        return JSONSyntaxError("EOF", len(data))
    try:
        _value(data, 0)
    except JSONSyntaxError as error:
        return error
    except RecursionError:
        return JSONSyntaxError("exceeded max depth", 0)
    return None


def find_unmarshal_error(data: bytes) -> JSONSyntaxError | None:
    """Why `data` is not exactly one JSON value; None when it is one."""
    at = _skip(_BLANK, data, 0)
    try:
        at = _skip(_BLANK, data, _value(data, at))
        if at < len(data):
            _fail(data, at, "after top-level value")
    except JSONSyntaxError as error:
        if str(error) == "unexpected EOF":
            return JSONSyntaxError(_unfinished(data), error.position)
        return error
    except RecursionError:
        return JSONSyntaxError("exceeded max depth", 0)
    return None


_BROKEN_WORD: Final = re.compile(rb"(?:^|[\s,:\[{])(t|tr|tru|f|fa|fal|fals|n|nu|nul)$")


def _unfinished(data: bytes) -> str:
    """What is said of JSON that ends too soon. A word that breaks off is told by the blank that would follow."""
    match = _BROKEN_WORD.search(data)
    if match is None:
        return "unexpected end of JSON input"
    word = next(word for word in (b"true", b"false", b"null") if word.startswith(match[1]))
    return f"invalid character ' ' in literal {word.decode()} (expecting '{chr(word[len(match[1])])}')"


def line_and_column(data: bytes, position: int) -> tuple[int, int]:
    """Both count from 1."""
    before = data[:position]
    return before.count(b"\n") + 1, position - (before.rfind(b"\n") + 1) + 1


def _fail(data: bytes, at: int, context: str) -> NoReturn:
    if at >= len(data):
        raise JSONSyntaxError("unexpected EOF", at)
    character = chr(data[at])
    shown = {"'": "\\'", '"': '"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}.get(character)
    if shown is None:
        shown = character if character.isprintable() else f"\\x{data[at]:02x}"
    raise JSONSyntaxError(f"invalid character '{shown}' {context}", at)


def _skip(pattern: re.Pattern[bytes], data: bytes, at: int) -> int:
    match = pattern.match(data, at)
    return match.end() if match else at


def _value(data: bytes, at: int) -> int:
    """The position behind the value that begins at `at`, blanks before it skipped."""
    at = _skip(_BLANK, data, at)
    start = data[at : at + 1]
    if start == b"{":
        return _sequence(data, at + 1, _member, b"}", "after object key:value pair")
    if start == b"[":
        return _sequence(data, at + 1, _value, b"]", "after array element")
    if start == b'"':
        return _string(data, at + 1)
    for word in (b"true", b"false", b"null"):
        if start == word[:1]:
            return _literal(data, at, word)
    if start and start in b"-0123456789":
        return _number(data, at)
    _fail(data, at, "looking for beginning of value")


def _sequence(data: bytes, at: int, element: Callable[[bytes, int], int], end: bytes, after: str) -> int:
    at = _skip(_BLANK, data, at)
    if data[at : at + 1] == end:
        return at + 1
    while True:
        at = _skip(_BLANK, data, element(data, at))
        mark = data[at : at + 1]
        if mark == end:
            return at + 1
        if mark != b",":
            _fail(data, at, after)
        at += 1


def _member(data: bytes, at: int) -> int:
    at = _skip(_BLANK, data, at)
    if data[at : at + 1] != b'"':
        _fail(data, at, "looking for beginning of object key string")
    at = _skip(_BLANK, data, _string(data, at + 1))
    if data[at : at + 1] != b":":
        _fail(data, at, "after object key")
    return _value(data, at + 1)


def _string(data: bytes, at: int) -> int:
    while True:
        at = _skip(_PLAIN, data, at)
        mark = data[at : at + 1]
        if mark == b'"':
            return at + 1
        if mark != b"\\":
            _fail(data, at, "in string literal")
        at = _escape(data, at + 1)


def _escape(data: bytes, at: int) -> int:
    mark = data[at : at + 1]
    if mark == b"u":
        for digit in range(at + 1, at + 5):
            if digit >= len(data) or data[digit] not in _HEX:
                _fail(data, digit, "in \\u hexadecimal character escape")
        return at + 5
    if not mark or mark not in b'"\\/bfnrt':
        _fail(data, at, "in string escape code")
    return at + 1


def _literal(data: bytes, at: int, word: bytes) -> int:
    for offset, expected in enumerate(word):
        if data[at + offset : at + offset + 1] != bytes((expected,)):
            _fail(data, at + offset, f"in literal {word.decode()} (expecting '{chr(expected)}')")
    return at + len(word)


def _number(data: bytes, at: int) -> int:
    if data[at : at + 1] == b"-":
        at += 1
    end = at + 1 if data[at : at + 1] == b"0" else _skip(_DIGITS, data, at)
    if end == at:
        _fail(data, at, "in numeric literal")
    if data[end : end + 1] == b".":
        at, end = end + 1, _skip(_DIGITS, data, end + 1)
        if end == at:
            _fail(data, at, "after decimal point in numeric literal")
    if data[end : end + 1] in (b"e", b"E"):
        at = end + 2 if data[end + 1 : end + 2] in (b"+", b"-") else end + 1
        end = _skip(_DIGITS, data, at)
        if end == at:
            _fail(data, at, "in exponent of numeric literal")
    return end
