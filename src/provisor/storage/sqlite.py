"""SQLite: one file, one writer, durable when `commit` returns; or one database in memory.

Write-ahead log with `synchronous=FULL`: every commit is one fsync of the log. Checkpoints run in the
writer, as part of a commit (7 ms at most, measured); from another process the log only grew.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, final

from provisor.errors import ConfigError
from provisor.ports import Entry, EntryID, Ledger, Outcome
from provisor.storage import queries
from provisor.storage.base import SignedCertificate, StoreFailed
from provisor.storage.batch import HIGH_WATER, Batch
from provisor.storage.ledger import ConnectionLedger
from provisor.storage.locate import WriterLock, check_ours
from provisor.storage.migrate import migrate

MEMORY: Final = ":memory:"
_OLDEST_SQLITE: Final = (3, 37, 0)
_BUSY_SECONDS: Final = 5.0

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


@final
class SQLiteStore:
    """The writing half, and the reading half over the same connection. See `storage.base.Store`."""

    def __init__(self, path: Path | None, connection: sqlite3.Connection, lock: WriterLock | None) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = connection
        self._lock = lock
        self._high_water = queries.health(connection).high_water
        self.ledger: Ledger = ConnectionLedger(self._get_connection, lambda: None)

    @staticmethod
    def open(path: Path | str) -> SQLiteStore:
        """Open or create the database; `:memory:` is one that nobody else sees and that ends with us.

        Raises `ConfigError` when the file is not ours, is newer than this program, or has a writer already.
        """
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise ConfigError("", f"SQLite {sqlite3.sqlite_version} is too old: 3.37 is needed")
        if str(path) == MEMORY:
            connection = _connect_memory()
            migrate(connection, where=MEMORY)
            return SQLiteStore(None, connection, None)
        return _open_file(Path(path))

    # -- committing -----------------------------------------------------------------------------

    def precheck(self, entries: Sequence[Entry], *, now: int) -> list[Outcome | None]:
        """See `Store.precheck`."""
        try:
            batch = Batch(self._get_connection(), now=now, high_water=self._high_water)
            return [_judge(batch, entry) for entry in entries]
        except sqlite3.Error as error:
            raise StoreFailed(f"database cannot be read: {error}", uncertain=False) from error

    def commit(
        self, entries: Sequence[Entry], certificates: Mapping[EntryID, SignedCertificate], *, now: int
    ) -> list[Outcome]:
        """See `Store.commit`. All entries together; one by one only if a value of one of them breaks that."""
        try:
            return self._transact(lambda: self._admit_together(entries, certificates, now), now)
        except _ENTRY_FAULTS:
            return self._transact(lambda: self._admit_singly(entries, certificates, now), now)

    def find_outcome(self, entry: EntryID) -> Outcome | None:
        """See `Store.find_outcome`."""
        try:
            return queries.find_outcome(self._get_connection(), entry)
        except sqlite3.Error as error:
            raise StoreFailed(f"database cannot be read: {error}", uncertain=False) from error

    def touch(self, *, now: int) -> None:
        """See `Store.touch`."""
        self._high_water = min(self._high_water, now - 1)
        self._transact(list, now)

    def _admit_together(
        self, entries: Sequence[Entry], certificates: Mapping[EntryID, SignedCertificate], now: int
    ) -> list[Outcome]:
        batch = Batch(self._get_connection(), now=now, high_water=self._high_water)
        outcomes = [batch.admit(entry, certificates.get(entry.id)) for entry in entries]
        batch.flush()
        return outcomes

    def _admit_singly(
        self, entries: Sequence[Entry], certificates: Mapping[EntryID, SignedCertificate], now: int
    ) -> list[Outcome]:
        return [self._admit_one(entry, certificates.get(entry.id), now) for entry in entries]

    def _admit_one(self, entry: Entry, signed: SignedCertificate | None, now: int) -> Outcome:
        connection = self._get_connection()
        connection.execute("SAVEPOINT entry")
        try:
            batch = Batch(connection, now=now, high_water=self._high_water)
            outcome = batch.admit(entry, signed)
            batch.flush()
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
            high_water = self._raise_high_water(connection, now)
            committing = True
            connection.execute("COMMIT")
        except _ENTRY_FAULTS:
            self._roll_back(connection)
            raise
        except sqlite3.Error as error:
            self._roll_back(connection)
            uncertain = committing and error.sqlite_errorcode not in _NEVER_COMMITTED
            raise StoreFailed(f"database cannot be written: {error}", uncertain=uncertain) from error
        except BaseException:
            self._roll_back(connection)
            raise
        self._high_water = high_water
        return outcomes

    def _raise_high_water(self, connection: sqlite3.Connection, now: int) -> int:
        if now <= self._high_water:
            return self._high_water
        connection.execute(
            "INSERT INTO meta VALUES (?, ?)"
            " ON CONFLICT DO UPDATE SET value = max(CAST(value AS INTEGER), CAST(excluded.value AS INTEGER))",
            (HIGH_WATER, str(now)),
        )
        return now

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    # -- connections ----------------------------------------------------------------------------

    def reopen(self) -> None:
        """See `Store.reopen`. A database in memory stays as it is.

        After a failed fsync nobody knows what of the log is on the disk. Copying the log, as it reads
        now, into the database and starting another one settles it: what is found from here on is durable.
        """
        if self._path is None:
            return
        self._drop()
        try:
            connection = _connect_file(self._path)
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            high_water = queries.health(connection).high_water
        except (sqlite3.Error, OSError) as error:
            raise StoreFailed(f"database cannot be opened: {error}", uncertain=False) from error
        if busy:
            connection.close()
            raise StoreFailed("database is read without pause and cannot be reopened", uncertain=False)
        self._connection, self._high_water = connection, high_water

    def close(self) -> None:
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


def _open_file(path: Path) -> SQLiteStore:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = WriterLock(path)
    except OSError as error:
        raise ConfigError(str(path), f"database cannot be created: {error.strerror}") from error
    try:
        check_ours(path)
        # SQLite gives the log and its index the mode of the database, so that is made first.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = _connect_file(path)
        migrate(connection, where=str(path))
        return SQLiteStore(path, connection, lock)
    except (sqlite3.Error, OSError) as error:
        lock.release()
        raise ConfigError(str(path), f"database cannot be opened: {error}") from error
    except BaseException:
        lock.release()
        raise


def _connect_file(path: Path) -> sqlite3.Connection:
    # Threads: a commit may run on another thread than the one that opened, never on two at once.
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "fullfsync = ON", "trusted_schema = OFF"):
        connection.execute(f"PRAGMA {pragma}")
    return connection
