from __future__ import annotations

import sqlite3

import pytest

from provisor.errors import ConfigError
from provisor.storage.migrate import migrate

TABLES = {
    "meta",
    "issuers",
    "provisioners",
    "certificates",
    "expired_certificates",
    "revocations",
    "tokens",
    "events",
    "receipts",
    "log_tiles",
    "log_heads",
    "terms",
    "crls",
    "jobs",
    "sealing_keys",
}


def connect() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None)


def meta(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT key, value FROM meta"))


def test_an_empty_database_gets_the_newest_schema() -> None:
    connection = connect()
    migrate(connection, where="db")
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert tables == TABLES
    said = meta(connection)
    assert said["schema_version"] == "2" == str(connection.execute("PRAGMA user_version").fetchone()[0])
    assert said["oldest_program"] == "0.2.0"
    assert len(said["authority_id"]) == 36


def test_a_second_start_changes_nothing() -> None:
    connection = connect()
    migrate(connection, where="db")
    before = meta(connection)
    migrate(connection, where="db")
    assert meta(connection) == before


def newer(schema: int, oldest: str | None, recorded: int) -> sqlite3.Connection:
    connection = connect()
    migrate(connection, where="db")
    connection.execute(f"PRAGMA user_version = {schema}")
    connection.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (str(recorded),))
    if oldest is None:
        connection.execute("DELETE FROM meta WHERE key = 'oldest_program'")
    else:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'oldest_program'", (oldest,))
    return connection


@pytest.mark.parametrize(
    ("oldest", "recorded"), [("0.3.1", 9), ("0.4", 9), ("0.10.0", 9), ("1.0.0", 9), (None, 9), ("0.1.0", 1)]
)
def test_a_newer_schema_is_refused_naming_the_program_it_needs(oldest: str | None, recorded: int) -> None:
    connection = newer(9, oldest, recorded)
    with pytest.raises(ConfigError, match=oldest or "newer version"):
        migrate(connection, where="db", program="0.3.0")
    assert not connection.in_transaction


@pytest.mark.parametrize("oldest", ["0.3.0", "0.2.9", "0.1.0"])
def test_a_newer_schema_that_names_this_program_is_used(oldest: str) -> None:
    migrate(newer(9, oldest, 9), where="db", program="0.3.0")
