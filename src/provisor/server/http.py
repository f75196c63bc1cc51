"""HTTP/1.1 and HTTP/1.0 for an ASGI application: httptools reads, this module keeps order and limits.

A request reaches the application when its body is complete, so a slow sender costs a buffer and
never a task. One request of a connection is in work at a time; what a client sends ahead waits in
the socket. The application's coroutine runs to its end even when the client goes away: an issuance
past its commit must reach its audit and its log.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import deque
from typing import Final, Protocol, cast

import httptools

from provisor.server import answers
from provisor.server.exchange import Exchange, Scope, Site
from provisor.server.head import BODY_BYTES, HEADER_BYTES, MALFORMED, OVERLOADED, Refusal, RequestHead
from provisor.server.limits import address_key
from provisor.server.tls import describe_connection

__all__ = ["HTTPProtocol", "Stream"]

_ASGI: Final = {"version": "3.0", "spec_version": "2.4"}
_SLICE_BYTES: Final = 16 * 1024
_LINGER_SECONDS: Final = 2.0
_BUFFER_HIGH_WATER: Final = 64 * 1024
_UNKNOWN_METHOD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}) [^ \r\n]+ HTTP/1\.[01]\r\n")


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


class HTTPProtocol(asyncio.Protocol):
    """One connection. `admitted` says that a protocol below has counted it already."""

    __slots__ = (
        "_admitted",
        "_client",
        "_closing",
        "_current",
        "_ended",
        "_extensions",
        "_final",
        "_head",
        "_in_head",
        "_incoming",
        "_key",
        "_parser",
        "_partial",
        "_paused",
        "_queue",
        "_received_any",
        "_scheme",
        "_server",
        "_slice_fresh",
        "_stopped",
        "_transport",
        "_unknown_method",
        "_unread",
        "deadline",
        "is_gone",
        "site",
        "writable",
    )

    def __init__(self, site: Site, *, admitted: bool = False) -> None:
        self.site = site
        self._admitted = admitted
        self._key: str | None = None
        self.is_gone = False
        self.writable: asyncio.Event | None = None
        self.deadline = math.inf
        self._transport: Stream | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._current: Exchange | None = None
        self._incoming: Exchange | None = None
        self._queue: deque[Exchange] = deque()
        self._unread = b""
        self._paused = False
        self._stopped = False
        self._ended = False
        self._closing = False
        self._final: Refusal | None = None
        self._received_any = False
        self._slice_fresh = True
        self._in_head = False
        self._unknown_method: bytes | None = None
        self._head = RequestHead()
        self._partial = 0

    # -- the connection -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(Stream, transport)
        peer = transport.get_extra_info("peername")
        if not self._admitted:
            key = address_key(peer)
            if not self.site.connections.admit(key):
                self.abort()
                return
            self._key = key
        self._transport.set_write_buffer_limits(high=_BUFFER_HIGH_WATER)
        self._client = tuple(peer[:2]) if isinstance(peer, tuple) else None
        local = transport.get_extra_info("sockname")
        self._server = tuple(local[:2]) if isinstance(local, tuple) else None
        tls = transport.get_extra_info("ssl_object")
        self._scheme = "http" if tls is None else "https"
        self._extensions: dict[str, object] = {}
        if tls is not None:
            self._extensions["tls"] = describe_connection(tls)
        self.deadline = self.site.loop.time() + self.site.limits.header_seconds
        self.site.connections.opened(self)
        if self.site.connections.draining:
            self.drain(self.site.loop.time())

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_gone = True
        self._stopped = True
        self._forget_incoming()
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
        # Parser and protocol hold each other; most connections are short.
        del self._parser

    def _forget_incoming(self) -> None:
        if self._incoming is not None:
            self.site.connections.buffered -= self._incoming.size
            self._incoming = None

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
        if self._transport is not None and not self.is_gone:
            self._transport.write(data)

    def abort(self) -> None:
        self._stopped = self._closing = True
        if self._transport is not None and not self.is_gone:
            self._transport.abort()

    def expire(self) -> None:
        """The phase took too long: no answer, as the reference does."""
        assert self._transport is not None
        self.deadline = math.inf
        # What the client does not read cannot be flushed, and a TLS farewell neither.
        hopeless = self._closing or self._transport.get_write_buffer_size() > 0
        if not self._closing:
            self._stopped = self._closing = True
            half_sent = self._in_head or self._incoming is not None
            self.site.connections.refuse("slow" if half_sent or hopeless else "idle")
        if hopeless:
            self._transport.abort()
        else:
            self._transport.close()

    def drain(self, grace_until: float) -> None:
        if self._current is not None or self._queue or self._incoming is not None or self._in_head or self._stopped:
            return
        if self._received_any:
            self._close()
        else:
            # Its first request may be on the way already.
            self.deadline = min(self.deadline, grace_until)

    def _close(self) -> None:
        self._stopped = self._closing = True
        self.deadline = self.site.loop.time() + self.site.limits.write_seconds
        if self._transport is not None:
            self._transport.close()

    def _set_deadline(self, seconds: float) -> None:
        """Begin a phase, unless an answer is in work: that one is not the client's time."""
        if self._current is None:
            self.deadline = self.site.loop.time() + seconds

    # -- what arrives ---------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._stopped:
            return
        if self._current is not None or self.writable is not None:
            self._hold(data)
        elif len(data) <= _SLICE_BYTES:
            self._feed(data)
        else:
            self._feed_slices(data)

    def eof_received(self) -> bool:
        """The client sends no more. With a request in work the connection stays open for its answer."""
        self._ended = True
        return self._current is not None

    def _hold(self, data: bytes) -> None:
        """Sent ahead of the answer: read no more until that is written."""
        self._unread += data
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _feed_slices(self, data: bytes) -> None:
        # In slices, so that one read full of tiny pipelined requests makes a bounded number of exchanges.
        for start in range(0, len(data), _SLICE_BYTES):
            if self._stopped:
                return
            if self._current is not None:
                self._hold(data[start:])
                return
            self._feed(data[start : start + _SLICE_BYTES])

    def _feed(self, data: bytes) -> None:
        head, before = self._head, self._head.size
        self._slice_fresh = not self._in_head and self._incoming is None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # An offer we do not take (h2c, CONNECT): the request was read, what follows it is not HTTP.
            self._no_more_after_this()
        except httptools.HttpParserInvalidMethodError:
            self._feed_unknown_method(data)
        except httptools.HttpParserError:
            self._refuse(MALFORMED)
        if self._in_head and not self._stopped:
            self._count_partial(len(data), head, before)

    def _count_partial(self, size: int, head: RequestHead, before: int) -> None:
        """Bound the header line that has not ended: httptools keeps it and tells of it when it is complete."""
        if self._head is head:
            self._partial += size - (head.size - before)
        elif self._slice_fresh:
            self._partial = size - self._head.size
        if self._head.size + self._partial > self.site.limits.header_bytes:
            self._refuse(HEADER_BYTES)

    def _feed_unknown_method(self, data: bytes) -> None:
        """A well-formed request with a method that the parser does not know is the application's to refuse."""
        match = _UNKNOWN_METHOD.match(data) if self._slice_fresh else None
        if match is None or self._unknown_method is not None:
            self._refuse(MALFORMED)
            return
        self._unknown_method = match[1]
        self._parser = httptools.HttpRequestParser(self)
        self._feed(b"GET" + data[match.end(1) :])

    def _no_more_after_this(self) -> None:
        self._stopped = True
        self._ended = True
        if self._current is None:
            self._close()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer below the application and close, after the answers that are due before this one."""
        if self._stopped:
            return
        self._stopped = True
        self.site.connections.refuse(refusal.reason)
        self._forget_incoming()
        if self._current is not None:
            self._final = refusal
        else:
            self._farewell(refusal)

    def _farewell(self, refusal: Refusal) -> None:
        assert self._transport is not None
        self._transport.write(refusal.answer)
        if refusal.linger and self._transport.can_write_eof():
            self._closing = True
            self._transport.write_eof()
            self.deadline = self.site.loop.time() + _LINGER_SECONDS
        else:
            self._close()

    # -- httptools callbacks --------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._head = RequestHead()
        self._partial = 0
        self._in_head = True
        self._received_any = True
        self._set_deadline(self.site.limits.header_seconds)

    def on_url(self, piece: bytes) -> None:
        self._head.add_url(piece)
        self._check_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._stopped:
            return
        self._head.count(name, value)
        if self._in_head:  # otherwise a trailer, counted and dropped
            self._head.add_header(name, value)
        self._check_head()

    def _check_head(self) -> None:
        excess = self._head.find_excess(self.site.limits)
        if excess is not None:
            self._refuse(excess)

    def on_headers_complete(self) -> None:
        self._in_head = False
        # What comes now in this slice is no longer its first request, whose method alone may be sent again.
        self._slice_fresh = False
        if self._stopped:
            return
        version = self._parser.get_http_version()
        refusal = self._head.find_fault(version, self.site.limits)
        scope = None if refusal is not None else self._make_scope(version)
        if scope is None:
            self._refuse(refusal or MALFORMED)
            return
        exchange = Exchange(self, scope, http10=version == "1.0", keep_alive=self._parser.should_keep_alive())
        exchange.expects_continue = self._head.expects_continue
        self._incoming = exchange
        if self._current is None:
            self._expect_body(exchange)

    def _make_scope(self, version: str) -> Scope | None:
        method = self._unknown_method or self._parser.get_method()
        self._unknown_method = None
        target = self._head.find_target()
        if target is None:
            return None
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "server": self._server,
            "client": self._client,
            "scheme": self._scheme,
            "method": method.decode("ascii"),
            "root_path": "",
            "path": target.path,
            "raw_path": target.raw_path,
            "query_string": target.query,
            "headers": self._head.headers,
            "state": dict(self.site.state),
            "extensions": self._extensions,
        }

    def _expect_body(self, exchange: Exchange) -> None:
        self._set_deadline(self.site.limits.body_seconds)
        if exchange.expects_continue:
            exchange.expects_continue = False
            self.write(answers.CONTINUE)

    def on_body(self, body: bytes) -> None:
        exchange = self._incoming
        if exchange is None:
            return
        exchange.add_body(body)
        connections = self.site.connections
        connections.buffered += len(body)
        if exchange.size > self.site.limits.body_bytes:
            self._refuse(BODY_BYTES)
        elif connections.buffered > self.site.limits.buffered_bytes:
            self._refuse(OVERLOADED)

    def on_message_complete(self) -> None:
        exchange = self._incoming
        if exchange is None:
            return
        self._incoming = None
        self.site.connections.buffered -= exchange.size
        exchange.complete = True
        if self._current is None:
            self._start(exchange)
        else:
            self._queue.append(exchange)

    # -- the exchange in work -------------------------------------------------------------------

    def _start(self, exchange: Exchange) -> None:
        scope = exchange.scope
        if scope["method"] == "OPTIONS" and scope["raw_path"] == b"*":
            self._current = exchange
            close = not exchange.keep_alive
            self.write(answers.options_star(close=close))
            self.answered(exchange)
            return
        self._current = exchange
        self.deadline = math.inf
        self.site.connections.in_flight.add(exchange)
        exchange.task = self.site.loop.create_task(exchange.run())

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
        else:
            self._go_on()

    def _go_on(self) -> None:
        if self._queue:
            self._start(self._queue.popleft())
        elif self._final is not None:
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
        if not self._paused and not self._stopped and self._transport is not None:
            self._transport.resume_reading()

    def _await_more(self) -> None:
        limits = self.site.limits
        incoming = self._incoming
        if incoming is not None:
            self._expect_body(incoming)
        elif self._in_head:
            self._set_deadline(limits.header_seconds)
        elif self.site.connections.draining:
            self._close()
        else:
            self._set_deadline(limits.idle_seconds)
