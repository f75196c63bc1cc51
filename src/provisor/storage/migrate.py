"""From an empty file, or the schema of an older program, to the schema of this one."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator
from importlib import resources
from typing import Final

from provisor import __version__
from provisor.errors import ConfigError
from provisor.storage.locate import APPLICATION_ID

OLDEST_PROGRAM: Final = "0.2.0"
"""The oldest program that may write to a database of the newest schema."""


def find_pending(connection: sqlite3.Connection) -> int | None:
    """The schema that `migrate` would make of the one that is there; None if there is nothing to do, or none yet.

    Raises `sqlite3.Error`.
    """
    version, newest = int(connection.execute("PRAGMA user_version").fetchone()[0]), len(list(_schemas()))
    return newest if 0 < version < newest else None


def migrate(connection: sqlite3.Connection, *, where: str, program: str = __version__) -> None:
    """Bring the schema up to date in one transaction, or leave the file as it was.

    A newer schema is accepted only if it names this program, or an older one, as the oldest that may use it.
    Raises `ConfigError`, `sqlite3.Error`.
    """
    schemas = list(_schemas())
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > len(schemas):
            _check_newer(connection, version, program, where)
        for number, script in enumerate(schemas[version:], start=version + 1):
            for statement in _statements(script):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        if version < len(schemas):
            _record(connection, len(schemas))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _schemas() -> Iterator[str]:
    """The numbered SQL files, in their order: 0001 first, none left out."""
    folder = resources.files("provisor.storage") / "schema"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    for file in files:
        yield file.read_text(encoding="utf-8")


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _record(connection: sqlite3.Connection, version: int) -> None:
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('authority_id', ?)", (str(uuid.uuid4()),))
    for key, value in (("schema_version", str(version)), ("oldest_program", OLDEST_PROGRAM)):
        connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))


def _check_newer(connection: sqlite3.Connection, version: int, program: str, where: str) -> None:
    meta = dict(connection.execute("SELECT key, value FROM meta WHERE key IN ('schema_version', 'oldest_program')"))
    oldest = meta.get("oldest_program", "")
    if meta.get("schema_version") != str(version) or not oldest or _parse(oldest) > _parse(program):
        remedy = f"run version {oldest} or newer" if oldest else "run a newer version"
        raise ConfigError(where, f"the database has schema {version}, newer than this program ({program}): {remedy}")


def _parse(version: str) -> tuple[int, ...]:
    """Numbers of a version, for comparing; what follows the third number does not count."""
    numbers = [int(part) if part.isdecimal() else 0 for part in version.split(".")[:3]]
    return tuple(numbers + [0] * (3 - len(numbers)))


def is_older(version: str, than: str) -> bool:
    return _parse(version) < _parse(than)
