from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

import pytest

from provisor.errors import ConfigError, Unavailable
from provisor.ports import Entry, PutMeta
from provisor.storage.base import StoreFailed
from provisor.storage.sqlite import SQLiteStore, open_reader
from support.coroutines import finish
from support.entries import NOW, entry, known_issuers, signing, spending


class FaultyConnection(sqlite3.Connection):
    """A connection whose next COMMIT fails, before or after the log is written; or that cannot be opened."""

    fault: ClassVar[int] = 0
    written: ClassVar[bool] = False
    broken: ClassVar[bool] = False

    def execute(self, sql: str, parameters: Iterable[object] = (), /) -> sqlite3.Cursor:  # type: ignore[override]
        if FaultyConnection.broken:
            raise failure(sqlite3.SQLITE_CANTOPEN)
        if sql == "COMMIT" and FaultyConnection.fault:
            code, FaultyConnection.fault = FaultyConnection.fault, 0
            if FaultyConnection.written:
                super().execute(sql)
            raise failure(code)
        return super().execute(sql, tuple(parameters))


def failure(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("injected")
    error.sqlite_errorcode = code
    return error


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], SQLiteStore]:
    for name in ("fault", "written", "broken"):
        monkeypatch.setattr(FaultyConnection, name, getattr(FaultyConnection, name))
    return lambda: SQLiteStore.open(tmp_path / "ca.db", connection_type=FaultyConnection)


def commit(store: SQLiteStore, one: Entry) -> str:
    outcome = finish(store.commit([one], signing(None), now=NOW))[0]
    return outcome.guard or outcome.status


def test_what_was_committed_is_there_after_a_new_start(tmp_path: Path) -> None:
    store = SQLiteStore.open(tmp_path / "ca.db")
    assert commit(store, spending("t")) == "committed"
    finish(store.close())
    store = SQLiteStore.open(tmp_path / "ca.db")
    assert commit(store, spending("t")) == "unspent"
    assert finish(store.health()).high_water == NOW
    finish(store.close())


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        store = SQLiteStore.open(tmp_path / "db" / "ca.db")
        commit(store, known_issuers())
    finally:
        os.umask(umask)
    assert (tmp_path / "db").stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "db").iterdir()}
    assert modes == dict.fromkeys(("ca.db", "ca.db-wal", "ca.db-shm", "ca.db.lock"), 0o600)
    finish(store.close())


def test_a_commit_is_durable_at_once_and_readers_do_not_wait(tmp_path: Path) -> None:
    store = SQLiteStore.open(tmp_path / "ca.db")
    mode, level = (
        store._get_connection().execute(f"PRAGMA {p}").fetchone()[0] for p in ("journal_mode", "synchronous")
    )
    assert (mode, level) == ("wal", 2)
    finish(store.close())


def test_a_second_store_on_the_same_file_is_refused(tmp_path: Path) -> None:
    store = SQLiteStore.open(tmp_path / "ca.db")
    with pytest.raises(ConfigError, match="in use by process"):
        SQLiteStore.open(tmp_path / "ca.db")
    finish(store.close())
    finish(SQLiteStore.open(tmp_path / "ca.db").close())


def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "ca.db").write_bytes(b"not a database")
    for _ in range(2):  # the first refusal must have let go of the lock
        with pytest.raises(ConfigError, match="not a database of Provisor"):
            SQLiteStore.open(tmp_path / "ca.db")
    assert (tmp_path / "ca.db").read_bytes() == b"not a database"


def test_a_folder_that_cannot_be_made_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be created"):
        SQLiteStore.open(tmp_path / "file" / "ca.db")


def test_a_full_disk_writes_nothing_and_says_so_for_certain(tmp_path: Path) -> None:
    store = SQLiteStore.open(tmp_path / "ca.db")
    pages = store._get_connection().execute("PRAGMA page_count").fetchone()[0]
    store._get_connection().execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreFailed) as failed:
        commit(store, entry(PutMeta("big", "x" * 100_000)))
    assert not failed.value.uncertain
    assert finish(store.health()).writable
    finish(store.reopen())
    assert commit(store, entry(PutMeta("big", "x" * 100_000))) == "committed"
    finish(store.close())


