"""The local administrator's socket: a Unix socket that only this user, and root, can talk to.

Three locks, one behind the other: the folder it is in, its mode 0600, and the user at the other end as the
kernel knows him. A socket that cannot be had is a warning, not an end: the CA serves its clients without it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from struct import Struct as Layout
from typing import Final, cast, final

from provisor.config.admin_socket import LONGEST_PATH, SETTING
from provisor.server.exchange import ASGIApp, Site
from provisor.server.http import HTTPProtocol
from provisor.server.limits import ConnectionLimits, Connections
from provisor.server.observer import Observer
from provisor.server.operator import Operator, Surroundings

LIMITS: Final = ConnectionLimits(connections=64, connections_per_address=64, body_bytes=64 * 1024)

_CREDENTIALS: Final = Layout("iII")  # struct ucred: pid, uid, gid
_BACKLOG: Final = 64
_PATIENCE_SECONDS: Final = 1.0
_ROOT: Final = 0


@final
class AdminSocket:
    """One application on one path at a time. `observer` hears what is in the way."""

    def __init__(self, app: ASGIApp, surroundings: Surroundings, observer: Observer) -> None:
        self._app = app
        self._surroundings = surroundings
        self._observer = observer
        self._connections = Connections(LIMITS)
        self._server: asyncio.AbstractServer | None = None
        self._path = ""
        self._inode = 0

    async def open(self, path: str) -> None:
        """Listen there, and nowhere else; an empty path: nowhere. Where that cannot be, say why and go on."""
        if self._server is not None and path == self._path and _inode_of(path) == self._inode:
            return
        self.close()
        if not path:
            return
        try:
            bound = bind(path)
        except OSError as error:
            self._observer.note(f"admin socket {path} is not served: {_reason(error)} ({SETTING} names another path)")
            return
        self._server = await asyncio.get_running_loop().create_unix_server(self._accept, sock=bound, backlog=_BACKLOG)
        self._path, self._inode = path, _inode_of(path)

    def close(self) -> None:
        """Accept no more; the file goes, unless somebody has put another one there."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        if _inode_of(self._path) == self._inode:
            with suppress(OSError):
                os.unlink(self._path)

    async def drain(self) -> None:
        """Close, and let what is in work finish."""
        self.close()
        await self._connections.drain()

    def _accept(self) -> asyncio.Protocol:
        return _Door(self._admit)

    def _admit(self, operator: Operator) -> Site | None:
        """The site as this operator sees it; None for a user who has no business here."""
        if operator.user not in (os.geteuid(), _ROOT):
            self._observer.note(f"admin socket: {operator.name} was turned away")
            return None
        state = {"operator": operator, "surroundings": self._surroundings}
        return Site(self._app, self._connections, state=state, report=self._observer.failed)


@final
class _Door(asyncio.Protocol):
    """A connection whose user is looked at before a single octet of it is."""

    def __init__(self, admit: Callable[[Operator], Site | None]) -> None:
        self._admit = admit

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A uvloop transport is a transport without saying so.
        stream = cast(asyncio.Transport, transport)
        site = self._admit(_operator_of(stream))
        if site is None:
            stream.abort()
            return
        protocol = HTTPProtocol(site)
        stream.set_protocol(protocol)
        protocol.connection_made(stream)


def _operator_of(transport: asyncio.BaseTransport) -> Operator:
    connection = transport.get_extra_info("socket")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(credentials)
    return Operator(user, process)


def bind(path: str) -> socket.socket:
    """A listening socket of mode 0600. Raises `OSError`, its text for people, with the reason why not."""
    _check_folder(path)
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        sock.bind(path)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(mask)
    return sock


def _check_folder(path: str) -> None:
    """Whoever may rename in the folder could put a socket of his own there, and answer the administrator."""
    octets = len(os.fsencode(path))
    if octets > LONGEST_PATH:
        raise OSError(f"its path has {octets} octets, a socket's has {LONGEST_PATH} at most")
    folder = os.path.dirname(path)
    found = os.stat(folder)
    if not stat.S_ISDIR(found.st_mode):
        raise OSError(f"{folder} is not a directory")
    if found.st_uid not in (os.geteuid(), _ROOT):
        raise OSError(f"{folder} belongs to another user (uid {found.st_uid})")
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise OSError(f"{folder} can be written by everybody")


def _remove_stale(path: str) -> None:
    """Only a socket that nobody answers on goes."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError("there is a file that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PATIENCE_SECONDS)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError("another server answers on it")


def _inode_of(path: str) -> int:
    try:
        return os.lstat(path).st_ino
    except OSError:
        return 0


def _reason(error: OSError) -> str:
    return error.strerror.lower() if error.strerror else str(error)
