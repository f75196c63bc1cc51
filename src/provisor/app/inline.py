"""The whole CA in one process: for mounting in another ASGI program, and for tests.

    async with InlineCA.open("ca.json", password) as ca:
        ...  # serve ca.application

The program it is mounted in has the keys in its own memory then, and answers strangers with them:
`provisor serve` keeps the two apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Self, final

from provisor.app.bundle import build_snapshot, bundle_of, utc_now
from provisor.app.configuration import configuration_digest
from provisor.app.jobs import JobRunner, schedule_first
from provisor.app.rules import gate_rules
from provisor.app.stores import open_store
from provisor.app.tracing import Tracing
from provisor.authority.snapshot import Snapshot
from provisor.core.secret import Secret
from provisor.notary.inline import InlineNotary
from provisor.notary.keyring import SigningIssuer
from provisor.notary.notary import NotaryCore
from provisor.server.application import Application, Authority
from provisor.server.context import Context
from provisor.server.observer import Observer
from provisor.startup import Startup, load_startup


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
    def open(cls, path: str, password: Secret | None = None) -> Self:
        """The CA of a ca.json. Raises `StartRefused` with every fault."""
        return cls(load_startup(path, password, utc_now()))

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
        snapshot = build_snapshot(
            bundle,
            self.notary,
            self.store.ledger,
            clock=self._clock,
            random=self._random,
            archive=self.store.archive,
        )
        self.authority = Authority(snapshot)
        self.observer.reconfigure(snapshot)
        self._tracing = Tracing(self.observer)
        self._tracing.take_over(startup.config.provisor.tracing)
        self.context = Context(startup.config.provisor.limits, self.observer)
        self.application = Application(self.authority, self.context)
        self.jobs = JobRunner(lambda: self.authority.current, self.observer.note)

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
        await self.notary.drain()
        self.notary.close()
        await self.store.close()
