"""The notary's process: reads the configuration, opens keys and store, and answers the others over its socket."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from datetime import timedelta
from pathlib import Path
from typing import Final, final

import msgspec

from provisor import __version__
from provisor.app.bundle import ACCEPTED, bundle_of, encode_bundle, utc_now
from provisor.app.configuration import configuration_digest, configuration_event
from provisor.app.hints import first_certificate
from provisor.app.identity import make_identity
from provisor.app.rules import gate_rules
from provisor.app.stores import Replicas, open_store
from provisor.app.tasks import Ended, run_together
from provisor.app.timing import TimedSigner, TimedStore
from provisor.app.urls import server_url
from provisor.config.ca_json import CAConfig
from provisor.config.load import Fault
from provisor.core.secret import Secret
from provisor.errors import ConfigError, ProvisorError, Unavailable
from provisor.notary.inline import InlineNotary
from provisor.notary.keyring import SigningIssuer
from provisor.notary.notary import NotaryCore
from provisor.notary.server import LinkServer
from provisor.server.control import (
    ChildControl,
    Commit,
    Discard,
    Drain,
    Draining,
    Failed,
    ListenerSpec,
    Overtaken,
    Prepare,
    Prepared,
    Ready,
    Refused,
    Reloaded,
    harden_process,
)
from provisor.server.metrics import Metrics, SnapshotFile
from provisor.startup import StartRefused, Startup, load_startup

_FOLLOW_SECONDS: Final = 3.0

_encode_identity = msgspec.msgpack.Encoder().encode


@final
class NotaryProcess:
    """`run` ends when the supervisor says so, or is gone."""

    def __init__(self, control: ChildControl) -> None:
        self._control = control
        self._start = control.start
        options = control.start.options
        self._path = str(options["config"])
        self._strict = bool(options.get("strict"))
        password = control.start.secrets.get("password")
        self._password = Secret(password) if password is not None else None
        self._started = utc_now()
        self._past_epoch = control.start.epoch
        self._prepared: Startup | None = None
        self._accepted = Path(control.start.runtime) / ACCEPTED
        self._replicas: Replicas | None = None
        self._overheard = asyncio.Event()
        self._installing = asyncio.Lock()
        self._superseded = False

    async def run(self) -> int:
        """Start, say so, and serve; the exit status."""
        try:
            self._startup = self._load()
            place = self._startup.store
            is_new = isinstance(place, Path) and not place.exists()
            migrate = self._startup.config.provisor.database.migrate
            store, self._replicas, warnings = await open_store(place, migrate=migrate, heard=self._overheard.set)
        except (ProvisorError, OSError) as error:
            self._control.send(Failed(faults=describe(error)))
            return 2
        harden_process()
        self._metrics = Metrics()
        self._core = NotaryCore(TimedStore(store, self._metrics), clock=utc_now, random=os.urandom)
        self._notary = InlineNotary(self._core)
        if self._startup.store is None:
            await self._begin_in_memory()
        SnapshotFile(self._metrics, Path(self._start.runtime), "notary", asyncio.get_running_loop())
        try:
            await self._check_superseded()
            await self._install(self._startup)
        except ProvisorError as error:
            self._control.send(Failed(faults=describe(error)))
            await store.close()
            return 2
        server = LinkServer(self._notary, calls={"bundle": self._get_bundle, "identity": self._get_identity})
        await server.start(self._control.sockets[0])
        self._server = server
        self._control.send(
            Ready(
                epoch=self._epoch,
                lines=(
                    *([_first_write(self._startup)] if is_new else []),
                    *warnings,
                    *start_lines(self._startup, self._shown, quiet=bool(self._start.options.get("quiet"))),
                ),
                notice=first_certificate(self._startup, self._path) if self._start.options.get("hints") else (),
                listeners=listeners_of(self._startup.config),
                workers=self._startup.config.provisor.workers,
            )
        )
        try:
            return await run_together(self._obey(), *([self._follow()] if self._replicas else []))
        finally:
            await store.close()

    async def _begin_in_memory(self) -> None:
        """What a predecessor had spent is forgotten: nothing of its time may count any more.

        Its epochs do not come again, and no token that it can have seen is as young as the start:
        tokens tell their time in whole seconds, so that the present one has to pass first.
        """
        self._past_epoch = max(self._past_epoch, int(self._started.timestamp() * 1000))
        now, self._started = self._started, self._started.replace(microsecond=0) + timedelta(seconds=1)
        await asyncio.sleep((self._started - now).total_seconds())

    def _load(self) -> Startup:
        """The configuration of the file; for a process that replaces a dead one, the one that was in force."""
        path = str(self._accepted) if self._start.epoch and self._accepted.exists() else self._path
        return load_startup(path, self._password, utc_now(), strict=self._strict, shown=self._shown)

    @property
    def _shown(self) -> str:
        return str(self._start.options.get("shown") or self._path)

    async def _install(self, startup: Startup) -> None:
        """Make it the configuration in force. Raises `Unavailable`; then nothing has changed."""
        signer = TimedSigner(startup.signer, self._metrics)
        keyring = {startup.issuer.id: SigningIssuer(startup.issuer, signer)}
        identity = make_identity(startup, utc_now(), os.urandom)
        remembered = self._write_aside(startup)
        # A store that only this host has gets a new epoch each time; replicas that agree share theirs.
        content = configuration_digest(startup)
        digest = content if self._replicas else ""
        self._epoch = await self._notary.install(
            keyring,
            gate_rules(startup.config),
            above=0 if self._replicas else self._past_epoch,
            configuration=digest,
            event=configuration_event(utc_now(), content),
        )
        if self._replicas:
            await self._replicas.attend(digest)
        self._digest, self._superseded = digest, False
        os.replace(remembered, self._accepted)
        self._identity = identity
        self._startup = startup
        self._retiring = tuple(
            record.certificate for record in await self._core.store.issuers() if record.state == "retiring"
        )
        self._tokens_not_before = (await self._core.store.health()).tokens_not_before
        self._metrics.kms_signed.inc()

    async def _check_superseded(self) -> None:
        """A start does not undo what others have put in force since. Raises `ConfigError`, `Unavailable`."""
        if self._replicas is None:
            return
        digest = configuration_digest(self._startup)
        in_force = await self._core.store.health()
        if digest == in_force.configuration or not await self._replicas.was_in_force(digest):
            return
        if not await self._replicas.is_attended(in_force.configuration):
            return
        if self._start.epoch:
            # In place of a dead notary: the file may have what is in force by now.
            with contextlib.suppress(ProvisorError):
                self._startup = load_startup(
                    self._path, self._password, utc_now(), strict=self._strict, shown=self._shown
                )
            if configuration_digest(self._startup) == in_force.configuration:
                return
        raise ConfigError(
            self._shown,
            f"the configuration of epoch {in_force.epoch} is in force elsewhere, and this one was superseded by it: "
            "bring the file up to date; to go back to it, reload a replica that is running with it",
        )

    async def _follow(self) -> None:
        """See what other replicas put in force: at once when they say so, and every few seconds."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FOLLOW_SECONDS):
                    await self._overheard.wait()
            self._overheard.clear()
            with contextlib.suppress(ProvisorError):
                async with self._installing:
                    await self._look_around()

    async def _look_around(self) -> None:
        state = await self._core.store.health()
        if state.configuration == self._digest:
            if state.epoch != self._epoch or self._superseded:
                lines = (
                    (f"Configuration of epoch {state.epoch} is in force, and it is ours",) if self._superseded else ()
                )
                self._epoch, self._superseded = state.epoch, False
                self._core.resume()
                self._control.send(Overtaken(state.epoch, lines))
            return
        text = f"configuration of epoch {state.epoch} is in force elsewhere: this replica's ca.json differs"
        lines = () if self._superseded else (text,)
        self._superseded = True
        self._core.suspend(text)
        reload = await asyncio.to_thread(self._has_file_of, state.configuration)
        if lines or reload:
            self._control.send(Overtaken(self._epoch, lines, reload=reload))

    def _has_file_of(self, configuration: str) -> bool:
        """Whether the file says by now what is in force."""
        try:
            startup = load_startup(self._path, self._password, utc_now(), strict=self._strict, shown=self._shown)
        except (ProvisorError, OSError):
            return False
        return configuration_digest(startup) == configuration

    def _write_aside(self, startup: Startup) -> Path:
        """What a successor is to find once it is accepted, where only this user reads: ca.json may change under us.

        Raises `Unavailable`.
        """
        path = self._accepted.with_suffix(".new")
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(startup.original)
        except OSError as error:
            raise Unavailable(f"{path} cannot be written: {error.strerror}") from error
        return path

    async def _get_bundle(self, payload: bytes) -> bytes:
        self._overheard.set()  # who asks may have been overtaken
        return encode_bundle(
            bundle_of(
                self._startup,
                self._epoch,
                self._started,
                self._retiring,
                tokens_not_before=self._tokens_not_before,
            )
        )

    async def _get_identity(self, payload: bytes) -> bytes:
        """The CA's own certificate; a new one when the present one is due."""
        if utc_now().timestamp() >= self._identity.renew_at:
            self._identity = make_identity(self._startup, utc_now(), os.urandom)
            self._metrics.kms_signed.inc()
        return _encode_identity(self._identity)

    async def _obey(self) -> None:
        while True:
            received = await self._control.next_command()
            if received is None:
                raise Ended(1)
            match received[0]:
                case Prepare():
                    self._control.send(await self._prepare())
                case Commit():
                    await self._commit()
                case Discard():
                    self._prepared = None
                case Drain():
                    self._control.send(Draining())
                    await self._server.stop()
                    self._notary.close()
                    raise Ended(0)
                case _:
                    pass

    async def _prepare(self) -> Prepared | Refused:
        """Read the file anew; what is in force stays in force until `Commit`, and signs meanwhile.

        Opening an encrypted key can take a second.
        """
        try:
            startup = await asyncio.to_thread(
                load_startup, self._path, self._password, utc_now(), strict=self._strict, shown=self._shown
            )
            make_identity(startup, utc_now(), os.urandom)
        except ProvisorError as error:
            unreadable = isinstance(error, StartRefused) and error.unreadable
            return Refused(reason="unreadable" if unreadable else "invalid", faults=describe(error))
        if startup.config.db != self._startup.config.db:
            return Refused(reason="database", faults=("database configuration cannot change",))
        self._prepared = startup
        lines = start_lines(startup, self._shown, quiet=True)
        return Prepared(epoch=self._epoch + 1, lines=lines, listeners=listeners_of(startup.config))

    async def _commit(self) -> None:
        prepared, self._prepared = self._prepared, None
        if prepared is None:
            return
        try:
            self._started = utc_now()
            async with self._installing:
                await self._install(prepared)
        except Unavailable as error:
            self._control.send(Refused(reason="invalid", faults=(error.detail,)))
            return
        self._control.send(Reloaded(epoch=self._epoch))


