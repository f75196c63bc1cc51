"""From `db` of ca.json to a file of ours, refusing what step-ca left there; and one writer a file."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final, final

from provisor.config.ca_json import DatabaseSettings, DBConfig
from provisor.errors import ConfigError
from provisor.storage.postgresql.dsn import Target, Timeouts, parse_target

DATABASE_NAME: Final = "provisor.db"
APPLICATION_ID: Final = 0x50525653
"""`PRAGMA application_id` of our files: "PRVS"."""

_TYPE: Final = "ca.json: $.db.type"
_SOURCE: Final = "ca.json: $.db.dataSource"
_EMBEDDED_FOLDER: Final = frozenset({"badger", "badgerv1", "badgerv2"})
_BADGER_FILES: Final = frozenset({"MANIFEST", "KEYREGISTRY"})
_BADGER_SUFFIXES: Final = frozenset({".vlog", ".sst"})
_BBOLT_MAGIC: Final = (0xED0CDAED).to_bytes(4, "little")
_SQLITE_MAGIC: Final = b"SQLite format 3\x00"
_NOT_TAKEN_OVER: Final = "its revocations and spent tokens do not come along"


def locate_store(db: DBConfig, settings: DatabaseSettings) -> Path | Target:
    """Our database file, or the PostgreSQL database. Raises `ConfigError`."""
    if db.type.lower() != "postgresql":
        return locate(db.type, db.data_source)
    timeouts = Timeouts(statement=settings.statement_seconds, pause=settings.pause_seconds)
    return parse_target(db.data_source, db.database, password_file=settings.password_file, timeouts=timeouts)


def locate(db_type: str, data_source: str) -> Path:
    """Where our database file is. The types of step-ca's own databases mean a file of ours in the same place.

    Raises `ConfigError` for a type that has no meaning here, and when data of step-ca is there.
    """
    kind = db_type.lower()
    if kind == "mysql":
        reason = (
            f'db type "{db_type}" is not supported by this version; use "badgerv2", "bbolt", "sqlite" or "postgresql"'
        )
        raise ConfigError(_TYPE, f"{reason}; data of step-ca is not read: {_NOT_TAKEN_OVER}")
    if kind not in _EMBEDDED_FOLDER and kind not in ("bbolt", "sqlite"):
        raise ConfigError(_TYPE, f'unsupported db type "{db_type}"')
    if not data_source:
        raise ConfigError(_SOURCE, "is missing")
    source = Path(data_source)
    try:
        return _locate(kind, source)
    except OSError as error:
        raise ConfigError(_SOURCE, f"{source} cannot be read: {error.strerror}") from error


def _locate(kind: str, source: Path) -> Path:
    if kind in _EMBEDDED_FOLDER:
        if source.exists() and not source.is_dir():
            raise ConfigError(_SOURCE, f"{source} is a file; this type of database has a folder")
        _refuse_badger(source)
        return source / DATABASE_NAME
    if source.is_dir():
        _refuse_badger(source)
        raise ConfigError(_SOURCE, f"{source} is a folder; this type of database is a file")
    if kind == "bbolt":
        _refuse_bbolt(source)
        return source.with_name(source.name + "." + DATABASE_NAME)
    return source


def check_ours(path: Path) -> None:
    """That a file which is there, and not empty, is a database of ours. Raises `ConfigError`.

    Only for who holds the `WriterLock`: closing a file that SQLite has open in the same process would
    take SQLite's own locks away.
    """
    _refuse_bbolt(path)
    header = _read_header(path)
    if not header:
        return
    if not header.startswith(_SQLITE_MAGIC) or header[68:72] != APPLICATION_ID.to_bytes(4, "big"):
        raise ConfigError(_SOURCE, f"{path} is not a database of Provisor: give another db.dataSource")


def _refuse_badger(folder: Path) -> None:
    if not folder.is_dir():
        return
    for file in sorted(folder.iterdir()):
        if file.name in _BADGER_FILES or file.suffix in _BADGER_SUFFIXES:
            raise _foreign("Badger", file)


def _refuse_bbolt(path: Path) -> None:
    if _read_header(path)[16:20] == _BBOLT_MAGIC:
        raise _foreign("bbolt", path)


def _foreign(kind: str, path: Path) -> ConfigError:
    return ConfigError(
        _SOURCE,
        f"a {kind} database of step-ca is there ({path}), which Provisor does not read: "
        f"give another db.dataSource; {_NOT_TAKEN_OVER}",
    )


def _read_header(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(100)


@final
class WriterLock:
    """Exclusive for as long as it is held, even if the holder is killed: `<database>.lock` beside the file."""

    def __init__(self, database: Path) -> None:
        """Raises `ConfigError` naming the process that holds it."""
        path = database.with_name(database.name + ".lock")
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._fd, 20, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise ConfigError(str(database), f"in use by process {holder or 'unknown'}") from error
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another one in. The file stays: removing it would let two in at once."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
