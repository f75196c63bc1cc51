"""The reading half for operators, over a SQLite connection of its own."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, Self, TypeVar, final

from provisor.errors import Unavailable
from provisor.ports import (
    EntryID,
    ExpiredRecord,
    HeadRecord,
    IndexReach,
    InventoryRow,
    IssuerID,
    IssuerRecord,
    Leftovers,
    LogEvent,
    LogTile,
    Placeless,
    RevocationTrace,
    StoreFacts,
    TermPlace,
    Unindexed,
)
from provisor.storage import archive_inventory, archive_log, queries, sqlite_retention

P = ParamSpec("P")
T = TypeVar("T")

_BUSY_SECONDS: Final = 5.0


@final
class SQLiteArchive:
    """`ports.Archive`. The methods do not wait: each reads a bounded piece.

    `connect` gives the connection to use and raises `sqlite3.Error` if there is none; `drop` is told when one failed.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], drop: Callable[[], None] = lambda: None) -> None:
        self._connect = connect
        self._drop = drop

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read-only, opened at the first question, again after a failure."""
        held: list[sqlite3.Connection] = []

        def connect() -> sqlite3.Connection:
            if not held:
                uri = f"{path.absolute().as_uri()}?mode=ro"
                held.append(sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None))
            return held[0]

        def drop() -> None:
            while held:
                with contextlib.suppress(sqlite3.Error):
                    held.pop().close()

        return cls(connect, drop)

    def _ask(self, query: Callable[Concatenate[sqlite3.Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return query(self._connect(), *args, **kwargs)
        except (sqlite3.Error, OSError) as error:
            self._drop()
            raise Unavailable(f"database cannot be read: {error}") from error

    def close(self) -> None:
        """Let go of the connection; another question opens it again."""
        self._drop()

    # -- the inventory --------------------------------------------------------------------------

    async def index_reach(self) -> IndexReach:
        return self._ask(archive_inventory.index_reach)

    async def unindexed(self, after: int, limit: int) -> Unindexed:
        return self._ask(archive_inventory.unindexed, after, limit)

    async def issued_newest(self, before: int | None, limit: int) -> Sequence[InventoryRow]:
        return self._ask(archive_inventory.issued_newest, before, limit)

    async def issued_with_term(self, term: bytes, before: int | None, limit: int) -> Sequence[InventoryRow]:
        return self._ask(archive_inventory.issued_with_term, term, before, limit)

    async def issued_in_range(
        self, low: bytes, high: bytes, after: TermPlace | None, limit: int
    ) -> Sequence[InventoryRow]:
        return self._ask(archive_inventory.issued_in_range, low, high, after, limit)

    async def issued_revoked(self, before: tuple[IssuerID, int] | None, limit: int) -> Sequence[InventoryRow]:
        return self._ask(archive_inventory.issued_revoked, before, limit)

    async def find_issued(self, issuer: IssuerID, serial: int) -> InventoryRow | None:
        return self._ask(archive_inventory.find_issued, issuer, serial)

    async def unindexed_of_line(self, lineage: int) -> Sequence[InventoryRow]:
        return self._ask(archive_inventory.unindexed_of_line, lineage)

    async def find_expired(self, issuer: IssuerID, serial: int) -> ExpiredRecord | None:
        return self._ask(archive_inventory.find_expired, issuer, serial)

    async def store_facts(self) -> StoreFacts:
        return self._ask(archive_inventory.store_facts)

    # -- the audit log --------------------------------------------------------------------------

    async def authority_id(self) -> str:
        return self._ask(archive_log.authority_id)

    async def issuers(self) -> Sequence[IssuerRecord]:
        return self._ask(queries.issuers)

    async def log_size(self) -> int:
        return self._ask(archive_log.log_size)

    async def log_end(self) -> int:
        return self._ask(archive_log.log_end)

    async def events_dropped(self) -> int:
        return self._ask(archive_log.events_dropped)

    async def log_forks(self) -> str:
        return self._ask(archive_log.log_forks)

    async def log_gaps(self) -> int:
        return self._ask(archive_log.log_gaps)

    async def unsequenced(self, size: int, limit: int) -> Sequence[tuple[EntryID, bytes | None]]:
        return self._ask(archive_log.unsequenced, size, limit)

    async def count_waiting(self) -> int:
        """None: here an event has its place from the moment it is recorded."""
        return 0

    async def waiting(self, after: EntryID, limit: int) -> Sequence[LogEvent]:
        return ()

    async def placeless(self, after: EntryID, limit: int) -> Placeless:
        return Placeless((), None)

    async def events(self, first: int, limit: int) -> Sequence[LogEvent]:
        return self._ask(archive_log.events, first, limit)

    async def events_before(self, n: int | None, limit: int) -> Sequence[LogEvent]:
        return self._ask(archive_log.events_before, n, limit)

    async def evidence(self, first: int, limit: int) -> Sequence[LogEvent]:
        return self._ask(archive_log.evidence, first, limit)

    async def tiles(self, level: int, first: int, limit: int) -> Sequence[LogTile]:
        return self._ask(archive_log.tiles, level, first, limit)

    async def newest_head(self) -> HeadRecord | None:
        return self._ask(archive_log.newest_head)

    async def heads(self, size: int, limit: int) -> Sequence[HeadRecord]:
        return self._ask(archive_log.heads, size, limit)

    async def find_place(self, issuer: IssuerID, serial: int) -> int | None:
        return self._ask(archive_log.find_place, issuer, serial)

    async def find_serial(self, fingerprint: bytes) -> tuple[IssuerID, int] | None:
        return self._ask(archive_log.find_serial, fingerprint)

    async def eventless(self, limit: int) -> Sequence[tuple[IssuerID, int]]:
        return self._ask(archive_log.eventless, limit)

    async def revocation_of(self, serial: int) -> Sequence[RevocationTrace]:
        return self._ask(archive_log.revocation_of, serial)

    async def revocation_traces(self, after: tuple[IssuerID, int] | None, limit: int) -> Sequence[RevocationTrace]:
        return self._ask(archive_log.revocation_traces, after, limit)

    async def certificate_end(self, serial: int) -> int | None:
        return self._ask(archive_log.certificate_end, serial)

    # -- cleaning -------------------------------------------------------------------------------

    async def leftovers(self, *, tokens: int, receipts: int, events: int | None) -> Leftovers:
        return self._ask(sqlite_retention.leftovers, tokens, receipts, events)