def describe(error: ProvisorError | OSError) -> tuple[str, ...]:
    """Every fault a line: the text the reference has, and where it is."""
    if isinstance(error, StartRefused):
        return tuple(_fault_line(fault) for fault in error.faults)
    return (error.detail if isinstance(error, ProvisorError) else str(error),)


def _first_write(startup: Startup) -> str:
    return (
        f"{startup.store} is new. Only Provisor reads it: a step-ca that is started on this folder later "
        "renews what is revoked here, and takes tokens that are spent here"
    )


def _fault_line(fault: Fault) -> str:
    return f"{fault.text} ({fault.pointer})" if fault.pointer else fault.text


def listeners_of(config: CAConfig) -> tuple[ListenerSpec, ...]:
    """Where to listen. step-ca: the plain listener exists only where there is something to say on it."""
    specs = [ListenerSpec("https", config.address)]
    if config.insecure_address and config.crl.enabled:
        specs.append(ListenerSpec("http", config.insecure_address, scheme="HTTP"))
    if config.metrics_address:
        specs.append(ListenerSpec("metrics", config.metrics_address, role="jobs", scheme="HTTP"))
    return tuple(specs)


def start_lines(startup: Startup, shown: str, *, quiet: bool) -> tuple[str, ...]:
    """What the log says at a start (core-api 7.5)."""
    warnings = tuple(fault.text for fault in startup.warnings)
    building = "Building new tls configuration using step-ca x509 Signer Interface"
    if quiet:
        return (*warnings, building)
    config = startup.config
    url = server_url(config)
    lines = [
        *warnings,
        building,
        f"Starting Provisor/{__version__}",
        f"Config file: {shown}",
        f"The primary server URL is {url}",
        f"Root certificates are available at {url}/roots.pem",
    ]
    if len(config.dns_names) > 1:
        lines.append(f"Additional configured hostnames: {', '.join(config.dns_names[1:])}")
    lines += [f"X.509 Root Fingerprint: {hashlib.sha256(root).hexdigest()}" for root in startup.roots]
    return tuple(lines)
