"""HTTP/1.1 and HTTP/1.0 for an ASGI application: the connection, its order and its times.

A request reaches the application when its body is complete, so a slow sender costs a buffer and
never a task. One request of a connection is in work at a time; what a client sends ahead waits in
the socket. The application's coroutine runs to its end even when the client goes away: an issuance
past its commit must reach its audit and its log.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import Final, Protocol, cast, final

from provisor.server import answers
from provisor.server.exchange import Exchange, Presence, Site
from provisor.server.head import Refusal
from provisor.server.limits import address_key
from provisor.server.reader import SLICE_BYTES, Peer, RequestReader
from provisor.server.tls import describe_connection

__all__ = ["HTTPProtocol", "Stream"]

_LINGER_SECONDS: Final = 2.0
_BUFFER_HIGH_WATER: Final = 64 * 1024


class Stream(Protocol):
    """What the HTTP protocol asks of the transport below it: a socket's, or `TLSStream`."""

    def write(self, data: bytes) -> None: ...

    def can_write_eof(self) -> bool: ...

    def write_eof(self) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_write_buffer_size(self) -> int: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


@final
class HTTPProtocol(asyncio.Protocol):
    """One connection. `admitted` says that a protocol below has counted it already."""

    __slots__ = (
        "_admitted",
        "_closing",
        "_current",
        "_ended",
        "_final",
        "_going_on",
        "_is_tls",
        "_key",
        "_paused",
        "_presence",
        "_queue",
        "_reader",
        "_transport",
        "_unread",
        "deadline",
        "is_gone",
        "site",
        "stopped",
        "writable",
    )

    _reader: RequestReader
    _transport: Stream

    def __init__(self, site: Site, *, admitted: bool = False) -> None:
        self.site = site
        self.is_gone = False
        self.stopped = False
        self.writable: asyncio.Event | None = None
        self.deadline = math.inf
        self._admitted = admitted
        self._key: str | None = None
        self._presence = Presence()
        self._current: Exchange | None = None
        self._queue: deque[Exchange] = deque()
        self._unread = b""
        self._paused = False
        self._ended = False
        self._closing = False
        self._going_on = False
        self._is_tls = False
        self._final: Refusal | None = None

    # -- the connection -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(Stream, transport)
        client = transport.get_extra_info("peername")
        tls = transport.get_extra_info("ssl_object")
        self._is_tls = tls is not None
        extensions: dict[str, object] = {Presence.NAME: self._presence}
        if tls is not None:
            extensions["tls"] = describe_connection(tls)
        scheme = "https" if self._is_tls else "http"
        self._reader = RequestReader(self, Peer(client, transport.get_extra_info("sockname"), scheme, extensions))
        if not self._admitted:
            key = address_key(client)
            if not self.site.connections.admit(key):
                self.abort()
                return
            self._key = key
        self._transport.set_write_buffer_limits(high=_BUFFER_HIGH_WATER)
        self.deadline = self.site.loop.time() + self.site.limits.header_seconds
        self.site.connections.opened(self)
        if self.site.connections.draining:
            self.drain(self.site.loop.time())

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_gone = True
        self.stopped = True
        self._presence.has_left = True
        self._reader.close()
        # They hold each other, and most connections are short.
        del self._reader
        self._queue.clear()
        self._unread = b""
        self.site.connections.closed(self)
        if self._current is not None:
            self._current.client_gone()
            self._current = None
        if self.writable is not None:
            self.writable.set()
            self.writable = None
        if self._key is not None:
            self.site.connections.release(self._key)

    def pause_writing(self) -> None:
        self.writable = asyncio.Event()
        self.deadline = self.site.loop.time() + self.site.limits.write_seconds

    def resume_writing(self) -> None:
        if self.writable is not None:
            self.writable.set()
            self.writable = None
        if self._current is not None:
            self.deadline = math.inf
        elif not self._closing:
            self._go_on()

    def write(self, data: bytes) -> None:
        """Send to the client, or to nowhere if it has gone."""
        if not self.is_gone:
            self._transport.write(data)

    def abort(self) -> None:
        self.stopped = self._closing = True
        if not self.is_gone:
            self._transport.abort()

    def expire(self) -> None:
        """The phase took too long: no answer, as the reference does."""
        self.deadline = math.inf
        # What the client does not read cannot be flushed, and a TLS farewell neither.
        hopeless = self._closing or self._transport.get_write_buffer_size() > 0
        if not self._closing:
            self.stopped = self._closing = True
            self.site.connections.refuse("slow" if self._reader.is_amid or hopeless else "idle")
        if hopeless:
            self._transport.abort()
        else:
            self._transport.close()

    def drain(self, grace_until: float) -> None:
        if self._current is not None or self._queue or self._reader.is_amid or self.stopped:
            return
        if self._reader.received_any:
            self._close()
        else:
            # Its first request may be on the way already.
            self.deadline = min(self.deadline, grace_until)

    def _close(self) -> None:
        self.stopped = self._closing = True
        self.deadline = self.site.loop.time() + self.site.limits.write_seconds
        self._transport.close()

    def _set_deadline(self, seconds: float) -> None:
        """Begin a phase, unless an answer is in work: that one is not the client's time."""
        if self._current is None:
            self.deadline = self.site.loop.time() + seconds

    # -- what arrives ---------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.stopped:
            return
        if self._current is not None or self.writable is not None:
            self._hold(data)
        elif len(data) <= SLICE_BYTES:
            self._reader.feed(data)
        else:
            self._feed_slices(data)

    def eof_received(self) -> bool:
        """The client sends no more. With a request in work the connection stays open for its answer.

        Over TLS nobody ends one direction only: the client has left, as the reference sees it too.
        """
        self._ended = True
        if self._is_tls:
            self._presence.has_left = True
        return self._current is not None

    def _hold(self, data: bytes) -> None:
        """Sent ahead of the answer: read no more until that is written."""
        self._unread += data
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _feed_slices(self, data: bytes) -> None:
        for start in range(0, len(data), SLICE_BYTES):
            if self.stopped:
                return
            if self._current is not None:
                self._hold(data[start:])
                return
            self._reader.feed(data[start : start + SLICE_BYTES])

    # -- what the reader says -------------------------------------------------------------------

    def head_begins(self) -> None:
        self._set_deadline(self.site.limits.header_seconds)

    def body_begins(self, exchange: Exchange) -> None:
        if self._current is None:
            self._expect_body(exchange)

    def _expect_body(self, exchange: Exchange) -> None:
        self._set_deadline(self.site.limits.body_seconds)
        if exchange.expects_continue:
            exchange.expects_continue = False
            self.write(answers.CONTINUE)

    def request_complete(self, exchange: Exchange) -> None:
        self._queue.append(exchange)
        if self._current is None:
            self._go_on()

    def read_no_more(self) -> None:
        self.stopped = True
        self._ended = True
        if self._current is None:
            self._close()

    def refuse(self, refusal: Refusal) -> None:
        """Answer below the application and close, after the answers that are due before this one."""
        if self.stopped:
            return
        self.stopped = True
        self.site.connections.refuse(refusal.reason)
        self._reader.forget()
        if self._current is not None:
            self._final = refusal
        else:
            self._farewell(refusal)

    def _farewell(self, refusal: Refusal) -> None:
        self._transport.write(refusal.answer)
        if refusal.linger and self._transport.can_write_eof():
            self._closing = True
            self._transport.write_eof()
            self.deadline = self.site.loop.time() + _LINGER_SECONDS
        else:
            self._close()

    # -- the exchange in work -------------------------------------------------------------------

    def _start(self, exchange: Exchange) -> None:
        """Have it answered, now or by a task."""
        self._current = exchange
        scope = exchange.scope
        if scope["method"] == "OPTIONS" and scope["raw_path"] == b"*":
            self.write(answers.options_star(close=not exchange.keep_alive))
            self.answered(exchange)
        elif exchange.find_place():
            self.deadline = math.inf
            self.site.connections.in_flight.add(exchange)
            exchange.task = self.site.loop.create_task(exchange.run())
        else:
            self.deadline = math.inf
            exchange.turn_away()

    def answered(self, exchange: Exchange) -> None:
        """The answer is written: close, or go on with what was sent ahead."""
        if self.is_gone or self._current is not exchange:
            return
        self._current = None
        if not exchange.keep_alive:
            self._close()
        elif self.writable is not None:
            # The client reads slowly; its next request waits until it has read this answer.
            self._set_deadline(self.site.limits.write_seconds)
        elif not self._going_on:
            self._go_on()

    def _go_on(self) -> None:
        """A loop and no recursion: a slice may hold hundreds of requests that are answered at once."""
        self._going_on = True
        while self._queue and self._is_free:
            self._start(self._queue.popleft())
        self._going_on = False
        if self._is_free:
            self._go_on_reading()

    @property
    def _is_free(self) -> bool:
        return self._current is None and self.writable is None and not self._closing

    def _go_on_reading(self) -> None:
        if self._final is not None:
            self._farewell(self._final)
        elif self._paused:
            self._read_on()
        elif self._ended:
            self._close()
        else:
            self._await_more()

    def _read_on(self) -> None:
        data, self._unread = self._unread, b""
        self._paused = False
        self._await_more()
        self._feed_slices(data)
        if not self._paused and not self.stopped:
            self._transport.resume_reading()

    def _await_more(self) -> None:
        limits = self.site.limits
        incoming = self._reader.incoming
        if incoming is not None:
            self._expect_body(incoming)
        elif self._reader.in_head:
            self._set_deadline(limits.header_seconds)
        elif self.site.connections.draining:
            self._close()
        else:
            self._set_deadline(limits.idle_seconds)
