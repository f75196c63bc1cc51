"""What the supervisor and its children say to each other, and the child's end of it.

Each child inherits one end of a socket pair: one message a packet, JSON, listening sockets beside
it as SCM_RIGHTS. The first message is `Start`, which alone carries secrets, and those to the
notary alone: nothing of them is in an argument, the environment or a file. When the supervisor is
gone the child reads the end of the stream; the kernel kills it as well.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import socket
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

__all__ = [
    "ChildControl",
    "Command",
    "Commit",
    "Discard",
    "Drain",
    "Draining",
    "Event",
    "Failed",
    "Listen",
    "ListenerSpec",
    "Overtaken",
    "Prepare",
    "Prepared",
    "Ready",
    "Refused",
    "Reload",
    "Reloaded",
    "Role",
    "Start",
    "Unlisten",
    "harden_process",
]

Role = str
"""`notary`, `jobs` or `worker`."""

_PACKET_BYTES: Final = 1024 * 1024
_FDS_MAX: Final = 64
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4


class ListenerSpec(Struct, frozen=True):
    """An address to listen on. `name` is https, http or metrics; `role` says which processes accept there."""

    name: str
    address: str
    role: Role = "worker"
    scheme: str = "HTTPS"


# -- from the supervisor ------------------------------------------------------------------------


class Start(Struct, frozen=True, tag_field="command", tag="start"):
    """The first message. Its sockets are those of `listeners`, in order; the notary's is its Unix socket.

    `runtime` is the private directory, `notary` the path of the notary's socket, `started` when the
    supervisor was (unix seconds), `parent` its process id.

    `epoch` is 0 at the first start of all; a process that replaces a dead one gets the epoch in
    force, and must serve the configuration of that epoch, whatever the file says by now.
    """

    role: Role
    index: int
    parent: int
    runtime: str
    notary: str
    started: float = 0.0
    epoch: int = 0
    listeners: tuple[ListenerSpec, ...] = ()
    options: Mapping[str, object] = {}
    secrets: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"Start({self.role} {self.index}, epoch {self.epoch})"


class Prepare(Struct, frozen=True, tag_field="command", tag="prepare"):
    """To the notary: read the configuration anew and say what it would change. Answer `Prepared` or `Refused`."""


class Commit(Struct, frozen=True, tag_field="command", tag="commit"):
    """To the notary: what was prepared is in force. Answer `Reloaded`."""


class Discard(Struct, frozen=True, tag_field="command", tag="discard"):
    """To the notary: forget what was prepared. No answer."""


class Reload(Struct, frozen=True, tag_field="command", tag="reload"):
    """To the others: serve the configuration of this epoch. Answer `Reloaded` or `Refused`."""

    epoch: int


class Listen(Struct, frozen=True, tag_field="command", tag="listen"):
    """Serve the socket that comes with it, too."""

    listener: ListenerSpec


class Unlisten(Struct, frozen=True, tag_field="command", tag="unlisten"):
    """Accept no more on this one."""

    listener: ListenerSpec


class Drain(Struct, frozen=True, tag_field="command", tag="drain"):
    """Finish what is in work, then exit with status 0."""


Command = Start | Prepare | Commit | Discard | Reload | Listen | Unlisten | Drain

# -- from a child -------------------------------------------------------------------------------


class Ready(Struct, frozen=True, tag_field="event", tag="ready"):
    """The child serves. From the notary also what the others need.

    `lines` are for the log of the start, `notice` is for a person and follows when everything serves;
    `workers` is the configured number, None for the default.
    """

    epoch: int = 0
    lines: tuple[str, ...] = ()
    notice: tuple[str, ...] = ()
    listeners: tuple[ListenerSpec, ...] = ()
    workers: int | None = None


class Failed(Struct, frozen=True, tag_field="event", tag="failed"):
    """The start is impossible: the child exits. `faults` are texts for the operator."""

    faults: tuple[str, ...]


class Prepared(Struct, frozen=True, tag_field="event", tag="prepared"):
    epoch: int
    lines: tuple[str, ...] = ()
    listeners: tuple[ListenerSpec, ...] = ()


class Refused(Struct, frozen=True, tag_field="event", tag="refused"):
    """The new configuration is not taken.

    `reason`: "unreadable" (not JSON, no file), "database" (its section changed) or "invalid".
    """

    reason: str
    faults: tuple[str, ...]


class Reloaded(Struct, frozen=True, tag_field="event", tag="reloaded"):
    epoch: int


class Overtaken(Struct, frozen=True, tag_field="event", tag="overtaken"):
    """From the notary: another replica changed the epoch. `lines` are for the log.

    `reload`: ca.json says now what is in force there, so it is to be read again.
    """

    epoch: int
    lines: tuple[str, ...] = ()
    reload: bool = False


class Draining(Struct, frozen=True, tag_field="event", tag="draining"):
    """The child accepts nothing new."""


Event = Ready | Failed | Prepared | Refused | Reloaded | Overtaken | Draining

_encode = msgspec.json.Encoder().encode
_decode_command = msgspec.json.Decoder(Command).decode
_decode_event = msgspec.json.Decoder(Event).decode


def send_command(sock: socket.socket, command: Command, sockets: Sequence[socket.socket] = ()) -> None:
    """Raises `OSError` if the child is gone."""
    data = _encode(command)
    if sockets:
        socket.send_fds(sock, [data], [each.fileno() for each in sockets])
    else:
        sock.send(data)


def receive_event(sock: socket.socket) -> Event | None:
    """The next event; None at the end. Raises `BlockingIOError` when there is none yet."""
    try:
        data = sock.recv(_PACKET_BYTES)
    except ConnectionError:
        return None
    return _decode_event(data) if data else None


def _receive_command(sock: socket.socket) -> tuple[Command, tuple[socket.socket, ...]] | None:
    try:
        data, fds, _, _ = socket.recv_fds(sock, _PACKET_BYTES, _FDS_MAX, socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        return None
    if not data:
        return None
    return _decode_command(data), tuple(socket.socket(fileno=fd) for fd in fds)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def harden_process() -> None:
    """No core dump, and no reading of this process's memory by others of the same user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)


