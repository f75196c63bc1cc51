"""A child of the supervisor with little in it: what the supervisor does shows all the same.

The "configuration" is a JSON file: `greeting`, `listeners` (address by name), `refuse` (a text), `workers`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from provisor.server.control import (
    ChildControl,
    Commit,
    Discard,
    Drain,
    Draining,
    Failed,
    Listen,
    ListenerSpec,
    Prepare,
    Prepared,
    Ready,
    Refused,
    Reload,
    Reloaded,
    Unlisten,
)
from provisor.server.exchange import Receive, Scope, Send, Site
from provisor.server.limits import ConnectionLimits, Connections
from provisor.server.listener import Listener


class Child:
    def __init__(self, control: ChildControl) -> None:
        self.control = control
        self.start = control.start
        self.path = Path(str(self.start.options["config"]))
        self.accepted = Path(self.start.runtime) / "accepted.json"
        self.epoch = self.start.epoch
        self.config: dict[str, Any] = {}
        self.prepared: dict[str, Any] = {}
        self.listeners: dict[ListenerSpec, Listener] = {}

    def specs(self, config: dict[str, Any]) -> tuple[ListenerSpec, ...]:
        return tuple(ListenerSpec(name, address) for name, address in config["listeners"].items())

    async def run(self) -> None:
        if self.start.role == "notary":
            self.open_notary()
        else:
            self.config = json.loads(self.accepted.read_text())
        connections = Connections(ConnectionLimits(drain_seconds=5))
        self.site = Site(self.answer, connections)
        if self.start.role == "worker":
            for spec, sock in zip(self.start.listeners, self.control.sockets, strict=True):
                await self.listen(spec, Listener(sock, self.site))
        lines = ("Starting Fake CA", f"secrets: {sorted(self.start.secrets)}")
        is_notary = self.start.role == "notary"
        self.control.send(
            Ready(
                epoch=self.epoch,
                lines=lines,
                listeners=self.specs(self.config) if is_notary else (),
                workers=self.config.get("workers"),
            )
        )
        while received := await self.control.next_command():
            command, sockets = received
            if isinstance(command, Drain):
                break
            if isinstance(command, Listen):
                await self.listen(command.listener, Listener(sockets[0], self.site))
            elif isinstance(command, Unlisten):
                self.listeners.pop(command.listener).stop()
            elif isinstance(command, Reload):
                self.config = json.loads(self.accepted.read_text())
                self.epoch = command.epoch
                self.control.send(Reloaded(self.epoch))
            elif isinstance(command, Prepare):
                self.prepare()
            elif isinstance(command, Commit):
                self.commit()
            elif isinstance(command, Discard):
                self.prepared = {}
        else:
            os._exit(3)
        self.control.send(Draining())
        for listener in self.listeners.values():
            listener.stop()
        await connections.drain()

    async def listen(self, spec: ListenerSpec, listener: Listener) -> None:
        self.listeners[spec] = listener
        await listener.start()

    def open_notary(self) -> None:
        source = self.accepted if self.epoch else self.path
        config = json.loads(source.read_text())
        if "fail" in config:
            self.control.send(Failed((config["fail"],)))
            raise SystemExit(2)
        if "crash" in config:
            os.kill(os.getpid(), signal.SIGKILL)
        if "hang" in config:
            time.sleep(3600)
        self.prepared = config
        self.take()

    def take(self) -> None:
        self.config = self.prepared
        self.epoch += 1
        self.accepted.write_text(json.dumps(self.config))

    def prepare(self) -> None:
        try:
            config = json.loads(self.path.read_text())
        except ValueError as error:
            self.control.send(Refused("unreadable", (f"error parsing {self.path.name}: {error}",)))
            return
        if "refuse" in config:
            self.control.send(Refused("invalid", (config["refuse"],)))
            return
        self.prepared = config
        self.control.send(Prepared(self.epoch + 1, ("Building anew",), self.specs(config)))

    def commit(self) -> None:
        self.take()
        self.control.send(Reloaded(self.epoch))

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            await asyncio.sleep(0.4)
        body = json.dumps({"pid": os.getpid(), "epoch": self.epoch, "greeting": self.config["greeting"]}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvloop.run(Child(ChildControl.inherit(int(sys.argv[-1]))).run())
