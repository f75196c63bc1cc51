"""A worker: meets strangers, reads the store, and writes through the notary."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import final

import msgspec

from provisor.app.bundle import Bundle, build_snapshot, decode_bundle
from provisor.app.calls import WebhookCaller
from provisor.app.child import Child
from provisor.app.identity import TLSIdentity, client_authorities
from provisor.app.tasks import run_together
from provisor.app.tracing import Tracing
from provisor.authority.snapshot import Snapshot
from provisor.config.load import load_config
from provisor.errors import Unavailable
from provisor.notary.link import LinkNotary
from provisor.ports import Ledger
from provisor.server.application import Application, Authority
from provisor.server.context import Context
from provisor.server.control import ChildControl, ListenerSpec, Ready, Start
from provisor.server.exchange import Site
from provisor.server.limits import ConnectionLimits, Connections
from provisor.server.listener import Listener, raise_file_limit
from provisor.server.logging import LineWriter
from provisor.server.metrics import Metrics, SnapshotFile
from provisor.server.observer import Observer
from provisor.server.routes import API, PLAIN
from provisor.server.tls import ServerLeaf, TLSEndpoint
from provisor.storage.sqlite import open_reader

_decode_identity = msgspec.msgpack.Decoder(TLSIdentity).decode
_IDENTITY_RETRY_SECONDS = 60.0
_LONGEST_WEBHOOK_SECONDS = 60.0


async def fetch_bundle(notary: LinkNotary) -> Bundle:
    """The configuration in force. Raises `Unavailable`."""
    return decode_bundle(await notary.call("bundle", b""))


async def fetch_identity(notary: LinkNotary) -> TLSIdentity:
    return _decode_identity(await notary.call("identity", b""))


def open_observer(start: Start, name: str) -> Observer:
    """Log lines to stderr, counters to the runtime directory."""
    loop = asyncio.get_running_loop()
    metrics = Metrics()
    SnapshotFile(metrics, Path(start.runtime), name, loop)
    return Observer(metrics, LineWriter(2, loop).write)


def open_ledger(bundle: Bundle, notary: LinkNotary) -> Ledger:
    """The store's file where there is one; else the notary answers."""
    return notary if bundle.store is None else open_reader(Path(bundle.store))


async def _close_later(caller: WebhookCaller) -> None:
    """Requests that began under the configuration before may still be waiting for a webhook."""
    await asyncio.sleep(_LONGEST_WEBHOOK_SECONDS)
    await caller.close()


@final
class Worker:
    """One worker process. `run` ends when the supervisor says so, or is gone."""

    def __init__(self, control: ChildControl) -> None:
        self._control = control
        self._start = control.start
        self._notary = LinkNotary(control.start.notary)
        self._refreshing = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        bundle = await fetch_bundle(self._notary)
        self._identity = await fetch_identity(self._notary)
        self._ledger = open_ledger(bundle, self._notary)
        snapshot = self._build(bundle)
        self._authority = Authority(snapshot, self._refresh)
        self.observer = open_observer(self._start, f"worker-{self._start.index}")
        self.observer.reconfigure(snapshot)
        self._tracing = Tracing(self.observer)
        self._tracing.take_over(snapshot.config.provisor.tracing)
        self._context = Context(snapshot.config.provisor.limits, self.observer)
        limits = ConnectionLimits.of(snapshot.config.provisor.limits)
        raise_file_limit(limits.connections + 256)
        self._connections = Connections(limits, on_refusal=self.observer.refused_connection)
        self._endpoint = TLSEndpoint(snapshot.config.tls, self._leaf(), client_authorities(snapshot))
        child = Child(self._control, self)
        await child.listen()
        self._control.send(Ready(epoch=snapshot.epoch))
        return await run_together(child.obey(), self._keep_identity())

    def _build(self, bundle: Bundle) -> Snapshot:
        """This epoch's authority, with connections of its own."""
        config = load_config(bundle.source, where=bundle.path).config
        leaf = ServerLeaf(self._identity.chain, self._identity.key)
        self._caller = WebhookCaller(config, bundle.roots, leaf)
        return build_snapshot(bundle, self._notary, self._ledger, caller=self._caller)

    def _leaf(self) -> ServerLeaf:
        self.observer.metrics.leaf_expiry.set(self._identity.not_after, str(self._start.index))
        return ServerLeaf(self._identity.chain, self._identity.key)

    def make_listener(self, spec: ListenerSpec, sock: socket.socket) -> Listener:
        router, endpoint = (API, self._endpoint) if spec.name == "https" else (PLAIN, None)
        app = Application(self._authority, self._context, router)
        return Listener(sock, Site(app, self._connections, report=self.observer.failed), endpoint)

    async def refresh(self) -> int:
        await self._refresh()
        return self._authority.current.epoch

    async def _refresh(self) -> None:
        """Take over the configuration in force, and with it the TLS settings. Raises `Unavailable`."""
        async with self._refreshing:
            await self._take_over(await fetch_bundle(self._notary))

    async def _take_over(self, bundle: Bundle) -> None:
        current = self._authority.current
        same = (bundle.epoch, bundle.started) == (current.epoch, current.started.timestamp())
        if same or bundle.epoch < current.epoch:
            return
        self._identity = await fetch_identity(self._notary)
        former = self._caller
        snapshot = self._build(bundle)
        self._endpoint.replace(options=snapshot.config.tls, leaf=self._leaf(), clients=client_authorities(snapshot))
        self._context.limits = snapshot.config.provisor.limits
        self.observer.reconfigure(snapshot)
        self._tracing.take_over(snapshot.config.provisor.tracing)
        self._authority.replace(snapshot)
        self._closing.add(closing := asyncio.get_running_loop().create_task(_close_later(former)))
        closing.add_done_callback(self._closing.discard)

    async def finish(self) -> None:
        await self._connections.drain()
        await self._caller.close()
        await self._tracing.close()

    async def _keep_identity(self) -> None:
        """Have the CA's own certificate renewed in time; the notary decides which one is in force."""
        while True:
            now = self._authority.current.clock().timestamp()
            await asyncio.sleep(max(1.0, self._identity.renew_at - now))
            newer = await self._try_identity()
            if newer is None or newer.serial == self._identity.serial:
                await asyncio.sleep(_IDENTITY_RETRY_SECONDS)
                continue
            self._identity = newer
            self._caller.replace_leaf(ServerLeaf(newer.chain, newer.key))
            self._endpoint.replace(leaf=self._leaf())

    async def _try_identity(self) -> TLSIdentity | None:
        try:
            return await fetch_identity(self._notary)
        except Unavailable as error:
            self.observer.note(f"own certificate not renewed: {error.detail}")
            return None
