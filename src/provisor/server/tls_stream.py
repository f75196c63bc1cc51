"""TLS between a socket's transport and the HTTP protocol, over OpenSSL's memory buffers.

Unlike the event loops' own TLS it sends the alert when a handshake fails, so that a client learns
why; it has no timer of its own, since the worker's sweep ends a slow handshake; and it can tell a
client that speaks plain HTTP what it did wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import math
import ssl
from collections.abc import Callable
from typing import Final, cast

from provisor.server.admission import Newcomer
from provisor.server.answers import HTTP_TO_HTTPS
from provisor.server.limits import Connections, address_key

__all__ = ["Admitted", "TLSStream"]

_RECORD_BYTES: Final = 16 * 1024
_LINGER_SECONDS: Final = 2.0
_PLAIN_REQUESTS: Final = (b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO")


class _Phase(enum.Enum):
    HANDSHAKE = enum.auto()
    OPEN = enum.auto()
    CLOSED = enum.auto()


class Admitted:
    """What a connection has been counted as, and is until `release`."""

    __slots__ = ("_connections", "_key", "newcomer")

    def __init__(self, connections: Connections, key: str, newcomer: Newcomer) -> None:
        self._connections = connections
        self._key = key
        self.newcomer = newcomer

    @classmethod
    def of(cls, connections: Connections, key: str) -> Admitted | None:
        """None if the connection must be closed: too many, of this address too many, or too much to do."""
        if not connections.admit(key):
            return None
        newcomer = connections.admission.welcome()
        if newcomer is None:
            connections.refuse("overload")
            connections.release(key)
            return None
        return cls(connections, key, newcomer)

    def release(self) -> None:
        self.newcomer.done()
        self._connections.release(self._key)


class TLSStream(asyncio.Protocol):
    """One connection: a protocol to the socket below, a transport to the protocol above.

    `make_protocol` is called when the handshake is done.
    """

    __slots__ = (
        "_above",
        "_admitted",
        "_below",
        "_connections",
        "_context",
        "_incoming",
        "_make_protocol",
        "_outgoing",
        "_paused",
        "_phase",
        "_tls",
        "_tls_read",
        "deadline",
    )

    def __init__(
        self,
        connections: Connections,
        context: ssl.SSLContext,
        make_protocol: Callable[[], asyncio.Protocol],
        admitted: Admitted | None = None,
    ) -> None:
        """Without `admitted` it is found out, when the connection is made, whether it may be."""
        self.deadline = math.inf
        self._connections = connections
        self._context = context
        self._make_protocol = make_protocol
        self._admitted = admitted
        self._phase = _Phase.HANDSHAKE
        self._paused = False
        self._above: asyncio.Protocol | None = None
        self._below: asyncio.Transport | None = None

    # -- the protocol to the socket -------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._below = cast(asyncio.Transport, transport)
        if self._admitted is None:
            self._admitted = Admitted.of(self._connections, address_key(transport.get_extra_info("peername")))
        if self._admitted is None:
            self._phase = _Phase.CLOSED
            self._below.abort()
            return
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._tls_read = self._tls.read
        self.deadline = self._connections.loop.time() + self._connections.limits.handshake_seconds
        self._connections.opened(self)

    def never_began(self) -> None:
        """There will be no connection."""
        if self._below is None:
            self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._phase = _Phase.CLOSED
        if self._above is not None:
            self._above.connection_lost(exc)
            self._above = None
        else:
            self._connections.closed(self)
        if self._admitted is not None:
            self._admitted.release()

    def data_received(self, data: bytes) -> None:
        if self._phase is _Phase.CLOSED:
            return
        self._incoming.write(data)
        if self._phase is _Phase.OPEN:
            self._read()
        else:
            self._shake_hands(data)

    def eof_received(self) -> bool:
        if self._phase is not _Phase.OPEN or self._above is None:
            return False
        return bool(self._above.eof_received())

    def pause_writing(self) -> None:
        if self._above is not None:
            self._above.pause_writing()

    def resume_writing(self) -> None:
        if self._above is not None:
            self._above.resume_writing()

    def _shake_hands(self, data: bytes) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            assert self._below is not None
            if error.reason == "HTTP_REQUEST" or data.startswith(_PLAIN_REQUESTS):
                self._outgoing.read()
                self._below.write(HTTP_TO_HTTPS)
            self._fail("handshake")
        else:
            self._flush()
            self._phase = _Phase.OPEN
            assert self._admitted is not None
            self._admitted.newcomer.done()
            self._connections.closed(self)
            self._above = self._make_protocol()
            self._above.connection_made(cast(asyncio.Transport, self))
            self._read()

    def _read(self) -> None:
        """Give the protocol above what has arrived whole, until it wants no more."""
        above = self._above
        while not self._paused and above is not None and self._phase is _Phase.OPEN:
            if not self._incoming.pending and not self._tls.pending():
                break
            try:
                data = self._tls_read(_RECORD_BYTES)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                data = b""
            except ssl.SSLError:
                self._fail("record")
                return
            if data:
                above.data_received(data)
            elif above.eof_received():
                break
            else:
                self.close()
                return
        if self._outgoing.pending:
            self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending and self._below is not None:
            self._below.write(self._outgoing.read())

    def _fail(self, reason: str) -> None:
        """Send the alert that OpenSSL has prepared, and close."""
        self._connections.refuse(reason)
        self._flush()
        self._phase = _Phase.CLOSED
        self.deadline = self._connections.loop.time() + _LINGER_SECONDS
        if self._below is not None:
            self._below.close()

    # -- what the sweep and the drain see, during the handshake ---------------------------------

    def expire(self) -> None:
        if self._phase is _Phase.HANDSHAKE:
            self._connections.refuse("handshake-time")
        self.abort()

    def drain(self, grace_until: float) -> None:
        self.deadline = min(self.deadline, grace_until)

    # -- the transport to the protocol above ----------------------------------------------------

    def get_extra_info(self, name: str, default: object = None) -> object:
        if name == "ssl_object":
            return self._tls
        return default if self._below is None else self._below.get_extra_info(name, default)

    def write(self, data: bytes) -> None:
        if self._phase is not _Phase.OPEN or self._below is None:
            return
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._tls.write(rest) :]
        except ssl.SSLError:
            # Without renegotiation a write waits for nothing: the connection is broken.
            self.abort()
            return
        self._below.write(self._outgoing.read())

    def _say_goodbye(self) -> None:
        # `unwrap` then wants the peer's close_notify, which nobody waits for (RFC 8446 section 6.1).
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        self._flush()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Say that no more will be sent; what still arrives is thrown away."""
        if self._phase is _Phase.OPEN and self._below is not None:
            self._say_goodbye()
            self._phase = _Phase.CLOSED
            self._below.write_eof()

    def close(self) -> None:
        """Flush and close. The protocol above must be ready for `connection_lost` only."""
        if self._phase is _Phase.OPEN:
            self._say_goodbye()
        self._phase = _Phase.CLOSED
        if self._below is not None:
            self._below.close()

    def abort(self) -> None:
        self._phase = _Phase.CLOSED
        if self._below is not None:
            self._below.abort()

    def pause_reading(self) -> None:
        self._paused = True
        if self._below is not None and not self._below.is_closing():
            self._below.pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        if self._below is None or self._below.is_closing():
            return
        self._below.resume_reading()
        if self._incoming.pending or self._tls.pending():
            self._connections.loop.call_soon(self._read)

    def get_write_buffer_size(self) -> int:
        return 0 if self._below is None else self._below.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if self._below is not None:
            self._below.set_write_buffer_limits(high, low)
