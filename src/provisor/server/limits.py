"""What a stranger may use of a worker, and the one timer that enforces it.

All connections of a worker, whichever listener accepted them, share one `Connections`: it counts
them in all and by address, holds the deadlines of their present phase, and looks at these about
once a second. A deadline is an attribute, so setting one costs no timer.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from provisor.config.ca_json import Limits
from provisor.server.admission import BEAT_SECONDS, Admission

__all__ = ["Connection", "ConnectionLimits", "Connections", "address_key"]

_SWEEP_SECONDS = 1.0
_BUFFERED_BYTES = 64 * 1024 * 1024
_NEW_CONNECTION_GRACE_SECONDS = 1.0


class ConnectionLimits(Struct, frozen=True):
    """Limits on every input from a stranger. Times are seconds, sizes bytes.

    The times equal those of step-ca, which closes after 15 s whatever is idle, slow or half-sent.
    """

    header_bytes: int = 32 * 1024
    header_count: int = 100
    body_bytes: int = 1024 * 1024
    buffered_bytes: int = _BUFFERED_BYTES
    """Unfinished bodies of all connections of a worker together."""
    handshake_seconds: float = 10.0
    header_seconds: float = 15.0
    body_seconds: float = 15.0
    write_seconds: float = 15.0
    """How long an answer may wait for the client to read it."""
    idle_seconds: float = 15.0
    connections: int = 4096
    connections_per_address: int = 1024
    """Per worker. An IPv6 address counts as its /64."""
    drain_seconds: float = 60.0

    @classmethod
    def of(cls, limits: Limits) -> ConnectionLimits:
        """The limits as ca.json sets them; those it does not know keep their default."""
        return cls(
            header_bytes=limits.header_bytes,
            header_count=limits.header_count,
            body_bytes=limits.body_bytes,
            buffered_bytes=max(_BUFFERED_BYTES, limits.body_bytes),
            handshake_seconds=limits.handshake_seconds,
            header_seconds=limits.header_seconds,
            body_seconds=limits.body_seconds,
            idle_seconds=limits.idle_seconds,
            connections=limits.connections_per_worker,
            connections_per_address=limits.connections_per_address,
        )

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not getattr(self, name) > 0:
                raise ValueError(f"limit {name} must be positive")

    @property
    def sweep_seconds(self) -> float:
        """A quarter of the shortest time, and never more than a second."""
        shortest = min(
            self.handshake_seconds, self.header_seconds, self.body_seconds, self.write_seconds, self.idle_seconds
        )
        return min(_SWEEP_SECONDS, shortest / 4)


class Connection(Protocol):
    """What the sweep and the drain need of a connection."""

    deadline: float
    """Loop time at which the present phase is over; infinity while the application works."""

    def expire(self) -> None:
        """The deadline has passed: close without an answer."""

    def drain(self, grace_until: float) -> None:
        """Close now if idle, otherwise after the answer in work."""

    def abort(self) -> None:
        """Close now, whatever is in work."""


def address_key(peer: object) -> str:
    """The address a connection counts for: the IPv4 address, or the /64 of an IPv6 address.

    `peer` is a socket's peer name. A stranger with an IPv6 prefix has 2^64 addresses in it.
    """
    if not isinstance(peer, tuple) or not peer or not isinstance(peer[0], str):
        return ""
    host = peer[0]
    if ":" not in host:
        return host
    if host.startswith("::ffff:") and "." in host:
        return host[7:]
    try:
        return socket.inet_pton(socket.AF_INET6, host.partition("%")[0])[:8].hex()
    except OSError:
        return host


class Connections:
    """The connections of one worker: their number, their deadlines, their end."""

    def __init__(
        self,
        limits: ConnectionLimits,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        on_refusal: Callable[[str], None] | None = None,
    ) -> None:
        """`on_refusal` hears why a stranger was turned away below the application, one word."""
        self.limits = limits
        self.loop = loop or asyncio.get_running_loop()
        self.admission = Admission(time.monotonic)
        self.draining = False
        self.buffered = 0
        self.in_flight: set[object] = set()
        """Exchanges whose application coroutine has not returned; holds the only strong reference to their task."""
        self.open: set[Connection] = set()
        self._by_address: dict[str, int] = {}
        self._admitted = 0
        self._on_refusal = on_refusal
        self._timer: asyncio.TimerHandle | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._changed: asyncio.Event = asyncio.Event()

    @property
    def admitted(self) -> int:
        """Connections counted now, those in their handshake included."""
        return self._admitted

    def refuse(self, reason: str) -> None:
        if self._on_refusal is not None:
            self._on_refusal(reason)

    # -- counting -------------------------------------------------------------------------------

    def admit(self, key: str) -> bool:
        """Count a connection from this address, unless it would be one too many."""
        if self._admitted >= self.limits.connections:
            self.refuse("connections")
            return False
        count = self._by_address.get(key, 0)
        if count >= self.limits.connections_per_address:
            self.refuse("connections-per-address")
            return False
        self._admitted += 1
        self._by_address[key] = count + 1
        return True

    def release(self, key: str) -> None:
        """Undo one `admit`."""
        self._admitted -= 1
        count = self._by_address[key] - 1
        if count:
            self._by_address[key] = count
        else:
            del self._by_address[key]
        if self.draining:
            self._changed.set()

    # -- deadlines ------------------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        self.open.add(connection)
        if self._timer is None:
            self._timer = self.loop.call_later(self.limits.sweep_seconds, self._sweep)
        if self._clock is None:
            self.admission.wake()
            self._clock = self.loop.call_later(BEAT_SECONDS, self._beat)

    def closed(self, connection: Connection) -> None:
        self.open.discard(connection)
        if self.draining:
            self._changed.set()

    def exchange_ended(self, exchange: object) -> None:
        self.in_flight.discard(exchange)
        if self.draining:
            self._changed.set()

    def _sweep(self) -> None:
        now = self.loop.time()
        for connection in [c for c in self.open if c.deadline <= now]:
            connection.expire()
        self._timer = self.loop.call_later(self.limits.sweep_seconds, self._sweep) if self.open else None

    def _beat(self) -> None:
        self.admission.beat()
        self._clock = self.loop.call_later(BEAT_SECONDS, self._beat) if self.open else None

    # -- the end --------------------------------------------------------------------------------

    async def drain(self) -> bool:
        """Close what is idle, let what is in work finish, abort what remains after `drain_seconds`.

        New connections must have been stopped before. Returns whether nothing had to be aborted.
        """
        self.draining = True
        now = self.loop.time()
        for connection in list(self.open):
            connection.drain(now + _NEW_CONNECTION_GRACE_SECONDS)
        try:
            async with asyncio.timeout(self.limits.drain_seconds):
                while self.open or self.in_flight or self._admitted:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            for connection in list(self.open):
                connection.abort()
            return False
        return True
