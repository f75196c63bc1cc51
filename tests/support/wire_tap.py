"""One HTTP connection without a socket: octets in, in whatever pieces, and what the application and the client saw."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from provisor.server.exchange import Receive, Scope, Send, Site
from provisor.server.http import HTTPProtocol
from provisor.server.limits import ConnectionLimits, Connections

_DATE: Final = re.compile(rb"Date: [^\r]*\r\n")


class Seen(Struct, frozen=True):
    """A request as the application got it."""

    method: str
    target: bytes
    path: str
    query: bytes
    version: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Heard(Struct, frozen=True):
    """An answer as a client reads it; `last` says that its end is the end of the connection."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    last: bool


class Conversation(Struct, frozen=True):
    """All of one connection."""

    requests: tuple[Seen, ...]
    answers: tuple[Heard, ...]
    closed: bool
    """By the server: the connection, or its own half of it."""
    refusals: tuple[str, ...]
    reports: tuple[BaseException, ...]


class _Transport(asyncio.Transport):
    """Keeps what is written; closes in the next turn of the loop, as a socket's does."""

    def __init__(self, protocol: HTTPProtocol) -> None:
        super().__init__({"peername": ("192.0.2.7", 40000), "sockname": ("127.0.0.1", 9000)})
        self.protocol = protocol
        self.written = b""
        self.paused = self.closing = self.lost = self.finished = False

    def write(self, data: Any) -> None:
        assert isinstance(data, bytes | bytearray | memoryview)
        assert not self.finished, "written after the end"
        if not self.closing:
            self.written += bytes(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.finished = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.lose)

    abort = close

    def lose(self) -> None:
        if not self.lost:
            self.lost = self.closing = True
            self.protocol.connection_lost(None)

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


class _Application:
    """Answers with what was asked, a little or a lot of it."""

    def __init__(self) -> None:
        self.requests: list[Seen] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        assert message["type"] == "http.request"
        assert not message["more_body"]
        headers = tuple(scope["headers"])
        self.requests.append(
            Seen(
                scope["method"],
                scope["raw_path"],
                scope["path"],
                scope["query_string"],
                scope["http_version"],
                headers,
                message["body"],
            )
        )
        await asyncio.sleep(0)
        asked = dict(headers).get(b"x-request-id", b"")
        answer_headers = [(b"content-type", b"text/plain"), (b"x-request-id", asked)]
        await send({"type": "http.response.start", "status": 200, "headers": answer_headers})
        if scope["raw_path"].startswith(b"/long"):
            await send({"type": "http.response.body", "body": b"x" * 3000, "more_body": True})
        await send({"type": "http.response.body", "body": b"echo " + message["body"][:3000]})


async def converse(
    pieces: Sequence[bytes], limits: ConnectionLimits | None = None, *, ends: bool = True
) -> Conversation:
    """Send the pieces, one a turn of the loop, then end the sending, and hear everything out."""
    refusals: list[str] = []
    reports: list[BaseException] = []
    application = _Application()
    connections = Connections(limits or ConnectionLimits(), on_refusal=refusals.append)
    site = Site(application, connections, report=lambda error, scope: reports.append(error))
    protocol = HTTPProtocol(site)
    transport = _Transport(protocol)
    protocol.connection_made(transport)
    for piece in pieces:
        await _rest(transport, connections)
        if transport.closing:
            break
        if piece:
            protocol.data_received(piece)
        assert connections.buffered >= 0
    await _rest(transport, connections)
    closed = transport.closing or transport.finished
    if not transport.closing:
        assert protocol.deadline < float("inf"), "nothing is in work and nothing ends this connection"
        if ends and not protocol.eof_received():
            transport.close()
        await _rest(transport, connections)
    transport.lose()
    await asyncio.sleep(0)
    assert connections.buffered == 0, "octets of unfinished bodies are still counted"
    assert connections.admitted == 0
    assert not connections.in_flight
    answers = read_answers(transport.written, [seen.method for seen in application.requests])
    return Conversation(tuple(application.requests), tuple(answers), closed, tuple(refusals), tuple(reports))


async def _rest(transport: _Transport, connections: Connections) -> None:
    """Until nothing moves: no exchange in work, no reading held back."""
    for _ in range(10_000):
        await asyncio.sleep(0)
        if transport.lost or (not connections.in_flight and not transport.paused and not transport.closing):
            return
    raise AssertionError("the connection never comes to rest")


def read_answers(data: bytes, methods: Sequence[str]) -> list[Heard]:
    """Take apart what a server sent, strictly. `methods` are those of the requests, in order."""
    answers: list[Heard] = []
    while data:
        head, end, data = _DATE.sub(b"", data, count=1).partition(b"\r\n\r\n")
        assert end, f"a head without end: {head!r}"
        line, *lines = head.split(b"\r\n")
        status_line = re.fullmatch(rb"HTTP/1\.[01] ([1-5]\d\d) [^\r\n]+", line)
        assert status_line, line
        headers = []
        for each in lines:
            header = re.fullmatch(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ([^\r\n\0]*)", each)
            assert header, each
            headers.append((header[1].lower(), header[2]))
        status = int(status_line[1])
        if status == 100:
            continue
        method = methods[len(answers)] if len(answers) < len(methods) else "GET"
        body, data, last = _body(dict(headers), data, is_head=method == "HEAD")
        last = last or dict(headers).get(b"connection") == b"close"
        assert not (last and data), "octets behind the last answer"
        answers.append(Heard(status, tuple(headers), body, last))
    return answers


def _body(headers: dict[bytes, bytes], data: bytes, *, is_head: bool) -> tuple[bytes, bytes, bool]:
    """Body, what follows, and whether the body ends with the connection."""
    assert not (b"content-length" in headers and b"transfer-encoding" in headers)
    if is_head:
        return b"", data, False
    if b"content-length" in headers:
        length = int(headers[b"content-length"])
        assert len(data) >= length, "an answer cut off"
        return data[:length], data[length:], False
    if b"transfer-encoding" not in headers:
        return data, b"", True
    body = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        piece, line_end, data = data[:length], data[length : length + 2], data[length + 2 :]
        assert line_end == b"\r\n"
        if not length:
            return body, data, False
        body += piece
