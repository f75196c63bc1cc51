"""One request and its answer: the ASGI conversation with the application, and its end at the request boundary."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from random import choice
from typing import Any, Final, Protocol, final

from provisor.server import answers
from provisor.server.answers import Framing
from provisor.server.limits import Connections

__all__ = ["ASGIApp", "Carrier", "Exchange", "Message", "Presence", "Receive", "Scope", "Send", "Site"]

# The ASGI interface is dictionaries of anything, by its specification.
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_PIECE_BYTES: Final = 128 * 1024
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_JSON: Final = (b"content-type", b"application/json")
_COME_BACK: Final = tuple((_JSON, (b"retry-after", str(seconds).encode())) for seconds in range(1, 11))
"""So that those who were turned away together do not come back together."""


@final
class Presence:
    """Whether the client of a connection still waits; in a request's scope, among the extensions, under `NAME`."""

    __slots__ = ("has_left",)

    NAME: Final = "provisor.presence"

    def __init__(self) -> None:
        self.has_left = False


class Site:
    """One application as one listener shows it, shared by all connections of that listener.

    `state` is copied into the scope of every request (ASGI lifespan state). `report` hears of an
    exception that the application let through, with the scope of its request.
    """

    def __init__(
        self,
        app: ASGIApp,
        connections: Connections,
        *,
        state: Mapping[str, object] | None = None,
        report: Callable[[BaseException, Scope], None] | None = None,
    ) -> None:
        self.app = app
        self.connections = connections
        self.limits = connections.limits
        self.loop = connections.loop
        self.state: Mapping[str, object] = state if state is not None else {}
        self.report = report


class Carrier(Protocol):
    """What an exchange asks of its connection."""

    site: Site
    is_gone: bool
    """The client's connection is lost."""
    writable: asyncio.Event | None
    """Set when the client has read enough to be sent more; None if it has."""

    def write(self, data: bytes) -> None: ...

    def answered(self, exchange: Exchange) -> None:
        """The whole answer was written."""

    def abort(self) -> None: ...


