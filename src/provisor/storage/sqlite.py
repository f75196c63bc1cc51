"""SQLite: one file, one writer, durable when `commit` returns; or one database in memory.

Write-ahead log with `synchronous=FULL`: every commit is one fsync of the log. Checkpoints run in the
writer, as part of a commit (7 ms at most, measured); from another process the log only grew.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, final

from provisor.errors import ConfigError
from provisor.ports import Entry, EntryID, IssuerRecord, Ledger, Outcome, StoreHealth
from provisor.storage import queries
from provisor.storage.archive import SQLiteArchive
from provisor.storage.backup import keep_before
from provisor.storage.base import Sign, SignedCertificate, StoreFailed
from provisor.storage.judging import HIGH_WATER, Batch, Surprise
from provisor.storage.ledger import ConnectionLedger
from provisor.storage.locate import APPLICATION_ID, WriterLock, check_ours
from provisor.storage.migrate import find_pending, migrate
from provisor.storage.sqlite_batch import SQLiteFacts, apply, insert_certificates, insert_rows

MEMORY: Final = ":memory:"
_OLDEST_SQLITE: Final = (3, 37, 0)
_BUSY_SECONDS: Final = 5.0
_CACHE_KIB: Final = 16 * 1024
"""So that the pages which every commit writes to are not read again for each."""

_ENTRY_FAULTS: Final = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    OverflowError,
    TypeError,
    ValueError,
)
"""What an entry's own values can cause; anything else is the database failing."""

_NEVER_COMMITTED: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE})
"""Errors of writing the log itself: its last frame, which is what commits, was not written."""

_RAISE_HIGH_WATER: Final = (
    "INSERT INTO meta (key, value) VALUES (?, ?)"
    " ON CONFLICT DO UPDATE SET value = max(CAST(value AS INTEGER), CAST(excluded.value AS INTEGER))"
)


