"""Copies of a SQLite database while it is written: of one moment, a little at a time, and looked at before they count.

The copy is made under one read transaction, so that no commit makes it begin again; meanwhile the log of the
database only grows. Before the transaction ends, this process stands ready to take over the copying of the log into
the database, which otherwise would fall, all of it, to the writer's next commit.
"""

from __future__ import annotations

import contextlib
import glob
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from provisor.errors import ConfigError
from provisor.storage import archive_log
from provisor.storage.locate import APPLICATION_ID

BACKUP_AT: Final = "backup_at"
"""Meta of a copy: when it was made (unix seconds)."""

TABLES: Final = (
    *("issuers", "provisioners", "certificates", "expired_certificates", "revocations", "spent_tokens", "events"),
    *("log_tiles", "log_heads", "terms", "crls"),
)
"""What is counted of a database."""

_PAGES: Final = 128
_PAUSE_SECONDS: Final = 0.002
_SYNC_PAGES: Final = 2048
"""Pages of a step, the pause behind it, and how many pages the disk is given before we wait for it."""

_BEFORE: Final = ".before-schema-"
_KEPT: Final = 2

_SMALL_LOG: Final = 500
_TAKEOVER_SECONDS: Final = 60.0
_BUSY_SECONDS: Final = 5.0

Progress = Callable[[int, int], None]
"""Hears how much is done, and of how much."""


class Position(Struct, frozen=True):
    """Where a database stands. `head` is the text of the newest signed head of the audit log, "" if there is none."""

    authority: str
    schema: int
    high_water: int
    epoch: int
    log_end: int
    log_size: int
    head: str


class Copied(Struct, frozen=True):
    """A copy that was made and looked at."""

    path: str
    octets: int
    at: int
    position: Position
    rows: dict[str, int]


def open_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Raises `ConfigError` if it is not a database of ours, `sqlite3.Error`."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        (ours,) = connection.execute("PRAGMA application_id").fetchone()
        if ours != APPLICATION_ID:
            raise ConfigError(str(path), "is not a database of Provisor")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise ConfigError(str(path), f"cannot be read: {error}") from error
    except ConfigError:
        connection.close()
        raise
    return connection


def read_position(connection: sqlite3.Connection) -> Position:
    """Raises `sqlite3.Error`."""
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    head = connection.execute("SELECT size, text FROM log_heads ORDER BY size DESC LIMIT 1").fetchone()
    return Position(
        authority=meta.get("authority_id", ""),
        schema=int(meta.get("schema_version", "0")),
        high_water=int(meta.get("high_water", "0")),
        epoch=int(meta.get("epoch", "0")),
        log_end=archive_log.next_place(connection) - 1,
        log_size=head[0] if head else 0,
        head=head[1].decode("ascii", "replace") if head else "",
    )


def count_rows(connection: sqlite3.Connection) -> dict[str, int]:
    """How many rows each table has. Raises `sqlite3.Error`."""
    return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}


def find_damage(connection: sqlite3.Connection) -> list[str]:
    """What SQLite itself finds wrong. Raises `sqlite3.Error`."""
    found = [text for (text,) in connection.execute("PRAGMA integrity_check(100)") if text != "ok"]
    for table, row, other, _ in connection.execute("PRAGMA foreign_key_check"):
        found.append(f"{table} row {row}: refers to a row of {other} that is not there")
    return found


# -- making one -------------------------------------------------------------------------------------


def back_up(source: Path, target: Path, *, now: int, progress: Progress | None = None, verify: bool = True) -> Copied:
    """Copy a database that may be in use to the file `target`, which appears when it is whole and verified.

    The file is for its owner only. Raises `ConfigError` when `source` is not ours or cannot be read, or the copy is
    damaged.
    """
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with _fresh_file(unfinished):
            _copy(source, unfinished, progress)
            copied = _finish(unfinished, target, now, verify=verify)
            os.replace(unfinished, target)
            sync_folder(target.parent)
    except (sqlite3.Error, OSError) as error:
        raise ConfigError(str(source), f"backup failed: {error}") from error
    return copied


