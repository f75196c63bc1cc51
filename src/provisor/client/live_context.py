"""An `ssl.SSLContext` whose certificate changes while it is in use.

`load_cert_chain` on a context that another thread makes a connection with is not safe: certificate and key are
replaced one after the other and without the interpreter's lock, and OpenSSL copies both into each new connection
(measured: handshakes fail, then the process dies). So the two exclude each other here. A connection that was begun
keeps the certificate that it began with.
"""

from __future__ import annotations

import os
import ssl
import threading
from typing import Any, Protocol, final

from provisor.client.certificate import Certificate


class Owner(Protocol):
    """Who keeps the certificate of a context fresh; lives as long as the context."""

    def attend(self) -> None:
        """A connection begins. Cheap."""


@final
class LiveContext(ssl.SSLContext):
    """Made by `live_context`; everything that a context can do may be done with it."""

    _owner: Owner
    _swapping: threading.Lock
    _process: int

    def swap(self, certificate: Certificate) -> None:
        """Connections that begin from here on show `certificate`. Raises `BadAnswer`: then nothing has changed."""
        with self._lock():
            certificate.use_in(self)

    def _lock(self) -> threading.Lock:
        if self._process != os.getpid():
            # Somebody may have held it when this process was forked off; here nobody does.
            self._swapping, self._process = threading.Lock(), os.getpid()
        return self._swapping

    # The two places where every connection begins, a listening socket's included: `wrap_socket` and `wrap_bio`
    # are passed by when such a socket accepts.

    def _wrap_socket(self, *args: Any, **kwargs: Any) -> Any:
        self._owner.attend()
        with self._lock():
            return super()._wrap_socket(*args, **kwargs)  # type: ignore[misc]

    def _wrap_bio(self, *args: Any, **kwargs: Any) -> Any:
        self._owner.attend()
        with self._lock():
            return super()._wrap_bio(*args, **kwargs)  # type: ignore[misc]


def live_context(owner: Owner, certificate: Certificate, roots: str, *, server: bool) -> LiveContext:
    """TLS 1.2 or newer, showing `certificate`, trusting `roots` (PEM) and nobody else.

    A client's context verifies; a server's asks for no certificate unless its user sets `verify_mode`.
    """
    context = LiveContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context._owner = owner
    context._swapping, context._process = threading.Lock(), os.getpid()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN  # an intermediate may be the anchor
    context.load_verify_locations(cadata=roots)
    if server:
        # A resumed session shows no certificate, neither the server's new one nor the client's.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
    context.swap(certificate)
    return context
