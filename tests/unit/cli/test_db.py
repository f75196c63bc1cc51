"""The commands on the database, as an operator runs them."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import stat
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench import rows
from provisor.cli.database import shown_progress
from provisor.storage.locate import WriterLock
from support.command_line import Desk

COUNT = 30


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    made = Desk(tmp_path, monkeypatch, capsys)
    rows.fill(made.cwd / "ca.db", COUNT, now=datetime.now(UTC))
    return made


def damage(desk: Desk, name: str) -> None:
    with contextlib.closing(sqlite3.connect(desk.cwd / name)) as connection, connection:
        connection.execute("UPDATE certificates SET not_after = 5 WHERE rowid = 3")


def test_a_backup_says_what_it_wrote(desk: Desk) -> None:
    ended = desk.run("db backup --db ca.db copy.db")
    assert (ended.status, ended.stderr) == (0, "")
    assert f"certificates          {COUNT}" in ended.stdout
    assert "provisor-tree-head-v1" in ended.stdout
    assert stat.S_IMODE((desk.cwd / "copy.db").stat().st_mode) == 0o600


def test_in_a_folder_it_is_named_after_the_time_and_told_as_json(desk: Desk) -> None:
    (desk.cwd / "folder").mkdir()
    ended = desk.run("db backup --db ca.db --json folder")
    told = json.loads(ended.stdout)
    assert told["rows"]["certificates"] == COUNT
    assert [str(path.relative_to(desk.cwd)) for path in (desk.cwd / "folder").iterdir()] == [told["path"]]


def test_a_backup_is_not_overwritten_unawares(desk: Desk) -> None:
    desk.write("copy.db", "precious")
    ended = desk.run("db backup --db ca.db copy.db")
    assert (ended.status, ended.stderr) == (1, "copy.db is there already: --force to replace it\n")
    assert desk.run("db backup --db ca.db --force copy.db").status == 0


def test_a_sound_database_is_said_to_be(desk: Desk) -> None:
    ended = desk.run("db check --db ca.db --no-signatures")
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"✔ Sound: {COUNT} certificates compared")


def test_faults_are_listed_and_end_with_status_1(desk: Desk) -> None:
    damage(desk, "ca.db")
    ended = desk.run("db check --db ca.db --no-signatures")
    assert (ended.status, ended.stderr) == (1, "the database is not as it was: 1 fault\n")
    assert "✗ certificate" in ended.stdout
    told = json.loads(desk.run("db check --db ca.db --no-signatures --json").stdout)
    assert len(told["faults"]) == 1


def test_signatures_are_verified_unless_told_otherwise(desk: Desk) -> None:
    ended = desk.run("db check --db ca.db")
    assert ended.stderr == f"the database is not as it was: {COUNT} faults\n"


@pytest.mark.parametrize("sample", ["0", "-1"])
def test_a_sample_is_at_least_one(desk: Desk, sample: str) -> None:
    assert desk.run(f"db check --db ca.db --sample={sample}").stderr == "flag '--sample' must be at least 1\n"


def test_restore_says_what_it_set_and_what_is_unknown(desk: Desk) -> None:
    assert desk.run("db backup --db ca.db copy.db").status == 0
    ended = desk.run("db restore --db ca.db --no-signatures copy.db")
    assert (ended.status, ended.stderr) == (0, "")
    assert "refused if issued before" in ended.stdout
    assert "ca.db.before-restore-" in ended.stdout
    assert "Unknown: whatever was issued or revoked from" in ended.stdout
    assert desk.run("db check --db ca.db --no-signatures").status == 0


def test_restore_only_looks_if_that_is_asked_for(desk: Desk) -> None:
    desk.run("db backup --db ca.db copy.db")
    before = (desk.cwd / "ca.db").read_bytes()
    told = json.loads(desk.run("db restore --db ca.db --no-signatures --check-only --json copy.db").stdout)
    assert told["changes"] is None
    damage(desk, "copy.db")
    ended = desk.run("db restore --db ca.db --no-signatures --check-only copy.db")
    assert (ended.status, ended.stderr) == (1, "the backup does not hold: 1 fault\n")
    assert (desk.cwd / "ca.db").read_bytes() == before


def test_restore_and_copy_refuse_while_a_server_runs(desk: Desk) -> None:
    desk.run("db backup --db ca.db copy.db")
    lock = WriterLock(desk.cwd / "ca.db")
    for words in ("db restore --db ca.db copy.db", "db copy --db ca.db --to other.db", "db migrate --db ca.db"):
        ended = desk.run(words)
        assert ended.status == 2, words
        assert "in use by process" in ended.stderr
    assert desk.run("db backup --db ca.db --force copy.db").status == 0
    lock.release()


def test_copy_makes_another_file_and_never_over_one(desk: Desk) -> None:
    ended = desk.run("db copy --db ca.db --to other.db")
    assert (ended.status, ended.stderr) == (0, "")
    assert desk.run("db check --db other.db --no-signatures").status == 0
    assert desk.run("db copy --db ca.db --to other.db").stderr == "other.db is there already\n"


def test_migrate_leaves_a_file_that_is_up_to_date(desk: Desk) -> None:
    ended = desk.run("db migrate --db ca.db")
    assert (ended.status, ended.stderr) == (0, "✔ Migrated: ca.db\n")


@pytest.mark.parametrize("words", ["backup copy", "check", "copy --to other", "migrate"])
def test_a_file_that_is_not_there_is_an_error(desk: Desk, words: str) -> None:
    ended = desk.run(f"db {words} --db nothing.db")
    assert ended.status == 1
    assert ended.stderr.startswith("open nothing.db failed: no such file")
    assert not (desk.cwd / "nothing.db").exists()


@pytest.mark.parametrize("words", ["backup copy.db", "check", "restore ca.db", "copy --to other.db"])
def test_what_is_not_ours_is_refused(desk: Desk, words: str) -> None:
    with contextlib.closing(sqlite3.connect(desk.cwd / "foreign.db")) as connection:
        connection.execute("CREATE TABLE theirs (key TEXT)")
    words = words.replace("ca.db", "foreign.db") if words.startswith("restore") else words
    ended = desk.run(f"db {words} --db {'new.db' if words.startswith('restore') else 'foreign.db'}")
    assert ended.status == 2
    assert "not a database of Provisor" in ended.stderr


@pytest.mark.parametrize(
    ("words", "label"),
    [
        ("db backup --db ca.db --fast copy.db", "Copying"),
        ("db check --db ca.db --no-signatures", "Checking"),
        ("db restore --db ca.db --no-signatures --check-only ca.db", "Checking"),
        ("db restore --db new.db --no-signatures ca.db", "Restoring"),
        ("ca audit verify --db ca.db --fast", "Verifying"),
    ],
)
def test_on_a_terminal_long_work_shows_how_far_it_is(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, words: str, label: str
) -> None:
    assert "\r" not in desk.run(words).stderr
    for made in ("copy.db", "new.db"):
        (desk.cwd / made).unlink(missing_ok=True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    shown = desk.run(words).stderr
    assert f"\r{label} [" in shown
    assert shown.endswith("\r\033[K"), "the line is gone at the end"
    for made in ("copy.db", "new.db"):
        (desk.cwd / made).unlink(missing_ok=True)
    if "--fast" not in words or "backup" in words:
        assert desk.run(f"{words} --json").stderr == ""


def test_where_nobody_knows_the_total_it_shows_how_much_there_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with shown_progress("Dumping") as progress:
        assert progress is not None
        progress(1_234_567, 0)
    assert capsys.readouterr().err == "\r\033[KDumping 1.2 MB\r\033[K"
