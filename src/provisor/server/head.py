"""The head of a request as httptools tells it, and the reasons to refuse it before a byte of its body is kept."""

from __future__ import annotations

import re
from typing import Final, final
from urllib.parse import unquote_to_bytes

import httptools
from msgspec import Struct

from provisor.server import answers
from provisor.server.limits import ConnectionLimits

__all__ = ["Refusal", "RequestHead", "Target"]


class Refusal(Struct, frozen=True):
    """An answer made below the application; the connection closes after it.

    `reason` is one word for the counters. `linger`: the client is still sending, and would not see
    the answer if the connection were closed with its bytes unread.
    """

    answer: bytes
    reason: str
    linger: bool = False


MALFORMED: Final = Refusal(answers.BAD_REQUEST, "malformed")
_VERSION: Final = Refusal(answers.UNSUPPORTED_VERSION, "version")
_NO_HOST: Final = Refusal(answers.MISSING_HOST, "host")
_MANY_HOSTS: Final = Refusal(answers.TOO_MANY_HOSTS, "host")
_ENCODING: Final = Refusal(answers.UNSUPPORTED_ENCODING, "encoding", linger=True)
_EXPECTATION: Final = Refusal(answers.EXPECTATION_FAILED, "expectation")
HEADER_BYTES: Final = Refusal(answers.HEADERS_TOO_LARGE, "header-bytes", linger=True)
HEADER_COUNT: Final = Refusal(answers.HEADERS_TOO_LARGE, "header-count", linger=True)
BODY_BYTES: Final = Refusal(answers.BODY_TOO_LARGE, "body-bytes", linger=True)
_NO_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
OVERLOADED: Final = Refusal(answers.OVERLOADED, "buffered-bytes", linger=True)


class Target(Struct, frozen=True):
    """`raw_path` is as sent, `path` decoded."""

    raw_path: bytes
    path: str
    query: bytes


@final
class RequestHead:
    """Request line and headers; header names are lower-case. `size` counts both, and trailers."""

    __slots__ = ("_lines", "expects_continue", "headers", "size", "url")

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.size = 0
        self.expects_continue = False
        self._lines = 0

    def add_url(self, piece: bytes) -> None:
        """The request target, which may come in pieces."""
        self.url += piece
        self.size += len(piece)

    def add_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))
        self.size += len(name) + len(value) + 4
        self._lines += 1

    def add_trailer(self, name: bytes, value: bytes) -> None:
        """A line after the body: counted and dropped."""
        self.size += len(name) + len(value) + 4
        self._lines += 1

    def find_excess(self, limits: ConnectionLimits) -> Refusal | None:
        if self.size > limits.header_bytes:
            return HEADER_BYTES
        if self._lines > limits.header_count:
            return HEADER_COUNT
        return None

    def find_fault(self, version: str, limits: ConnectionLimits) -> Refusal | None:
        """What is wrong with the complete head. Learns whether the client waits for `100 Continue`."""
        if version != "1.1" and version != "1.0":
            return MALFORMED if version == "0.9" else _VERSION
        hosts = 0
        fault = None
        has_body = False
        expect = b""
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
            elif name == b"content-length":
                length = int(value)
                if length > limits.body_bytes:
                    fault = fault or BODY_BYTES
                has_body = length > 0
            elif name == b"transfer-encoding":
                if value.lower() != b"chunked":
                    fault = fault or _ENCODING
                has_body = True
            elif name == b"expect":
                expect = value.lower()
        if hosts != 1 and (hosts or version == "1.1"):
            return _MANY_HOSTS if hosts else _NO_HOST
        if fault is not None:
            return fault
        if expect and expect != b"100-continue":
            return _EXPECTATION
        self.expects_continue = bool(expect) and has_body and version == "1.1"
        return None

    def find_target(self) -> Target | None:
        """Path and query of the request target; None if it is not one."""
        url = self.url
        if url[:1] == b"/" or url == b"*":
            path, _, query = url.partition(b"?")
        else:
            # Absolute form, RFC 9112 section 3.2.2.
            try:
                parsed = httptools.parse_url(url)
            except httptools.HttpParserInvalidURLError:
                return None
            path, query = parsed.path or b"/", parsed.query or b""
        if _NO_ESCAPE.search(path):
            return None
        decoded = unquote_to_bytes(path) if b"%" in path else path
        return Target(path, decoded.decode("utf-8", "replace"), query)