class ChildControl:
    """The child's end. `start` is the first message, `sockets` are those that came with it."""

    def __init__(self, sock: socket.socket, start: Start, sockets: tuple[socket.socket, ...]) -> None:
        self.start = start
        self.sockets = sockets
        self._socket = sock
        self._commands: asyncio.Queue[tuple[Command, tuple[socket.socket, ...]] | None] | None = None

    @classmethod
    def inherit(cls, fd: int) -> ChildControl:
        """Take over the inherited socket and wait for `Start`. Call it first of all, outside of a loop.

        Signals meant for the whole group are the supervisor's: it says when to drain. Raises
        `SystemExit` if the supervisor is gone already.
        """
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        sock = socket.socket(fileno=fd)
        sock.set_inheritable(False)
        first = _receive_command(sock)
        if first is None or not isinstance(first[0], Start) or os.getppid() != first[0].parent:
            raise SystemExit(1)
        return cls(sock, first[0], first[1])

    def send(self, event: Event) -> None:
        """Tell the supervisor. That it is gone shows in `next_command`."""
        try:
            self._socket.send(_encode(event))
        except OSError:
            return

    async def next_command(self) -> tuple[Command, tuple[socket.socket, ...]] | None:
        """The next command and the sockets with it; None when the supervisor is gone and the child must end."""
        if self._commands is None:
            self._commands = asyncio.Queue()
            self._socket.setblocking(False)
            asyncio.get_running_loop().add_reader(self._socket, self._read)
        return await self._commands.get()

    def _read(self) -> None:
        assert self._commands is not None
        while True:
            try:
                received = _receive_command(self._socket)
            except BlockingIOError:
                return
            self._commands.put_nowait(received)
            if received is None:
                asyncio.get_running_loop().remove_reader(self._socket)
                return
