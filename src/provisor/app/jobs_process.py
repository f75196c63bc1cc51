"""The process for background work, for the metrics page and for the local administrator."""

from __future__ import annotations

import socket
from pathlib import Path
from time import time
from typing import final

from provisor.app.admin_socket import AdminSocket
from provisor.app.bundle import ACCEPTED, Bundle, build_snapshot
from provisor.app.child import Child
from provisor.app.jobs import JobRunner, schedule_first
from provisor.app.processes import list_processes
from provisor.app.stores import open_archive
from provisor.app.tasks import run_together
from provisor.app.watch import Watch
from provisor.app.worker import fetch_bundle, open_ledger, open_observer
from provisor.authority.snapshot import Snapshot
from provisor.config.admin_socket import admin_socket_path
from provisor.notary.link import LinkNotary
from provisor.server.admin_routes import ADMIN_LOCAL
from provisor.server.application import Application, Authority
from provisor.server.context import Context
from provisor.server.control import ChildControl, ListenerSpec, Ready
from provisor.server.exchange import Site
from provisor.server.limits import ConnectionLimits, Connections
from provisor.server.listener import Listener
from provisor.server.metrics import make_metrics_app
from provisor.server.operator import Surroundings


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
        self._archive = open_archive(bundle, Path(self._start.runtime) / ACCEPTED)
        self._authority = Authority(self._snapshot_of(bundle), self._refresh)
        self.observer = open_observer(self._start, "jobs")
        limits = ConnectionLimits.of(self._current().config.provisor.limits)
        connections = Connections(limits, on_refusal=self.observer.refused_connection)
        metrics = make_metrics_app(Path(self._start.runtime), self._start.started or time())
        self._site = Site(metrics, connections, report=self.observer.failed)
        self._admin = self._make_admin()
        child = Child(self._control, self)
        await child.listen()
        await self._admin.open(self._admin_path())
        await schedule_first(self._current())
        runner = JobRunner(self._current, self.observer.note, self.observer.metrics)
        watch = Watch(self._current, self.observer.metrics)
        await runner.run_due()
        self._control.send(Ready(epoch=self._current().epoch))
        try:
            return await run_together(child.obey(), runner.run(), watch.run())
        finally:
            self._admin.close()

    def _current(self) -> Snapshot:
        return self._authority.current

    def _snapshot_of(self, bundle: Bundle) -> Snapshot:
        return build_snapshot(bundle, self._notary, self._ledger, archive=self._archive)

    def _make_admin(self) -> AdminSocket:
        config, supervisor = str(self._start.options["config"]), self._start.parent
        around = Surroundings(config, self._start.started, lambda: list_processes(supervisor))
        context = Context(self._current().config.provisor.limits, self.observer)
        return AdminSocket(Application(self._authority, context, ADMIN_LOCAL), around, self.observer)

    def _admin_path(self) -> str:
        setting = self._current().config.provisor.admin_socket
        return admin_socket_path(setting, str(self._start.options["config"]))

    def make_listener(self, spec: ListenerSpec, sock: socket.socket) -> Listener:
        return Listener(sock, self._site)

    async def refresh(self) -> int:
        await self._refresh()
        await self._admin.open(self._admin_path())
        await schedule_first(self._current())
        return self._current().epoch

    async def _refresh(self) -> None:
        """Take over the configuration in force. Raises `Unavailable`."""
        self._authority.replace(self._snapshot_of(await fetch_bundle(self._notary)))

    async def finish(self) -> None:
        """Leases run out by themselves."""
        await self._admin.drain()
