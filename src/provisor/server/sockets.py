"""Listening sockets: bound exclusively, then shared among the workers by SO_REUSEPORT."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Final

__all__ = ["AddressInUse", "bind_shared", "listen_unix", "parse_address"]

_BACKLOG: Final = 1024


class AddressInUse(OSError):
    """The address cannot be listened on. The text is Go's."""


def parse_address(address: str) -> tuple[str, str]:
    """Host and port of `host:port`; an empty host is every address. Raises `ValueError`."""
    host, separator, port = address.rpartition(":")
    if not separator or not port:
        raise ValueError(f"invalid address {address}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"invalid address {address}")
    return host, port


def _resolve(address: str) -> tuple[socket.AddressFamily, tuple[str, int]]:
    host, port = parse_address(address)
    infos = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    if not host:
        # As Go: all addresses of both families, where the system has IPv6.
        infos.sort(key=lambda info: info[0] != socket.AF_INET6)
    family, _, _, _, name = infos[0]
    return family, (str(name[0]), int(name[1]))


def _open(family: socket.AddressFamily, name: tuple[str, int], *, dual_stack: bool, shared: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual_stack else 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(name)
        sock.listen(_BACKLOG)
        if not shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError:
        sock.close()
        raise
    return sock


def bind_shared(address: str, count: int) -> list[socket.socket]:
    """`count` listening sockets on one address, one for each process that accepts there.

    The first is bound and listens without SO_REUSEPORT, so it fails if anybody has the address,
    another server of ours included; only then it lets its siblings in. All listen from here on:
    what connects before a process accepts waits in its queue. Raises `AddressInUse`.
    """
    sockets: list[socket.socket] = []
    try:
        family, name = _resolve(address)
        dual_stack = not parse_address(address)[0]
        for _ in range(count):
            sock = _open(family, name, dual_stack=dual_stack, shared=bool(sockets))
            sockets.append(sock)
            name = (name[0], sock.getsockname()[1])
    except (OSError, ValueError) as error:
        close_all(sockets)
        reason = os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error)
        raise AddressInUse(f"listen tcp {address}: bind: {reason}") from error
    return sockets


def close_all(sockets: Sequence[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def listen_unix(path: str) -> socket.socket:
    """A listening Unix socket in a directory that is ours alone."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(path)
    sock.listen(_BACKLOG)
    return sock