@final
class SQLiteStore:
    """The writing half, and the reading half over the same connection. See `storage.base.Store`."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        reconnect: Callable[[], sqlite3.Connection] | None = None,
        lock: WriterLock | None = None,
    ) -> None:
        self._reconnect = reconnect
        self._connection: sqlite3.Connection | None = connection
        self._lock = lock
        self._uncertain = False
        self._high_water = queries.health(connection).high_water
        self.ledger: Ledger = ConnectionLedger(self._get_connection, lambda: None)
        self.archive = SQLiteArchive(self._get_connection)

    @staticmethod
    def open(path: Path | str, *, connection_type: type[sqlite3.Connection] = sqlite3.Connection) -> SQLiteStore:
        """Open or create the database; `:memory:` is one that nobody else sees and that ends with us.

        A `connection_type` of one's own may watch the statements, or fail. Raises `ConfigError` when the file is
        not ours, is newer than this program, or has a writer already.
        """
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise ConfigError("ca.json: $.db", f"SQLite {sqlite3.sqlite_version} is too old: 3.37 is needed")
        if str(path) == MEMORY:
            connection = _connect_memory()
            migrate(connection, where=MEMORY)
            return SQLiteStore(connection)
        return _open_file(Path(path), connection_type)

    # -- committing -----------------------------------------------------------------------------

    async def precheck(self, entries: Sequence[Entry], *, now: int) -> list[Outcome | None]:
        """See `Store.precheck`."""
        with self._reading() as connection:
            batch = self._batch(connection, now, optimistic=False)
            return [_judge(batch, entry) for entry in entries]

    async def commit(self, entries: Sequence[Entry], sign: Sign, *, now: int) -> list[Outcome]:
        """See `Store.commit`. All entries together; with every question asked, only if an insert runs into something;
        one by one, only if a value of one of them cannot be held.
        """
        with contextlib.suppress(*_ENTRY_FAULTS, Surprise):
            return self._transact(lambda: self._admit_optimistically(entries, sign, now), now)
        with contextlib.suppress(*_ENTRY_FAULTS):
            return self._transact(lambda: self._admit_together(entries, sign, now), now)
        return self._transact(lambda: self._admit_singly(entries, sign, now), now)

    async def touch(self, *, now: int) -> None:
        """See `Store.touch`."""
        self._transact(lambda: self._rewrite_high_water(now), now)

    def _rewrite_high_water(self, now: int) -> list[Outcome]:
        """Out and in again: a row that is updated to what it was, SQLite does not write."""
        connection = self._get_connection()
        connection.execute("DELETE FROM meta WHERE key = ?", (HIGH_WATER,))
        connection.execute(_RAISE_HIGH_WATER, (HIGH_WATER, str(max(now, self._high_water))))
        return []

    def _batch(self, connection: sqlite3.Connection, now: int, *, optimistic: bool) -> Batch:
        return Batch(
            SQLiteFacts(connection),
            lambda write: apply(connection, write),
            now=now,
            high_water=self._high_water,
            optimistic=optimistic,
        )

    def _admit_optimistically(self, entries: Sequence[Entry], sign: Sign, now: int) -> list[Outcome]:
        """What is unique goes in first: an insert that runs into a spent token does so before anything is signed."""
        connection = self._get_connection()
        batch = self._batch(connection, now, optimistic=True)
        verdicts: list[Outcome | None] = []
        for entry in entries:
            verdicts.append(batch.judge(entry))
            if verdicts[-1] is None:
                batch.take(entry)
        insert_rows(connection, batch.rows, now)
        outcomes: list[Outcome] = []
        for index, (entry, verdict) in enumerate(zip(entries, verdicts, strict=True)):
            if verdict is None and entry.sign is not None:
                answer = sign(index)
                if isinstance(answer, Outcome):
                    raise Surprise
                verdict = batch.certify(entry, answer)
            outcomes.append(verdict or Outcome(entry.id, "committed"))
        insert_certificates(connection, batch.rows)
        return outcomes

    def _admit_together(self, entries: Sequence[Entry], sign: Sign, now: int) -> list[Outcome]:
        connection = self._get_connection()
        batch = self._batch(connection, now, optimistic=False)
        outcomes = [batch.admit(entry, partial(sign, index)) for index, entry in enumerate(entries)]
        insert_rows(connection, batch.rows, now)
        insert_certificates(connection, batch.rows)
        return outcomes

    def _admit_singly(self, entries: Sequence[Entry], sign: Sign, now: int) -> list[Outcome]:
        return [self._admit_alone(entry, partial(sign, index), now) for index, entry in enumerate(entries)]

    def _admit_alone(self, entry: Entry, sign: Callable[[], SignedCertificate | Outcome], now: int) -> Outcome:
        connection = self._get_connection()
        connection.execute("SAVEPOINT entry")
        try:
            batch = self._batch(connection, now, optimistic=False)
            outcome = batch.admit(entry, sign)
            insert_rows(connection, batch.rows, now)
            insert_certificates(connection, batch.rows)
        except _ENTRY_FAULTS as error:
            connection.execute("ROLLBACK TO entry")
            outcome = _reject(entry, error)
        connection.execute("RELEASE entry")
        return outcome

    def _transact(self, work: Callable[[], list[Outcome]], now: int) -> list[Outcome]:
        """One transaction, rolled back whole if anything in it fails."""
        connection = self._get_connection()
        committing = False
        try:
            connection.execute("BEGIN IMMEDIATE")
            outcomes = work()
            if now > self._high_water:
                connection.execute(_RAISE_HIGH_WATER, (HIGH_WATER, str(now)))
            committing = True
            connection.execute("COMMIT")
        except (*_ENTRY_FAULTS, Surprise):
            _roll_back(connection)
            raise
        except sqlite3.Error as error:
            _roll_back(connection)
            self._uncertain = committing and getattr(error, "sqlite_errorcode", None) not in _NEVER_COMMITTED
            raise StoreFailed(f"database cannot be written: {error}", uncertain=self._uncertain) from error
        except BaseException:
            _roll_back(connection)
            raise
        self._high_water = max(self._high_water, now)
        return outcomes

    # -- reading --------------------------------------------------------------------------------

    async def find_outcome(self, entry: EntryID) -> Outcome | None:
        """See `Store.find_outcome`."""
        with self._reading() as connection:
            return queries.find_outcome(connection, entry)

    async def issuers(self) -> list[IssuerRecord]:
        """See `Store.issuers`."""
        with self._reading() as connection:
            return queries.issuers(connection)

    async def health(self) -> StoreHealth:
        """See `Store.health`."""
        with self._reading() as connection:
            return queries.health(connection)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._get_connection()
        except sqlite3.Error as error:
            raise StoreFailed(f"database cannot be read: {error}", uncertain=False) from error

    # -- connections ----------------------------------------------------------------------------

    async def reopen(self) -> None:
        """See `Store.reopen`. A database in memory stays as it is.

        After a failed fsync nobody knows what of the log is on the disk. Copying the log, as it reads
        now, into the database and starting another one settles it: what is found from here on is durable.
        """
        if self._reconnect is None:
            return
        self._drop()
        try:
            with contextlib.ExitStack() as undo:
                connection = undo.enter_context(contextlib.closing(self._reconnect()))
                if self._uncertain:
                    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                    if busy:
                        raise StoreFailed("database is read without pause and cannot be reopened", uncertain=False)
                self._high_water = max(self._high_water, queries.health(connection).high_water)
                undo.pop_all()
        except (sqlite3.Error, OSError) as error:
            raise StoreFailed(f"database cannot be opened: {error}", uncertain=False) from error
        self._connection, self._uncertain = connection, False

    async def close(self) -> None:
        """Let go of the file."""
        self._drop()
        if self._lock is not None:
            self._lock.release()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _get_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreFailed("database is closed", uncertain=False)
        return self._connection


def _roll_back(connection: sqlite3.Connection) -> None:
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _judge(batch: Batch, entry: Entry) -> Outcome | None:
    try:
        return batch.judge(entry)
    except _ENTRY_FAULTS as error:
        return _reject(entry, error)


def _reject(entry: Entry, error: Exception) -> Outcome:
    return Outcome(entry.id, "rejected", reason=f"the store cannot hold it: {error}")


def open_reader(path: Path) -> ConnectionLedger:
    """The reading half for other processes: read-only, opened at the first question, again after a failure."""
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

    return ConnectionLedger(connect, drop)


def _connect_memory() -> sqlite3.Connection:
    return sqlite3.connect(MEMORY, isolation_level=None, check_same_thread=False)


def _open_file(path: Path, connection_type: type[sqlite3.Connection]) -> SQLiteStore:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = WriterLock(path)
    except OSError as error:
        raise ConfigError(str(path), f"database cannot be created: {error.strerror}") from error

    def connect() -> sqlite3.Connection:
        return _connect_file(path, connection_type)

    with contextlib.ExitStack() as undo:
        undo.callback(lock.release)
        try:
            check_ours(path)
            # SQLite gives the log and its index the mode of the database, so that is made first.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            _sign_new_file(path)
            connection = undo.enter_context(contextlib.closing(connect()))
            pending = find_pending(connection)
            if pending is not None:
                keep_before(path, pending)
            migrate(connection, where=str(path))
            store = SQLiteStore(connection, connect, lock)
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(str(path), f"database cannot be opened: {error}") from error
        undo.pop_all()
    return store


def _sign_new_file(path: Path) -> None:
    """Say in the header of an empty file whose it is, before a log exists: a crash may leave only the header."""
    if path.stat().st_size == 0:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _connect_file(path: Path, connection_type: type[sqlite3.Connection]) -> sqlite3.Connection:
    # Threads: a commit may run on another thread than the one that opened, never on two at once.
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, factory=connection_type
    )
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "fullfsync = ON",
        "trusted_schema = OFF",
        f"cache_size = -{_CACHE_KIB}",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection
