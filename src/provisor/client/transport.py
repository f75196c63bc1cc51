"""HTTP/1.1 over TLS to one CA: trust, identity, time and size limits, one connection kept alive.

Trust is exactly the given roots, not the system's. A request has one deadline for everything, so that a peer who
sends a byte now and then does not hold the client. Redirects are not followed. HTTPS_PROXY and NO_PROXY are obeyed.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import socket
import ssl
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import msgspec

from provisor import __version__
from provisor.client.address import CAAddress
from provisor.client.errors import BadAnswer, Unreachable

USER_AGENT: Final = f"Provisor/{__version__}"
TIMEOUT_SECONDS: Final = 15.0
MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024

_IDLE_SECONDS = 3.0  # the CA may close an idle connection; a POST on one that it just closed could not be repeated
_CHUNK = 64 * 1024
_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21})  # X509_V_ERR_* of OpenSSL: no path to a root
_OUTSIDE_VALIDITY = frozenset({9, 10})


class Identity(msgspec.Struct, frozen=True):
    """A client certificate: chain in PEM, leaf first, and the unencrypted key in PEM."""

    chain: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Identity(...)"


class Answer(msgspec.Struct, frozen=True):
    """Status, content type and body of one answer."""

    status: int
    content_type: str
    body: bytes


def make_tls_context(roots: bytes | None, identity: Identity | None = None) -> ssl.SSLContext:
    """TLS 1.2 or newer, trusting the certificates in `roots` (PEM) and no others.

    None trusts anybody: only for fetching a root whose fingerprint is known. Raises `BadAnswer` when the roots
    or the identity cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if roots is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN  # an intermediate may be the anchor
            context.load_verify_locations(cadata=roots.decode("ascii"))
        if identity is not None:
            load_identity(context, identity)
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise BadAnswer(f"error loading certificates: {_tls_reason(error)}") from error
    return context


def load_identity(context: ssl.SSLContext, identity: Identity) -> None:
    """Have `context` show this certificate. Raises `ssl.SSLError`.

    The interface wants a file name: one that exists in memory only, where the system has such files.
    """
    content = identity.key + b"\n" + identity.chain
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("identity")
        try:
            with open(handle, "wb", closefd=False) as file:
                file.write(content)
            context.load_cert_chain(f"/proc/self/fd/{handle}")
        finally:
            os.close(handle)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "identity.pem")
        path.touch(mode=0o600)
        path.write_bytes(content)
        context.load_cert_chain(path)


class Transport:
    """One kept-alive connection to one address. Not for use by several threads at once."""

    def __init__(
        self, address: CAAddress, context: ssl.SSLContext, *, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self.address = address
        self._context = context
        self._timeout = timeout_seconds
        self._connection: http.client.HTTPSConnection | None = None
        self._used_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """One request. Raises `Unreachable` without an answer, `BadAnswer` for one over `max_bytes`."""
        sent = {"User-Agent": USER_AGENT, "X-Request-Id": str(uuid.uuid4()), "Accept-Encoding": "identity"}
        sent |= headers or {}
        deadline = time.monotonic() + self._timeout
        try:
            return self._exchange(method, path, body, sent, deadline, max_bytes)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unreachable(f"client {method} {self.address}{path} failed: {self._reason(error)}") from error
        except BaseException:
            self.close()
            raise

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], deadline: float, max_bytes: int
    ) -> Answer:
        connection = self._connect(deadline)
        connection.request(method, path, body=body, headers=dict(headers))
        answer = connection.getresponse()
        content = self._read(connection, answer, deadline, max_bytes)
        self._used_at = time.monotonic()
        if answer.will_close:
            self.close()
        return Answer(answer.status, answer.headers.get_content_type(), content)

    def _connect(self, deadline: float) -> http.client.HTTPSConnection:
        if self._connection is not None and time.monotonic() - self._used_at < _IDLE_SECONDS:
            self._hurry(self._connection, deadline)
            return self._connection
        self.close()
        remaining = max(deadline - time.monotonic(), 0.001)
        proxy = find_proxy(self.address.host)
        if proxy is None:
            address = self.address
            connection = http.client.HTTPSConnection(
                address.host, address.port, timeout=remaining, context=self._context
            )
        else:
            connection = http.client.HTTPSConnection(*proxy, timeout=remaining, context=self._context)
            connection.set_tunnel(self.address.host, self.address.port)
        connection.connect()
        self._connection = connection
        self._hurry(connection, deadline)
        return connection

    @staticmethod
    def _hurry(connection: http.client.HTTPSConnection, deadline: float) -> None:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        if connection.sock is not None:
            connection.sock.settimeout(remaining)

    def _read(
        self,
        connection: http.client.HTTPSConnection,
        answer: http.client.HTTPResponse,
        deadline: float,
        max_bytes: int,
    ) -> bytes:
        parts: list[bytes] = []
        size = 0
        while part := answer.read1(_CHUNK):
            size += len(part)
            if size > max_bytes:
                raise BadAnswer(f"the answer of {self.address} is larger than {max_bytes} bytes")
            parts.append(part)
            self._hurry(connection, deadline)
        if answer.length:
            raise http.client.IncompleteRead(b"", answer.length)
        answer.close()
        return b"".join(parts)

    def _reason(self, error: Exception) -> str:
        """Why there was no answer, in the words of the reference where it has some."""
        address = self.address
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout:g} seconds"
        if isinstance(error, ssl.SSLError):
            return _tls_reason(error, address.host)
        if isinstance(error, socket.gaierror):
            return f"dial tcp: lookup {address.host}: no such host"
        if isinstance(error, ConnectionRefusedError):
            return f"dial tcp {_first_address(address)}: connect: connection refused"
        if isinstance(error, http.client.RemoteDisconnected | http.client.IncompleteRead):
            return "the connection was closed before the answer was complete"
        if isinstance(error, OSError) and error.strerror:
            return error.strerror[:1].lower() + error.strerror[1:]
        return str(error) or type(error).__name__


def find_proxy(host: str) -> tuple[str, int] | None:
    """Host and port of the proxy for `host`, None to go there directly. This machine needs no proxy."""
    proxy = urllib.request.getproxies_environment().get("https")
    if not proxy or _is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return (parts.hostname, parts.port or 8080) if parts.hostname else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _first_address(address: CAAddress) -> str:
    try:
        found = socket.getaddrinfo(address.host, address.port, family=socket.AF_INET, type=socket.SOCK_STREAM)
        return f"{found[0][4][0]}:{address.port}"
    except OSError:
        return address.url.removeprefix("https://")


def _tls_reason(error: Exception, host: str = "") -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _UNKNOWN_AUTHORITY:
            return "tls: failed to verify certificate: x509: certificate signed by unknown authority"
        if error.verify_code in _OUTSIDE_VALIDITY:
            return "tls: failed to verify certificate: x509: certificate has expired or is not yet valid"
        if error.verify_code in (62, 64):
            return f"tls: failed to verify certificate: x509: certificate is not valid for {host}"
        return f"tls: failed to verify certificate: x509: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        reason = error.reason.lower().replace("_", " ")
        _, is_alert, alert = reason.partition(" alert ")
        return f"remote error: tls: {alert}" if is_alert else f"tls: {reason}"
    return str(error)
