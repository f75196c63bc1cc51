"""The whole CA in one process: for mounting in another ASGI program, for one command, and for tests.

    async with InlineCA.open("ca.json", password) as ca:
        ...  # serve ca.application, or ask it: await ca.ask("GET", "/health")

The program it is mounted in has the keys in its own memory then, and answers strangers with them:
`provisor serve` keeps the two apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import Self, final
from urllib.parse import unquote

from provisor.app.bundle import build_snapshot, bundle_of, utc_now
from provisor.app.calls import WebhookCaller
from provisor.app.configuration import configuration_digest
from provisor.app.identity import client_authorities, make_identity
from provisor.app.jobs import JobRunner, schedule_first
from provisor.app.rules import gate_rules
from provisor.app.stores import open_store
from provisor.app.tracing import Tracing
from provisor.authority.snapshot import Snapshot
from provisor.client.transport import Answer
from provisor.core.secret import Password, Secret
from provisor.notary.inline import InlineNotary
from provisor.notary.keyring import SigningIssuer
from provisor.notary.notary import NotaryCore
from provisor.server.application import Application, Authority
from provisor.server.context import Context
from provisor.server.exchange import Message, Scope, Site
from provisor.server.limits import ConnectionLimits, Connections
from provisor.server.listener import Listener
from provisor.server.observer import Observer
from provisor.server.tls import ServerLeaf, TLSEndpoint
from provisor.startup import Startup, load_startup


def _leaf_of(startup: Startup) -> ServerLeaf:
    identity = make_identity(startup, utc_now(), os.urandom)
    return ServerLeaf(identity.chain, identity.key)


@final
class InlineCA:
    """`application` is the ASGI application, `jobs` what the background does. Enter it on the loop that serves."""

    def __init__(
        self,
        startup: Startup,
        *,
        clock: Callable[[], datetime] = utc_now,
        random: Callable[[int], bytes] = os.urandom,
        observer: Observer | None = None,
    ) -> None:
        self._startup = startup
        self._clock = clock
        self._random = random
        self.observer = observer or Observer()

    @classmethod
    def open(cls, path: str, password: Password | str | None = None) -> Self:
        """The CA of a ca.json. Raises `StartRefused` with every fault, `PasswordNeeded`."""
        secret = Secret(password) if isinstance(password, str | bytes) else password
        return cls(load_startup(path, secret, utc_now()))

    async def _start(self) -> None:
        """Open the store and install the key. Raises `ConfigError`, `Unavailable`."""
        startup = self._startup
        self.store, _, _ = await open_store(startup.store, migrate=startup.config.provisor.database.migrate)
        self.notary = InlineNotary(NotaryCore(self.store, clock=self._clock, random=self._random))
        signing = SigningIssuer(startup.issuer, startup.signer)
        epoch = await self.notary.install(
            {startup.issuer.id: signing}, gate_rules(startup.config), configuration=configuration_digest(startup)
        )
        retiring = tuple(record.certificate for record in await self.store.issuers() if record.state == "retiring")
        not_before = (await self.store.health()).tokens_not_before
        bundle = bundle_of(startup, epoch, self._clock(), retiring, tokens_not_before=not_before)
        self._caller = WebhookCaller(startup.config, startup.roots, _leaf_of(startup))
        snapshot = build_snapshot(
            bundle,
            self.notary,
            self.store.ledger,
            clock=self._clock,
            random=self._random,
            archive=self.store.archive,
            caller=self._caller,
        )
        self.authority = Authority(snapshot)
        self.observer.reconfigure(snapshot)
        self._tracing = Tracing(self.observer)
        self._tracing.take_over(startup.config.provisor.tracing)
        self.context = Context(startup.config.provisor.limits, self.observer)
        self.application = Application(self.authority, self.context)
        self.jobs = JobRunner(lambda: self.authority.current, self.observer.note)

    async def ask(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        certificate: bytes | None = None,
    ) -> Answer:
        """One request that never leaves the process (ASGI 3.0); `target` is a path, maybe with a query.

        `certificate` (DER) is the client's, whose key the caller has proven to have.
        """
        path, _, query = target.partition("?")
        answer = _Answering(body)
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
            "client": None,
            "extensions": {"tls": {"client_cert_der": certificate}} if certificate else {},
        }
        await self.application(scope, answer.receive, answer.send)
        return Answer(answer.status, answer.content_type, answer.body)

    @asynccontextmanager
    async def listening(self, sock: socket.socket) -> AsyncIterator[None]:
        """Serve HTTPS on a bound socket within the block, with a certificate of its own for the names of ca.json.

        That certificate is for a day: for a CA that people rely on there is `provisor serve`.
        """
        snapshot = self.snapshot
        identity = make_identity(self._startup, utc_now(), os.urandom)
        leaf = ServerLeaf(identity.chain, identity.key)
        endpoint = TLSEndpoint(snapshot.config.tls, leaf, client_authorities(snapshot))
        limits = ConnectionLimits.of(snapshot.config.provisor.limits)
        connections = Connections(limits, on_refusal=self.observer.refused_connection)
        listener = Listener(sock, Site(self.application, connections, report=self.observer.failed), endpoint)
        await listener.start()
        try:
            yield
        finally:
            listener.stop()
            for connection in list(connections.open):
                connection.abort()

    @property
    def snapshot(self) -> Snapshot:
        return self.authority.current

    async def __aenter__(self) -> Self:
        await self._start()
        await schedule_first(self.snapshot)
        await self.jobs.run_due()
        self._task = asyncio.get_running_loop().create_task(self.jobs.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._tracing.close()
        await self._caller.close()
        await self.notary.drain()
        self.notary.close()
        await self.store.close()


@final
class _Answering:
    """The application's side of one request."""

    def __init__(self, body: bytes) -> None:
        self._request = body
        self.status = 0
        self.content_type = ""
        self.body = b""

    async def receive(self) -> Message:
        return {"type": "http.request", "body": self._request, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            named = {bytes(name).lower(): value for name, value in message["headers"]}
            self.content_type = bytes(named.get(b"content-type", b"")).decode("latin-1").partition(";")[0]
        else:
            self.body += message.get("body", b"")
