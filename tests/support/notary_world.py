"""A notary with a small authority, inline or behind its socket, and hands on everything around it."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path

from msgspec.structs import replace

from provisor.core.keys import PublicKey
from provisor.core.x509.draft import Draft, encode_tbs
from provisor.errors import Unavailable
from provisor.kms.soft import SoftSigner
from provisor.notary.inline import InlineNotary
from provisor.notary.keyring import GateRules, SigningIssuer
from provisor.notary.link import LinkNotary
from provisor.notary.notary import NotaryCore
from provisor.notary.server import Call, LinkServer
from provisor.notary.signers import PoolLimits
from provisor.ports import (
    Entry,
    EntryID,
    Epoch,
    Guard,
    IssuerRecord,
    Ledger,
    Notary,
    NotRevoked,
    Outcome,
    StoreHealth,
    ToSign,
    Unspent,
    Write,
)
from provisor.storage.base import Sign, Store, StoreFailed
from provisor.storage.sqlite import MEMORY, SQLiteStore
from support.coroutines import finish
from support.entries import entry, spend, to_sign
from support.postgres_store import postgres_store
from support.x509_lab import NOW, Lab


class CountingSigner:
    """A key in memory that counts its signatures, and can be made slow, broken or a liar."""

    def __init__(self, signer: SoftSigner, *, costly: bool = False) -> None:
        self._signer = signer
        self.costly = costly
        self.concurrency = 2
        self.count = 0
        self.failing = False
        self.lying = False
        self._called = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    @property
    def public_key(self) -> PublicKey:
        return self._signer.public_key

    @property
    def signature_algorithms(self) -> tuple[bytes, ...]:
        return self._signer.signature_algorithms

    async def called(self) -> None:
        """Until the first signature has begun."""
        await asyncio.to_thread(self._called.wait, 10)

    def sign(self, data: bytes, signature_algorithm: bytes) -> bytes:
        self.count += 1
        self._called.set()
        if not self.may_go_on.wait(10):
            raise TimeoutError
        if self.failing:
            raise Unavailable("the device is unplugged")
        return self._signer.sign(data + b"!" if self.lying else data, signature_algorithm)


class HookedStore:
    """A store at whose commits something happens: before it, after it, or instead of it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.before_commit: Callable[[], None] = lambda: None
        self.after_commit: Callable[[], None] = lambda: None
        self.reopening_fails = False
        self.batches: list[int] = []

    async def precheck(self, entries: Sequence[Entry], *, now: int) -> list[Outcome | None]:
        return await self._store.precheck(entries, now=now)

    async def commit(self, entries: Sequence[Entry], sign: Sign, *, now: int) -> list[Outcome]:
        self.batches.append(len(entries))
        self.before_commit()
        outcomes = await self._store.commit(entries, sign, now=now)
        self.after_commit()
        return outcomes

    async def find_outcome(self, entry: EntryID) -> Outcome | None:
        return await self._store.find_outcome(entry)

    async def issuers(self) -> list[IssuerRecord]:
        return await self._store.issuers()

    async def health(self) -> StoreHealth:
        return await self._store.health()

    async def touch(self, *, now: int) -> None:
        self.before_commit()
        await self._store.touch(now=now)

    async def reopen(self) -> None:
        if self.reopening_fails:
            raise StoreFailed("still broken", uncertain=False)
        await self._store.reopen()

    async def close(self) -> None:
        await self._store.close()

    @property
    def ledger(self) -> Ledger:
        return self._store.ledger


class World:
    """One notary process, as far as a test can tell. `now` is its clock."""

    def __init__(self, store: Store, *, costly: bool = False, pool_limits: PoolLimits | None = None) -> None:
        self.now = NOW
        self.lab = Lab()
        self.signer = CountingSigner(SoftSigner(self.lab.intermediate.key), costly=costly)
        self.store = HookedStore(store)
        self.core = NotaryCore(self.store, clock=self._clock, random=secrets.token_bytes)
        self.inline = InlineNotary(self.core, pool_limits=pool_limits)
        self.epoch = self.install()
        self._serials = itertools.count(1 << 100)

    def _clock(self) -> datetime:
        return self.now

    def install(self, rules: GateRules | None = None, *, state: str = "active") -> int:
        keyring = {self.lab.issuer.id: SigningIssuer(self.lab.issuer, self.signer, state)}
        self.epoch = finish(self.inline.install(keyring, rules or GateRules()))
        return self.epoch

    def to_sign(self, *, predecessor: int | None = None, change: Callable[[Draft], Draft] = lambda d: d) -> ToSign:
        draft = change(replace(self.lab.draft(), serial=next(self._serials)))
        request = to_sign(draft.serial, issuer=self.lab.issuer.id, predecessor=predecessor)
        return replace(request, tbs=encode_tbs(draft))

    def issue(
        self, token: str = "", *writes: Write, guards: tuple[Guard, ...] = (), sign: ToSign | None = None
    ) -> Entry:
        """An entry as the authority makes it."""
        tokens: tuple[Write, ...] = (spend(token),) if token else ()
        unspent: tuple[Guard, ...] = (Unspent(token),) if token else ()
        return entry(
            *tokens, *writes, guards=(*unspent, *guards, Epoch(self.epoch)), sign=sign or self.to_sign(), event=b"{}"
        )

    def renew(self, predecessor: int) -> Entry:
        return self.issue(
            guards=(NotRevoked(self.lab.issuer.id, predecessor),), sign=self.to_sign(predecessor=predecessor)
        )


class Server:
    """The notary's socket. `kill` is what kill -9 looks like from outside; `start` is the next process."""

    def __init__(self, path: Path, calls: Mapping[str, Call] | None = None, *, user: int | None = None) -> None:
        self.path = path
        self._calls = calls
        self._user = user
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen(64)
        self._link: LinkServer | None = None

    async def start(self, notary: InlineNotary) -> None:
        self._link = LinkServer(notary, calls=self._calls, user=self._user)
        await self._link.start(self._listening.dup())

    def kill(self) -> None:
        """The connections break; what was read and not answered is never answered."""
        if self._link is not None:
            link, self._link = self._link, None
            if link._server is not None:
                link._server.close()
            for connection in list(link._connections):
                connection.abort()

    async def stop(self) -> None:
        if self._link is not None:
            await self._link.stop()
        self._listening.close()


@asynccontextmanager
async def inline_client(world: World, _: Path) -> AsyncIterator[tuple[Notary, Ledger]]:
    yield world.inline, world.inline.ledger
    world.inline.close()


@asynccontextmanager
async def socket_client(world: World, folder: Path) -> AsyncIterator[tuple[Notary, Ledger]]:
    server = Server(folder / "notary")
    await server.start(world.inline)
    client = LinkNotary(server.path)
    yield client, client
    client.close()
    await server.stop()
    world.inline.close()


@contextmanager
def opened_store(kind: str, folder: Path) -> Iterator[Store]:
    """In memory, in a file, or in PostgreSQL; its coroutines do not wait."""
    if kind == "postgresql":
        with postgres_store() as other:
            yield other
        return
    store = open_store(kind, folder)
    yield store
    finish(store.close())


def open_store(kind: str, folder: Path) -> SQLiteStore:
    return SQLiteStore.open(MEMORY if kind == "memory" else folder / "ca.db")
