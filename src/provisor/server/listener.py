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
from provisor.server.tls_stream import TLSStream

__all__ = ["Listener", "raise_file_limit"]

_BACKLOG: Final = 1024
_BATCH: Final = 64
_RETRY_SECONDS: Final = 0.1


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
        self._attaching: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the socket."""
        name = self._socket.getsockname()
        return name[0], name[1]

    async def start(self) -> None:
        """Accept from now on."""
        self._socket.setblocking(False)
        self._socket.listen(_BACKLOG)
        self._watch()

    def stop(self) -> None:
        """Accept no more; connections go on. See `Connections.drain` for these."""
        if self._socket.fileno() >= 0:
            self._site.loop.remove_reader(self._socket)
            self._socket.close()
        if self._retry is not None:
            self._retry.cancel()

    def _watch(self) -> None:
        self._retry = None
        self._site.loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        """Take what is queued. The loop's own server takes one a turn, and under load its turns are long."""
        for _ in range(_BATCH):
            try:
                sock, peer = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError:
                # No descriptor or no memory is left; the queue waits.
                self._site.loop.remove_reader(self._socket)
                self._retry = self._site.loop.call_later(_RETRY_SECONDS, self._watch)
                return
            protocol = self._admit(peer)
            if protocol is None:
                sock.close()
                continue
            task = self._site.loop.create_task(self._attach(sock, protocol))
            self._attaching.add(task)
            task.add_done_callback(self._attaching.discard)

    def _admit(self, peer: object) -> HTTPProtocol | TLSStream | None:
        """Who is turned away here costs no more than this."""
        if self._endpoint is None:
            return HTTPProtocol(self._site)
        connections = self._site.connections
        key = address_key(peer)
        if not connections.admit(key):
            return None
        newcomer = connections.admission.welcome()
        if newcomer is None:
            connections.refuse("overload")
            connections.release(key)
            return None
        return TLSStream(connections, self._endpoint.context, self._upgrade, key=key, newcomer=newcomer)

    async def _attach(self, sock: socket.socket, protocol: HTTPProtocol | TLSStream) -> None:
        try:
            await self._site.loop.connect_accepted_socket(lambda: protocol, sock)
        except OSError:
            # It was gone before it began.
            sock.close()
            if isinstance(protocol, TLSStream):
                protocol.never_began()

    def _upgrade(self) -> HTTPProtocol:
        return HTTPProtocol(self._site, admitted=True)