@final
class Exchange:
    """One request and its answer."""

    __slots__ = (
        "_answer_status",
        "_began",
        "_closed",
        "_framing",
        "_gone",
        "_head",
        "_headers",
        "_received",
        "_sent_head",
        "body",
        "expects_continue",
        "http10",
        "keep_alive",
        "protocol",
        "scope",
        "size",
        "task",
    )

    def __init__(self, protocol: Carrier, scope: Scope, *, http10: bool, keep_alive: bool) -> None:
        self.protocol = protocol
        self.http10 = http10
        self.keep_alive = keep_alive
        self.expects_continue = False
        self.body: bytes | bytearray = b""
        self.size = 0
        self.task: asyncio.Task[None] | None = None
        self.scope = scope
        self._answer_status = 0
        self._headers: Any = ()
        self._head = b""
        self._framing = Framing.NO_BODY
        self._sent_head = False
        self._closed = False
        self._received = False
        self._gone: asyncio.Event | None = None
        self._began: float | None = None

    def find_place(self) -> bool:
        """Whether this request may be worked on now. One that only reads always may: its answer is as cheap as a no."""
        if self.scope["method"] in _READING:
            return True
        self._began = self.protocol.site.connections.admission.begin()
        return self._began is not None

    def _leave_place(self) -> None:
        if self._began is not None:
            self.protocol.site.connections.admission.end(self._began)
            self._began = None

    @property
    def _presence(self) -> Presence:
        presence: Presence = self.scope["extensions"][Presence.NAME]
        return presence

    def turn_away(self) -> None:
        """Answer that there is too much to do, instead of running. The connection lives: a new one would cost more."""
        connections = self.protocol.site.connections
        connections.refuse("overload-request")
        self.body = b""
        delay = connections.admission.refusal_delay()
        if delay:
            self.protocol.site.loop.call_later(delay, self._say_no)
        else:
            self._say_no()

    def _say_no(self) -> None:
        if self.protocol.is_gone:
            return
        body = answers.UNAVAILABLE_BODY
        self._write_head(503, choice(_COME_BACK), size=len(body))
        self._closed = True
        self._write_body(body, more=False)

    def add_body(self, piece: bytes) -> None:
        # One growing buffer: a list of two-byte chunks would cost twenty times their size.
        if not self.size:
            self.body = piece
        elif isinstance(self.body, bytearray):
            self.body += piece
        else:
            self.body = bytearray(self.body)
            self.body += piece
        self.size += len(piece)

    async def run(self) -> None:
        """Drive the application: the request boundary, where any exception ends."""
        site = self.protocol.site
        try:
            if self._began is not None and self._presence.has_left:
                site.connections.refuse("client-gone")
                self.protocol.abort()
                self._closed = True
            else:
                await site.app(self.scope, self._receive, self._send)
        except Exception as error:  # noqa: BLE001 - the request boundary
            self._fail(error)
        except BaseException:
            self.protocol.abort()
            raise
        else:
            if not self._closed:
                self._fail(RuntimeError("the application returned without completing its answer"))
        finally:
            self._leave_place()
            site.connections.exchange_ended(self)
            self.task = None

    def _fail(self, error: Exception) -> None:
        site = self.protocol.site
        if site.report is not None:
            site.report(error, self.scope)
        if self._sent_head:
            if not self._closed:
                # The client must not take a cut body for a whole one.
                self.protocol.abort()
            return
        self._closed = True
        self._write_head(500, (_JSON,), size=len(answers.INTERNAL_ERROR_BODY))
        self._write_body(answers.INTERNAL_ERROR_BODY, more=False)

    async def _receive(self) -> Message:
        if not self._received:
            self._received = True
            body, self.body = bytes(self.body), b""
            return {"type": "http.request", "body": body, "more_body": False}
        if not self._closed and not self.protocol.is_gone:
            self._gone = asyncio.Event()
            await self._gone.wait()
        return {"type": "http.disconnect"}

    def client_gone(self) -> None:
        if self._gone is not None:
            self._gone.set()

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            if self._answer_status:
                raise RuntimeError("http.response.start was sent before")
            self._answer_status = message["status"]
            self._headers = message.get("headers", ())
            return
        if kind != "http.response.body" or not self._answer_status or self._closed:
            raise RuntimeError(f"unexpected message {kind}")
        more = message.get("more_body", False)
        body = message.get("body", b"")
        if len(body) > _PIECE_BYTES:
            body = memoryview(body)
        if not self._sent_head:
            self._write_head(self._answer_status, self._headers, size=None if more else len(body))
        while len(body) > _PIECE_BYTES:
            # Encrypted and buffered as fast as the client reads, not all at once.
            self._write_body(body[:_PIECE_BYTES], more=True)
            body = body[_PIECE_BYTES:]
            if self.protocol.writable is not None:
                await self.protocol.writable.wait()
        self._write_body(body, more=more)
        if not more:
            self._closed = True
            self.client_gone()
        if self.protocol.writable is not None:
            await self.protocol.writable.wait()

    def _write_head(self, status: int, headers: Any, *, size: int | None) -> None:
        """Encode the head; it leaves together with the first of the body."""
        head = answers.encode_head(
            status,
            headers,
            size=size,
            is_head=self.scope["method"] == "HEAD",
            http10=self.http10,
            keep_alive=self.keep_alive and not self.protocol.site.connections.draining,
        )
        self._sent_head = True
        self._head = head.data
        self.keep_alive = head.keep_alive
        self._framing = head.framing

    def _write_body(self, body: bytes | memoryview, *, more: bool) -> None:
        if self._framing is Framing.NO_BODY:
            data = self._head
        elif self._framing is Framing.CHUNKED:
            data = self._head + _chunk(body, last=not more)
        else:
            data = self._head + body
        self._head = b""
        if data:
            self.protocol.write(data)
        if not more:
            self._leave_place()
            self.protocol.answered(self)


def _chunk(body: bytes | memoryview, *, last: bool) -> bytes:
    """RFC 9112 section 7.1."""
    end = b"0\r\n\r\n" if last else b""
    return b"".join((b"%x\r\n" % len(body), body, b"\r\n", end)) if body else end
