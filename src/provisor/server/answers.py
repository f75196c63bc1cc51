"""How an answer is written: status line, header order, framing; and the answers made below the application.

The order and choice of headers is that of step-ca: the application's own, then `Date`,
`Content-Length`, `Connection`, `Transfer-Encoding`, and no `Server`.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus

from msgspec import Struct

__all__ = [
    "BAD_REQUEST",
    "BODY_TOO_LARGE",
    "CONTINUE",
    "EXPECTATION_FAILED",
    "HEADERS_TOO_LARGE",
    "HTTP_TO_HTTPS",
    "INTERNAL_ERROR",
    "INTERNAL_ERROR_BODY",
    "MISSING_HOST",
    "OVERLOADED",
    "TOO_MANY_HOSTS",
    "UNAVAILABLE_BODY",
    "UNSUPPORTED_ENCODING",
    "UNSUPPORTED_VERSION",
    "Framing",
    "HTTPDate",
    "Head",
    "encode_head",
    "options_star",
]

_LOGS = "Please see the certificate authority logs for more info."
_LENGTH_MAX = 2048  # step-ca: bodies above this many bytes are chunked
_BODILESS = frozenset({204, 304})
_FRAMING_HEADERS = frozenset({b"Connection", b"Content-Length", b"Date", b"Transfer-Encoding"})
_CANONICAL_NAMES_MAX = 512

_canonical_names: dict[bytes, bytes] = {}
_status_lines: dict[tuple[int, bool], bytes] = {}


def _below_the_router(status: str, text: str = "") -> bytes:
    # step-ca: these answers have neither Date nor Content-Length; the connection closes after them
    text = text or status
    return (f"HTTP/1.1 {text}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{text}").encode()


def _json_answer(status: int, message: str, extra: str = "") -> bytes:
    body = f'{{"status":{status},"message":"{message}"}}\n'
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n{extra}"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    ).encode()


def _unexpected(status: int) -> str:
    return f"The certificate authority received an unexpected HTTP status code - '{status}'. {_LOGS}"


MISSING_HOST = _below_the_router("400 Bad Request", "400 Bad Request: missing required Host header")
TOO_MANY_HOSTS = _below_the_router("400 Bad Request", "400 Bad Request: too many Host headers")
BAD_REQUEST = _below_the_router("400 Bad Request")
EXPECTATION_FAILED = b"HTTP/1.1 417 Expectation Failed\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
HEADERS_TOO_LARGE = _below_the_router("431 Request Header Fields Too Large")
UNSUPPORTED_ENCODING = _below_the_router("501 Not Implemented", "501 Not Implemented: unsupported transfer encoding")
UNSUPPORTED_VERSION = _below_the_router(
    "505 HTTP Version Not Supported", "505 HTTP Version Not Supported: unsupported protocol version"
)
# The clients fail on an error body that is not this JSON object, so what an honest client may meet is one.
BODY_TOO_LARGE = _json_answer(413, _unexpected(413))
OVERLOADED = _json_answer(503, _unexpected(503), "Retry-After: 1\r\n")
INTERNAL_ERROR = _json_answer(500, f"The certificate authority encountered an Internal Server Error. {_LOGS}")
UNAVAILABLE_BODY = (
    f'{{"status":503,"message":"The certificate authority is temporarily unavailable; nothing was issued. {_LOGS}"}}\n'
).encode()
INTERNAL_ERROR_BODY = INTERNAL_ERROR.partition(b"\r\n\r\n")[2]
HTTP_TO_HTTPS = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class HTTPDate:
    """The `Date` header line, made once a second."""

    __slots__ = ("_line", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._line = b""

    def line(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = b"Date: " + formatdate(second, usegmt=True).encode() + b"\r\n"
        return self._line


_date = HTTPDate()


def options_star(*, close: bool) -> bytes:
    """The answer to `OPTIONS *`."""
    # step-ca: this one has Content-Length before Date
    connection = b"Connection: close\r\n" if close else b""
    return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + _date.line() + connection + b"\r\n"


def _status_line(status: int, *, http10: bool) -> bytes:
    line = _status_lines.get((status, http10))
    if line is None:
        try:
            phrase = HTTPStatus(status).phrase
        except ValueError:
            phrase = f"status code {status}"
        line = f"HTTP/1.{0 if http10 else 1} {status} {phrase}\r\n".encode()
        if 100 <= status <= 999:
            _status_lines[status, http10] = line
    return line


def _canonical(name: bytes) -> bytes:
    canonical = _canonical_names.get(name)
    if canonical is None:
        canonical = b"-".join(part.capitalize() for part in name.split(b"-"))
        if len(_canonical_names) < _CANONICAL_NAMES_MAX:
            _canonical_names[name] = canonical
    return canonical


class Framing(enum.Enum):
    """How the end of a body is marked."""

    NO_BODY = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


class Head(Struct, frozen=True):
    """The encoded head of an answer, its empty line included, and what follows from it."""

    data: bytes
    framing: Framing
    keep_alive: bool


def encode_head(
    status: int,
    headers: Iterable[tuple[bytes, bytes]],
    *,
    size: int | None,
    is_head: bool,
    http10: bool,
    keep_alive: bool,
) -> Head:
    """The head for a body of `size` bytes, None if it comes in pieces.

    Raises `ValueError` if a name or value holds a line break, for it would be two headers.
    """
    parts = [_status_line(status, http10=http10)]
    dated = declared = False
    lines = 2
    for name, value in headers:
        canonical = _canonical(name)
        if canonical in _FRAMING_HEADERS:
            if canonical == b"Connection":
                keep_alive = keep_alive and value.lower() != b"close"
                continue
            if canonical == b"Transfer-Encoding":
                continue
            dated = dated or canonical == b"Date"
            declared = declared or canonical == b"Content-Length"
        parts += (canonical, b": ", value, b"\r\n")
        lines += 1
    if not dated:
        parts.append(_date.line())
        lines += 1
    if status < 200 or status in _BODILESS:
        framing = Framing.NO_BODY
    elif declared:
        framing = Framing.NO_BODY if is_head else Framing.LENGTH
    elif size is not None and size <= _LENGTH_MAX:
        if size or not is_head:
            parts.append(b"Content-Length: %d\r\n" % size)
            lines += 1
        framing = Framing.NO_BODY if is_head else Framing.LENGTH
    elif is_head:
        framing = Framing.NO_BODY
    elif http10:
        framing = Framing.CLOSE
        keep_alive = False
    else:
        framing = Framing.CHUNKED
    if keep_alive == http10:
        # step-ca: silence means keep-alive in HTTP/1.1 and close in HTTP/1.0
        parts.append(b"Connection: keep-alive\r\n" if keep_alive else b"Connection: close\r\n")
        lines += 1
    parts.append(b"Transfer-Encoding: chunked\r\n\r\n" if framing is Framing.CHUNKED else b"\r\n")
    lines += framing is Framing.CHUNKED
    data = b"".join(parts)
    if data.count(b"\n") != lines or data.count(b"\r") != lines:
        raise ValueError("line break in a response header")
    return Head(data, framing, keep_alive)
