"""From octets to requests: httptools reads, this module bounds what it keeps and judges each head.

In slices, so that one read full of tiny pipelined requests makes a bounded number of exchanges.
"""

from __future__ import annotations

import re
from typing import Final, Protocol, final

import httptools

from provisor.server.exchange import Carrier, Exchange, Scope
from provisor.server.head import BODY_BYTES, HEADER_BYTES, MALFORMED, OVERLOADED, Refusal, RequestHead

__all__ = ["SLICE_BYTES", "Peer", "RequestReader"]

SLICE_BYTES: Final = 16 * 1024
_ASGI: Final = {"version": "3.0", "spec_version": "2.4"}
_UNKNOWN_METHOD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}) [^ \r\n]+ HTTP/1\.[01]\r\n")


@final
class Peer:
    """What every request of a connection has in its scope: both addresses, the scheme, and `extensions`."""

    __slots__ = ("client", "extensions", "scheme", "server")

    def __init__(self, client: object, server: object, scheme: str, extensions: dict[str, object]) -> None:
        self.client = tuple(client[:2]) if isinstance(client, tuple) else None
        self.server = tuple(server[:2]) if isinstance(server, tuple) else None
        self.scheme = scheme
        self.extensions = extensions


class Owner(Carrier, Protocol):
    """The connection that a reader reads for."""

    stopped: bool
    """No more is read."""

    def head_begins(self) -> None:
        """The first octets of a request are here."""

    def body_begins(self, exchange: Exchange) -> None:
        """A head is complete and without fault."""

    def request_complete(self, exchange: Exchange) -> None: ...

    def refuse(self, refusal: Refusal) -> None:
        """Answer below the application and read no more."""

    def read_no_more(self) -> None:
        """What follows is not HTTP."""


@final
class RequestReader:
    """The requests of one connection, one after the other. `incoming` is the one whose body has begun."""

    __slots__ = (
        "_head",
        "_limits",
        "_owner",
        "_parser",
        "_partial",
        "_peer",
        "_site",
        "_slice_fresh",
        "_unknown_method",
        "in_head",
        "incoming",
        "received_any",
    )

    def __init__(self, owner: Owner, peer: Peer) -> None:
        self._owner = owner
        self._peer = peer
        self._site = owner.site
        self._limits = owner.site.limits
        self._parser = httptools.HttpRequestParser(self)
        self.incoming: Exchange | None = None
        self.received_any = False
        self.in_head = False
        self._slice_fresh = True
        self._unknown_method: bytes | None = None
        self._head = RequestHead()
        self._partial = 0

    @property
    def is_amid(self) -> bool:
        """A request has begun and is not complete."""
        return self.in_head or self.incoming is not None

    def forget(self) -> None:
        """Drop the request that has begun."""
        if self.incoming is not None:
            self._site.connections.buffered -= self.incoming.size
            self.incoming = None

    def close(self) -> None:
        """Nothing is read any more. Parser and reader hold each other, and most connections are short."""
        self.forget()
        del self._parser

    def feed(self, data: bytes) -> None:
        """Read a slice of at most `SLICE_BYTES`."""
        head, before = self._head, self._head.size
        self._slice_fresh = not self.is_amid
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # An offer we do not take (h2c, CONNECT): the request was read, what follows it is not HTTP.
            self._owner.read_no_more()
        except httptools.HttpParserInvalidMethodError:
            self._feed_unknown_method(data)
        except httptools.HttpParserError:
            self._owner.refuse(MALFORMED)
        if self.in_head and not self._owner.stopped:
            self._count_partial(len(data), head, before)

    def _count_partial(self, size: int, head: RequestHead, before: int) -> None:
        """Bound the header line that has not ended: httptools keeps it and tells of it when it is complete."""
        if self._head is head:
            self._partial += size - (head.size - before)
        elif self._slice_fresh:
            self._partial = size - self._head.size
        if self._head.size + self._partial > self._limits.header_bytes:
            self._owner.refuse(HEADER_BYTES)

    def _feed_unknown_method(self, data: bytes) -> None:
        """A well-formed request with a method that the parser does not know is the application's to refuse."""
        match = _UNKNOWN_METHOD.match(data) if self._slice_fresh else None
        if match is None or self._unknown_method is not None:
            self._owner.refuse(MALFORMED)
            return
        self._unknown_method = match[1]
        self._parser = httptools.HttpRequestParser(self)
        self.feed(b"GET" + data[match.end(1) :])

    # -- httptools callbacks --------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._head = RequestHead()
        self._partial = 0
        self.in_head = True
        self.received_any = True
        self._owner.head_begins()

    def on_url(self, piece: bytes) -> None:
        self._head.add_url(piece)
        self._check_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._owner.stopped:
            return
        if self.in_head:
            self._head.add_header(name, value)
        else:
            self._head.add_trailer(name, value)
        self._check_head()

    def _check_head(self) -> None:
        excess = self._head.find_excess(self._limits)
        if excess is not None:
            self._owner.refuse(excess)

    def on_headers_complete(self) -> None:
        self.in_head = False
        # What comes now in this slice is no longer its first request, whose method alone may be sent again.
        self._slice_fresh = False
        if self._owner.stopped:
            return
        version = self._parser.get_http_version()
        refusal = self._head.find_fault(version, self._limits)
        scope = None if refusal is not None else self._make_scope(version)
        if scope is None:
            self._owner.refuse(refusal or MALFORMED)
            return
        keep_alive = self._parser.should_keep_alive()
        exchange = Exchange(self._owner, scope, http10=version == "1.0", keep_alive=keep_alive)
        exchange.expects_continue = self._head.expects_continue
        self.incoming = exchange
        self._owner.body_begins(exchange)

    def _make_scope(self, version: str) -> Scope | None:
        method = self._unknown_method or self._parser.get_method()
        self._unknown_method = None
        target = self._head.find_target()
        if target is None:
            return None
        peer = self._peer
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "server": peer.server,
            "client": peer.client,
            "scheme": peer.scheme,
            "method": method.decode("ascii"),
            "root_path": "",
            "path": target.path,
            "raw_path": target.raw_path,
            "query_string": target.query,
            "headers": self._head.headers,
            "state": dict(self._site.state),
            "extensions": peer.extensions,
        }

    def on_body(self, body: bytes) -> None:
        exchange = self.incoming
        if exchange is None:
            return
        exchange.add_body(body)
        connections = self._site.connections
        connections.buffered += len(body)
        if exchange.size > self._limits.body_bytes:
            self._owner.refuse(BODY_BYTES)
        elif connections.buffered > self._limits.buffered_bytes:
            self._owner.refuse(OVERLOADED)

    def on_message_complete(self) -> None:
        exchange = self.incoming
        if exchange is None:
            return
        self.incoming = None
        self._site.connections.buffered -= exchange.size
        self._owner.request_complete(exchange)
