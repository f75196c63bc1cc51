"""What a worker and the jobs process have in common: they listen, and do as the supervisor says."""

from __future__ import annotations

import socket
from typing import Protocol

from provisor.app.tasks import Ended
from provisor.errors import Unavailable
from provisor.server.control import ChildControl, Drain, Draining, Listen, ListenerSpec, Reload, Reloaded, Unlisten
from provisor.server.listener import Listener
from provisor.server.observer import Observer


class Listening(Protocol):
    """The part of a process that differs from one to the other."""

    observer: Observer

    def make_listener(self, spec: ListenerSpec, sock: socket.socket) -> Listener: ...

    async def refresh(self) -> int:
        """Take over the configuration in force; its epoch. Raises `Unavailable`."""
        ...

    async def finish(self) -> None:
        """End what is in work; nothing new comes any more."""
        ...


class Child:
    """The listeners of a process, and its obedience."""

    def __init__(self, control: ChildControl, process: Listening) -> None:
        self._control = control
        self._process = process
        self._listeners: dict[ListenerSpec, Listener] = {}

    async def listen(self) -> None:
        """Accept from the sockets that came with the start."""
        for spec, sock in zip(self._control.start.listeners, self._control.sockets, strict=True):
            await self._listen(spec, sock)

    async def _listen(self, spec: ListenerSpec, sock: socket.socket) -> None:
        listener = self._listeners[spec] = self._process.make_listener(spec, sock)
        await listener.start()

    async def obey(self) -> None:
        """The supervisor's commands, until it is gone or says that it is over: raises `Ended`."""
        while True:
            received = await self._control.next_command()
            if received is None:
                raise Ended(1)
            command, sockets = received
            match command:
                case Reload():
                    await self._reload()
                case Listen(listener=spec):
                    await self._listen(spec, sockets[0])
                case Unlisten(listener=spec):
                    if found := self._listeners.pop(spec, None):
                        found.stop()
                case Drain():
                    await self._drain()
                case _:
                    pass

    async def _reload(self) -> None:
        """A notary that dies meanwhile takes nobody with it: the next one's epoch comes as another command."""
        try:
            epoch = await self._process.refresh()
        except Unavailable as error:
            self._process.observer.note(f"configuration not fetched: {error.detail}")
        else:
            self._control.send(Reloaded(epoch=epoch))

    async def _drain(self) -> None:
        for listener in self._listeners.values():
            listener.stop()
        self._control.send(Draining())
        await self._process.finish()
        raise Ended(0)
