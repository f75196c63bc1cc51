"""A file that is about to get another schema is copied first."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from provisor.storage import migrate as migrating
from provisor.storage.migrate import migrate
from provisor.storage.sqlite import SQLiteStore
from support.coroutines import finish


def version(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The schemas of this program, which a test may shorten and lengthen."""
    known = list(migrating._schemas())
    monkeypatch.setattr(migrating, "_schemas", lambda: iter(known))
    return known


def start(path: Path) -> None:
    finish(SQLiteStore.open(path).close())


def test_of_a_new_file_and_of_one_that_is_up_to_date_there_is_no_copy(tmp_path: Path) -> None:
    start(tmp_path / "db")
    start(tmp_path / "db")
    assert not list(tmp_path.glob("*before*"))


def test_each_migration_leaves_a_copy_and_the_newest_two_are_kept(tmp_path: Path, scripts: list[str]) -> None:
    path = tmp_path / "db"
    start(path)
    first = len(scripts)
    for number in range(4):
        scripts.append(f"CREATE TABLE added_{number} (key TEXT) STRICT;")
        start(path)
    kept = sorted(tmp_path.glob("db.before-schema-*"))
    assert [each.name for each in kept] == [f"db.before-schema-{first + n}" for n in (3, 4)]
    assert [version(each) for each in kept] == [first + 2, first + 3]
    assert all(each.stat().st_mode & 0o777 == 0o600 for each in kept)


def test_the_copy_of_the_first_release_is_a_database_that_can_be_started(tmp_path: Path, scripts: list[str]) -> None:
    later = scripts[1:]
    del scripts[1:]
    with contextlib.closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as connection:
        migrate(connection, where="db")
        connection.execute("INSERT INTO issuers (id, certificate, state) VALUES (zeroblob(32), x'30', 'active')")
        connection.execute(
            "INSERT INTO certificates VALUES (1, x'8101', x'8101', NULL, 1, 2, 'jwk/ci', 'ci', 'JWK', x'', 0, x'3000')"
        )
    scripts += later
    start(tmp_path / "db")
    (copy,) = tmp_path.glob("db.before-schema-*")
    start(copy)
    for path in (tmp_path / "db", copy):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            row = connection.execute(
                "SELECT p.id, p.name, p.kind, c.der FROM certificates c JOIN provisioners p ON p.n = c.provisioner_n"
            ).fetchall()
        assert row == [("jwk/ci", "ci", "JWK", b"0\x00")]
