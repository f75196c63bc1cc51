"""The process for background work, and for the metrics page."""

from __future__ import annotations

import socket
from pathlib import Path
from time import time
from typing import final

from provisor.app.bundle import build_snapshot
from provisor.app.child import Child
from provisor.app.jobs import JobRunner, schedule_first
from provisor.app.tasks import run_together
from provisor.app.worker import fetch_bundle, open_ledger, open_observer
from provisor.notary.link import LinkNotary
from provisor.server.control import ChildControl, ListenerSpec, Ready
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

    async def run(self) -> int:
        bundle = await fetch_bundle(self._notary)
        self._ledger = open_ledger(bundle, self._notary)
        self._snapshot = build_snapshot(bundle, self._notary, self._ledger)
        self.observer = open_observer(self._start, "jobs")
        limits = ConnectionLimits.of(self._snapshot.config.provisor.limits)
        connections = Connections(limits, on_refusal=self.observer.refused_connection)
        metrics = make_metrics_app(Path(self._start.runtime), self._start.started or time())
        self._site = Site(metrics, connections, report=self.observer.failed)
        child = Child(self._control, self)
        await child.listen()
        await schedule_first(self._snapshot)
        runner = JobRunner(lambda: self._snapshot, self.observer.note)
        await runner.run_due()
        self._control.send(Ready(epoch=self._snapshot.epoch))
        return await run_together(child.obey(), runner.run())

    def make_listener(self, spec: ListenerSpec, sock: socket.socket) -> Listener:
        return Listener(sock, self._site)

    async def refresh(self) -> int:
        bundle = await fetch_bundle(self._notary)
        self._snapshot = build_snapshot(bundle, self._notary, self._ledger)
        await schedule_first(self._snapshot)
        return self._snapshot.epoch

    async def finish(self) -> None:
        """Leases run out by themselves."""
