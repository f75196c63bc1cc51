"""Accepting connections: one listener for each listening socket of a worker."""

from __future__ import annotations

import asyncio
import resource
import socket
from typing import Final

from provisor.server.exchange import Site
from provisor.server.http import HTTPProtocol
from provisor.server.tls import TLSEndpoint
from provisor.server.tls_stream import TLSStream

__all__ = ["Listener", "raise_file_limit"]

_BACKLOG: Final = 1024


def raise_file_limit(wanted: int) -> int:
    """Raise the soft limit of open files to `wanted`, as far as allowed; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < ceiling:
        resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))
        return ceiling
    return soft


class Listener:
    """Accepts from one bound socket, with TLS if it has an endpoint.

    The process that gave the socket may keep it: whoever accepts from it next finds what is queued.
    """

    def __init__(self, sock: socket.socket, site: Site, endpoint: TLSEndpoint | None = None) -> None:
        self._socket = sock
        self._site = site
        self._endpoint = endpoint
        self._server: asyncio.AbstractServer | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the socket."""
        name = self._socket.getsockname()
        return name[0], name[1]

    async def start(self) -> None:
        """Accept from now on."""
        self._server = await self._site.loop.create_server(self._make_protocol, sock=self._socket, backlog=_BACKLOG)

    def stop(self) -> None:
        """Accept no more; connections go on. See `Connections.drain` for these."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def _make_protocol(self) -> asyncio.Protocol:
        if self._endpoint is None:
            return HTTPProtocol(self._site)
        return TLSStream(self._site.connections, self._endpoint.context, self._upgrade)

    def _upgrade(self) -> HTTPProtocol:
        return HTTPProtocol(self._site, admitted=True)
