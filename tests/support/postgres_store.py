"""A PostgreSQL store that tests may ask from any loop, or none: it lives on a loop of its own, in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar, final

from provisor.ports import Archive, Entry, EntryID, IssuerRecord, Ledger, Outcome, StoreHealth
from provisor.storage.base import Sign
from provisor.storage.postgresql.dsn import Target
from provisor.storage.postgresql.store import PostgreSQLStore
from support.postgres import shared_cluster

T = TypeVar("T")


@final
class Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _AnyLoopLedger:
    """Every method of a ledger, or an archive, asked on the other loop."""

    def __init__(self, loop: Loop, ledger: Ledger | Archive) -> None:
        self._loop = loop
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._ledger, name)

        async def ask(*values: Any, **named: Any) -> Any:
            return self._loop.run(method(*values, **named))

        return ask


@final
class AnyLoopStore:
    """`storage.base.Store`, whose coroutines do not wait: the caller stands still instead."""

    def __init__(self, target: Target) -> None:
        self._loop = Loop()
        try:
            self.inner = self._loop.run(PostgreSQLStore.open(target))
        except BaseException:
            self._loop.close()
            raise
        self._proxy: Any = _AnyLoopLedger(self._loop, self.inner.ledger)
        self._archive: Any = _AnyLoopLedger(self._loop, self.inner.archive)

    @property
    def ledger(self) -> Ledger:
        ledger: Ledger = self._proxy
        return ledger

    @property
    def archive(self) -> Archive:
        archive: Archive = self._archive
        return archive

    def execute(self, statement: str, *values: object) -> None:
        """As somebody who can write to the database."""
        self._loop.run(self.inner._get_writer().execute(statement, *values))

    async def precheck(self, entries: Sequence[Entry], *, now: int) -> list[Outcome | None]:
        return self._loop.run(self.inner.precheck(entries, now=now))

    async def commit(self, entries: Sequence[Entry], sign: Sign, *, now: int) -> list[Outcome]:
        return self._loop.run(self.inner.commit(entries, sign, now=now))

    async def find_outcome(self, entry: EntryID) -> Outcome | None:
        return self._loop.run(self.inner.find_outcome(entry))

    async def issuers(self) -> list[IssuerRecord]:
        return self._loop.run(self.inner.issuers())

    async def health(self) -> StoreHealth:
        return self._loop.run(self.inner.health())

    async def touch(self, *, now: int) -> None:
        self._loop.run(self.inner.touch(now=now))

    async def reopen(self) -> None:
        self._loop.run(self.inner.reopen())

    async def close(self) -> None:
        with suppress(RuntimeError):
            self._loop.run(self.inner.close())
            self._loop.close()


@contextmanager
def postgres_store() -> Iterator[AnyLoopStore]:
    """A store on a database of its own, of the cluster that the tests share."""
    cluster = shared_cluster()
    database = cluster.create_database()
    opened = AnyLoopStore(cluster.target(database))
    try:
        yield opened
    finally:
        asyncio.run(opened.close())
        cluster.drop_database(database)