@pytest.mark.parametrize(
    ("code", "uncertain"),
    [
        (sqlite3.SQLITE_IOERR_FSYNC, True),
        (sqlite3.SQLITE_FULL, False),
        (sqlite3.SQLITE_IOERR_WRITE, False),
        (sqlite3.SQLITE_IOERR, True),
    ],
)
def test_a_commit_that_failed_is_uncertain_unless_the_log_was_not_written(
    code: int, uncertain: bool, faulty: Callable[[], SQLiteStore]
) -> None:
    store = faulty()
    FaultyConnection.fault = code
    with pytest.raises(StoreFailed) as failed:
        commit(store, spending("t"))
    assert failed.value.uncertain is uncertain
    finish(store.close())


@pytest.mark.parametrize("written", [True, False])
def test_reopening_settles_what_a_failed_fsync_left_open(
    written: bool, faulty: Callable[[], SQLiteStore], tmp_path: Path
) -> None:
    store = faulty()
    FaultyConnection.fault, FaultyConnection.written = sqlite3.SQLITE_IOERR_FSYNC, written
    one = spending("t")
    with pytest.raises(StoreFailed):
        commit(store, one)
    finish(store.reopen())
    assert (finish(store.find_outcome(one.id)) is not None) is written
    assert (tmp_path / "ca.db-wal").stat().st_size == 0
    assert commit(store, spending("t")) == ("unspent" if written else "committed")
    finish(store.close())


def test_a_store_that_cannot_be_reopened_fails_until_it_can(faulty: Callable[[], SQLiteStore]) -> None:
    store = faulty()
    FaultyConnection.broken = True
    for use in (store.reopen(), store.health(), store.precheck([], now=NOW), store.touch(now=NOW)):
        with pytest.raises(StoreFailed):
            finish(use)
    with pytest.raises(StoreFailed):
        commit(store, spending("t"))
    FaultyConnection.broken = False
    finish(store.reopen())
    assert commit(store, spending("t")) == "committed"
    finish(store.close())


class TestReader:
    def test_it_sees_what_is_committed_and_cannot_write(self, tmp_path: Path) -> None:
        store = SQLiteStore.open(tmp_path / "ca.db")
        reader = open_reader(tmp_path / "ca.db")
        assert not asyncio.run(reader.is_spent("t"))
        commit(store, spending("t"))
        assert asyncio.run(reader.is_spent("t"))
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader._connect().execute("DELETE FROM tokens")
        reader.close()
        finish(store.close())

    def test_without_a_database_it_is_unavailable_until_there_is_one(self, tmp_path: Path) -> None:
        reader = open_reader(tmp_path / "ca.db")
        with pytest.raises(Unavailable):
            asyncio.run(reader.is_spent("t"))
        assert not (tmp_path / "ca.db").exists()
        store = SQLiteStore.open(tmp_path / "ca.db")
        assert not asyncio.run(reader.is_spent("t"))
        reader.close()
        finish(store.close())

    def test_a_read_error_is_unavailable_and_the_next_question_tries_again(self, tmp_path: Path) -> None:
        finish(SQLiteStore.open(tmp_path / "ca.db").close())
        good = (tmp_path / "ca.db").read_bytes()
        store = SQLiteStore.open(tmp_path / "ca.db")
        reader = open_reader(tmp_path / "ca.db")
        (tmp_path / "ca.db").write_bytes(b"x" * len(good))
        with pytest.raises(Unavailable):
            asyncio.run(reader.is_spent("t"))
        (tmp_path / "ca.db").write_bytes(good)
        assert not asyncio.run(reader.is_spent("t"))
        reader.close()
        finish(store.close())
