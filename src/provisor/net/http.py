"""HTTP that the CA itself sends: one rule of addresses, limits of time and size, no redirect, no proxy by surprise.

Connections are kept and used again. What fails is told in the words of the reference, since clients see them.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Mapping
from types import SimpleNamespace, TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, final
from urllib.parse import urlsplit

from msgspec import Struct

from provisor.errors import CallFailed
from provisor.net.address import AddressRefused, AddressRule

if TYPE_CHECKING:
    import aiohttp

IDLE_SECONDS: Final = 15.0
CONNECTIONS: Final = 128
CONNECTIONS_PER_HOST: Final = 32
MOST_BYTES: Final = 1_048_576
_CHUNK: Final = 65_536
_UNKNOWN_AUTHORITY: Final = frozenset({2, 18, 19, 20, 21})
"""X509_V_ERR_* of OpenSSL: no path to a trusted root."""


class Reply(Struct, frozen=True):
    """What came back. `headers` in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@final
class Outgoing:
    """The calls of one process; its connections end with its `async with`, or with `close`."""

    def __init__(self, rule: AddressRule, *, proxy_from_environment: bool = False) -> None:
        self._rule = rule
        self._trust_env = proxy_from_environment
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        tls: ssl.SSLContext,
        seconds: float,
        most_bytes: int = MOST_BYTES,
    ) -> Reply:
        """One request, exactly these octets; an answer of 300 to 399 is an answer and leads nowhere.

        A connection that its server closed while it was idle is replaced once, at once. Raises `CallFailed`.
        """
        import aiohttp

        what = f'{method.capitalize()} "{url}"'
        used = _Used()
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        return await self._once(method, url, headers, body, tls, most_bytes, used)
                    except (aiohttp.ServerDisconnectedError, ConnectionResetError, BrokenPipeError):
                        if not used.again():
                            raise
        except TimeoutError:
            raise CallFailed(f"{what}: context deadline exceeded", final=True) from None
        except AddressRefused as error:
            raise CallFailed(f"{what}: {error}", final=True) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _failure(what, error) from error

    async def _once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        tls: ssl.SSLContext,
        most_bytes: int,
        used: _Used,
    ) -> Reply:
        from yarl import URL

        session = self._session or self._open()
        async with session.request(
            method,
            URL(url, encoded=True),
            data=body,
            headers=headers,
            ssl=tls,
            allow_redirects=False,
            trace_request_ctx=used,
        ) as answer:
            data = bytearray()
            async for chunk in answer.content.iter_chunked(_CHUNK):
                data += chunk
                if len(data) > most_bytes:
                    answer.close()
                    raise CallFailed(f'{method.capitalize()} "{url}": the answer is larger than {most_bytes} bytes')
            return Reply(answer.status, {name.lower(): value for name, value in answer.headers.items()}, bytes(data))

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_reused)
        trace.on_connection_create_start.append(_created)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=CONNECTIONS,
                limit_per_host=CONNECTIONS_PER_HOST,
                keepalive_timeout=IDLE_SECONDS,
                socket_factory=self._socket,
            ),
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=self._trust_env,
            auto_decompress=False,
            skip_auto_headers=("Content-Type", "Accept", "User-Agent", "Accept-Encoding"),
            trace_configs=[trace],
        )
        return self._session

    def _socket(self, info: tuple[int, int, int, str, tuple[Any, ...]]) -> socket.socket:
        """Called with the very address that is connected to, whatever name or literal it came from."""
        family, kind, protocol, _, address = info
        self._rule.check(str(address[0]), int(address[1]))
        return socket.socket(family, kind, protocol)


@final
class _Used:
    """Whether the connection of a request had carried another one before."""

    def __init__(self) -> None:
        self.was_kept = False
        self._tried = 0

    def again(self) -> bool:
        """Once: a connection that was kept may have been closed by its server before it saw the request."""
        self._tried += 1
        return self.was_kept and self._tried == 1


async def _reused(_session: object, context: SimpleNamespace, _parameters: object) -> None:
    context.trace_request_ctx.was_kept = True


async def _created(_session: object, context: SimpleNamespace, _parameters: object) -> None:
    context.trace_request_ctx.was_kept = False


def _failure(what: str, error: Exception) -> CallFailed:
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError | ssl.SSLError):
        return CallFailed(f"{what}: {_tls_text(error)}")
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        if isinstance(cause, AddressRefused) or "allowedAddresses" in str(cause):
            return CallFailed(f"{what}: {cause}", final=True)
        return CallFailed(f"{what}: dial tcp {_dial_text(error, cause)}")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return CallFailed(f"{what}: EOF")
    if isinstance(error, ConnectionResetError):
        return CallFailed(f"{what}: read: connection reset by peer")
    if isinstance(error, aiohttp.ClientPayloadError):
        return CallFailed(f"{what}: unexpected EOF")
    if isinstance(error, aiohttp.InvalidURL):
        return CallFailed(f"{what}: the URL cannot be used", final=True)
    return CallFailed(f"{what}: the answer is not HTTP: {type(error).__name__}")


def _dial_text(error: aiohttp.ClientConnectorError, cause: OSError) -> str:
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorDNSError) or isinstance(cause, socket.gaierror):
        return f"lookup {error.host}: no such host"
    reason = {
        errno.ECONNREFUSED: "connection refused",
        errno.EHOSTUNREACH: "no route to host",
        errno.ENETUNREACH: "network is unreachable",
        errno.ETIMEDOUT: "connection timed out",
    }.get(cause.errno or 0, "cannot connect")
    return f"{error.host}:{error.port}: connect: {reason}"


def _tls_text(error: Exception) -> str:
    cause: object = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        if cause.verify_code in _UNKNOWN_AUTHORITY:
            reason = "certificate signed by unknown authority"
        elif cause.verify_code == 10:
            reason = "certificate has expired or is not yet valid"
        elif cause.verify_code in (62, 64):
            reason = "certificate is not valid for this name"
        else:
            reason = cause.verify_message
        return f"tls: failed to verify certificate: x509: {reason}"
    if isinstance(cause, ssl.SSLError) and cause.reason:
        return f"remote error: tls: {cause.reason.lower().replace('_', ' ')}"
    return "tls: handshake failure"


def check_url(url: str) -> None:
    """What `send` may be given: https, a host, no user, no octet that HTTP has no place for. Raises `CallFailed`."""
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in url):
        raise CallFailed(f"parse {url!r}: a blank or control character in the URL", final=True)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise CallFailed(f"parse {url!r}: {error}", final=True) from error
    if parts.scheme != "https":
        raise CallFailed(f"{url!r} is not an https URL", final=True)
    if not host:
        raise CallFailed(f"{url!r} names no host", final=True)
    if parts.username is not None or parts.password is not None:
        raise CallFailed(f"{parts.scheme}://{host}: the URL may not contain username or password", final=True)
