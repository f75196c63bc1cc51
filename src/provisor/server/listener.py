"""Accepting connections: one listener for each listening socket of a worker."""

from __future__ import annotations

import asyncio
import resource
import socket
from typing import Final

from provisor.server.exchange import Site
from provisor.server.http import HTTPProtocol
from provisor.server.limits import address_key
from provisor.server.tls import TLSEndpoint
from provisor.server.tls_stream import Admitted, TLSStream

__all__ = ["Listener", "raise_file_limit"]

_BACKLOG: Final = 1024
_BATCH: Final = _BACKLOG


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
        self._will_look = False
        self._attaching: set[asyncio.Task[None]] = set()

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
        connections = self._site.connections
        if not self._will_look:
            self._will_look = True
            self._site.loop.call_soon(self._look_at_queue)
        return TLSStream(connections, self._endpoint.context, self._upgrade)

    def _upgrade(self) -> HTTPProtocol:
        return HTTPProtocol(self._site, admitted=True)

    def _look_at_queue(self) -> None:
        """Take what else is queued, or turn it away.

        The loop takes one connection a turn. Under load its turns are long, and who waits would wait
        for seconds without an answer.
        """
        self._will_look = False
        for _ in range(_BATCH):
            if self._server is None:
                return
            try:
                sock, peer = self._socket.accept()
            except ConnectionAbortedError:
                continue
            except OSError:
                # Nobody waits, or there is no descriptor for them: the loop's own server sees to both.
                return
            self._take(sock, address_key(peer))

    def _take(self, sock: socket.socket, key: str) -> None:
        assert self._endpoint is not None
        admission = Admitted.of(self._site.connections, key)
        if admission is None:
            sock.close()
            return
        stream = TLSStream(self._site.connections, self._endpoint.context, self._upgrade, admission)
        task = self._site.loop.create_task(self._attach(sock, stream))
        self._attaching.add(task)
        task.add_done_callback(self._attaching.discard)

    async def _attach(self, sock: socket.socket, stream: TLSStream) -> None:
        try:
            await self._site.loop.connect_accepted_socket(lambda: stream, sock)
        except OSError:
            # It was gone before it began.
            sock.close()
            stream.never_began()
