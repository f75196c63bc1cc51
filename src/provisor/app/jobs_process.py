"""The process for background work, and for the metrics page."""

from __future__ import annotations

import socket
from pathlib import Path
from time import time
from typing import final

from provisor.app.bundle import build_snapshot
from provisor.app.jobs import JobRunner, schedule_first
from provisor.app.tasks import Ended, run_together
from provisor.app.worker import fetch_bundle, open_ledger, open_observer
from provisor.errors import Unavailable
from provisor.notary.link import LinkNotary
from provisor.server.control import (
    ChildControl,
    Drain,
    Draining,
    Listen,
    ListenerSpec,
    Ready,
    Reload,
    Reloaded,
    Unlisten,
)
from provisor.server.exchange import Site
from provisor.server.limits import ConnectionLimits, Connections
from provisor.server.listener import Listener
from provisor.server.metrics import make_metrics_app


@final
class JobsProcess:
    """`run` ends when the supervisor says so, or is gone."""

    def __init__(self, control: ChildControl) -> None:
        self._control = control
        self._start = control.start
        self._notary = LinkNotary(control.start.notary)
        self._listeners: dict[ListenerSpec, Listener] = {}

    async def run(self) -> int:
        bundle = await fetch_bundle(self._notary)
        self._ledger = open_ledger(bundle, self._notary)
        self._snapshot = build_snapshot(bundle, self._notary, self._ledger)
        self._observer = observer = open_observer(self._start, "jobs")
        limits = ConnectionLimits.of(self._snapshot.config.provisor.limits)
        self._connections = Connections(limits, on_refusal=observer.refused_connection)
        metrics = make_metrics_app(Path(self._start.runtime), self._start.started or time())
        self._site = Site(metrics, self._connections, report=observer.failed)
        for spec, sock in zip(self._start.listeners, self._control.sockets, strict=True):
            await self._listen(spec, sock)
        await schedule_first(self._snapshot)
        runner = JobRunner(lambda: self._snapshot, observer.note)
        await runner.run_due()
        self._control.send(Ready(epoch=self._snapshot.epoch))
        return await run_together(self._obey(), runner.run())

    async def _listen(self, spec: ListenerSpec, sock: socket.socket) -> None:
        listener = self._listeners[spec] = Listener(sock, self._site)
        await listener.start()

    async def _obey(self) -> None:
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
                    self._control.send(Draining())
                    for listener in self._listeners.values():
                        listener.stop()
                    raise Ended(0)
                case _:
                    pass

    async def _reload(self) -> None:
        """A notary that dies meanwhile takes nobody with it: the next one's epoch comes as another command."""
        try:
            bundle = await fetch_bundle(self._notary)
            self._snapshot = build_snapshot(bundle, self._notary, self._ledger)
            await schedule_first(self._snapshot)
        except Unavailable as error:
            self._observer.note(f"configuration not fetched: {error.detail}")
        else:
            self._control.send(Reloaded(epoch=self._snapshot.epoch))