def copy_database(source: Path, target: Path, progress: Progress | None = None) -> None:
    """The database of one moment as the file `target`, for its owner only, which is no backup yet.

    Raises `ConfigError` when it is not ours, `sqlite3.Error`, `OSError`.
    """
    target.unlink(missing_ok=True)
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    _copy(source, target, progress)
    with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")


def keep_before(database: Path, schema: int) -> Path:
    """A copy of a database that is about to get another schema; of such copies the newest two are kept.

    Raises `ConfigError`, `sqlite3.Error`, `OSError`.
    """
    target = database.with_name(f"{database.name}{_BEFORE}{schema}")
    unfinished = target.with_name(f".{target.name}.part")
    copy_database(database, unfinished)
    os.replace(unfinished, target)
    sync_folder(target.parent)
    kept = sorted(database.parent.glob(f"{glob.escape(database.name)}{_BEFORE}*"), key=_schema_of)
    for old in kept[:-_KEPT]:
        old.unlink(missing_ok=True)
    return target


def _schema_of(copy: Path) -> int:
    number = copy.name.rpartition(_BEFORE)[2]
    return int(number) if number.isdecimal() else -1


@contextlib.contextmanager
def _fresh_file(path: Path) -> Iterator[None]:
    """An empty file for its owner; whatever is left of it and its journal afterwards is removed."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        yield
    finally:
        for each in (path, *(path.with_name(path.name + suffix) for suffix in ("-journal", "-wal", "-shm"))):
            each.unlink(missing_ok=True)


def _copy(source: Path, target: Path, progress: Progress | None) -> None:
    descriptor = os.open(target, os.O_RDWR)
    unsynced = 0

    def step(_status: int, remaining: int, total: int) -> None:
        nonlocal unsynced
        unsynced += _PAGES
        if unsynced >= _SYNC_PAGES:
            # Else the disk would be given all of it at once, and the server's own fsync would wait behind it.
            os.fdatasync(descriptor)
            unsynced = 0
        if progress is not None:
            progress(total - remaining, total)
        time.sleep(_PAUSE_SECONDS)

    try:
        with (
            contextlib.closing(open_reading(source)) as reading,
            contextlib.closing(sqlite3.connect(target, isolation_level=None)) as writing,
        ):
            writing.execute("PRAGMA synchronous = OFF")
            reading.execute("BEGIN")
            reading.execute("SELECT count(*) FROM meta").fetchone()
            with _taking_over(source) as stand_ready:
                reading.backup(writing, pages=_PAGES, progress=step, sleep=0)
                stand_ready()
                reading.execute("COMMIT")
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _taking_over(source: Path) -> Iterator[Callable[[], None]]:
    """At the end of the block, copy the log into the database from here until the writer's share is small again.

    What it gives is to be called shortly before the database is let go of, so that nobody is faster.
    Somebody who checkpoints is not waited for: the writer then leaves it alone, and readers do not notice.
    """
    try:
        connection = sqlite3.connect(
            f"{source.absolute().as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error:
        yield lambda: None
        return
    begin, stop = threading.Event(), threading.Event()

    def checkpoint() -> None:
        begin.wait()
        deadline = time.monotonic() + _TAKEOVER_SECONDS
        while time.monotonic() < deadline:
            try:
                busy, log, done = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            except sqlite3.Error:
                return
            if stop.is_set() and not busy and log - done < _SMALL_LOG:
                return

    thread = threading.Thread(target=checkpoint, name="checkpoint", daemon=True)
    thread.start()
    try:
        yield begin.set
    finally:
        begin.set()
        stop.set()
        thread.join()
        connection.close()


def _finish(path: Path, target: Path, now: int, *, verify: bool) -> Copied:
    """Look at the copy, note in it when it was made, and have it on the disk."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = FULL")
        damage = find_damage(connection) if verify else []
        if damage:
            raise ConfigError(str(target), f"the copy is damaged, as the database may be: {damage[0]}")
        connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (BACKUP_AT, str(now)))
        position, rows = read_position(connection), count_rows(connection)
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
        octets = os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
    return Copied(str(target), octets, now, position, rows)


def sync_folder(folder: Path) -> None:
    """Names in it are durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
