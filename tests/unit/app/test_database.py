"""Backing up, checking and restoring the database of a CA that issued, renewed and revoked."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisor.app.db_check import Checked, Depth, check_database
from provisor.app.db_restore import Restored, Wish, restore
from provisor.app.jobs import JobRunner, schedule_first
from provisor.authority.log_report import Wrong
from provisor.authority.log_verify import Auditor, verify_log
from provisor.core.tree_head import SignedHead
from provisor.errors import ConfigError
from provisor.ports import Entry
from provisor.storage.archive import SQLiteArchive
from provisor.storage.backup import back_up, open_reading, read_position
from provisor.storage.restore import LEEWAY
from provisor.storage.sqlite import SQLiteStore
from support.authority import MemoryCA, make_config
from support.coroutines import finish
from support.credentials import make_csr, make_key, make_signer
from support.entries import NOW as ENTRY_NOW
from support.entries import known_issuers, signing, spending

DB = {"type": "sqlite", "dataSource": "/nowhere/provisor.db"}


@pytest.fixture
def ca() -> Iterator[MemoryCA]:
    signer = make_signer("ci")
    with MemoryCA(make_config(signer.entry(), crl={"enabled": True}, db=DB), signers=[signer]) as ca:
        ca.run(schedule_first(ca.snapshot))
        for _ in range(3):
            ca.issue()
        revoke(ca, ca.issue().certificate.serial_number)
        run_jobs(ca)
        yield ca


def run_jobs(ca: MemoryCA) -> None:
    jobs = JobRunner(lambda: ca.snapshot, lambda text: pytest.fail(text))
    for _ in range(3):
        ca.run(jobs.run_due())
        ca.clock.advance(seconds=2)


def revoke(ca: MemoryCA, serial: int) -> None:
    body = {"serial": str(serial), "ott": ca.revoke_token(serial), "reasonCode": 1, "passive": True}
    assert ca.call("POST", "/revoke", body).status == 200


def save(ca: MemoryCA, path: Path) -> Path:
    """The books of the CA as the file of one that is not running."""
    with contextlib.closing(sqlite3.connect(path)) as file:
        ca.store._get_connection().backup(file)
    return path


def change(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            assert connection.execute(statement).rowcount, statement


def check(path: Path, ca: MemoryCA, depth: Depth | None = None) -> Checked:
    archive = SQLiteArchive.open(path)
    return asyncio.run(check_database(archive, path, now=ca.clock.seconds, depth=depth or Depth()))


def restored(ca: MemoryCA, backup: Path, database: Path, wish: Wish | None = None) -> Restored:
    return restore(backup, database, wish or Wish(Depth()), now=ca.clock())


class TestBackup:
    def test_it_is_whole_verified_and_for_its_owner(self, ca: MemoryCA, tmp_path: Path) -> None:
        source = save(ca, tmp_path / "provisor.db")
        seen: list[tuple[int, int]] = []
        copied = back_up(source, tmp_path / "copy", now=7, progress=lambda *of: seen.append(of))
        assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600
        assert (copied.at, copied.rows["certificates"], copied.rows["revocations"]) == (7, 4, 1)
        assert copied.position.log_end == copied.position.log_size == 5
        assert copied.position.head.startswith("provisor-tree-head-v1\n")
        assert seen[-1][0] == seen[-1][1]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "provisor.db"]
        assert check(tmp_path / "copy", ca).passed

    def test_a_database_in_use_is_copied_as_it_is_at_one_moment(self, tmp_path: Path) -> None:
        path = tmp_path / "provisor.db"
        store = SQLiteStore.open(path)
        finish(store.commit([known_issuers(), spending("before")], signing(None, None), now=ENTRY_NOW))
        during: list[Entry] = []

        def meanwhile(_done: int, _total: int) -> None:
            during.append(spending(f"during-{len(during)}"))
            (outcome,) = finish(store.commit([during[-1]], signing(None), now=ENTRY_NOW))
            assert outcome.committed

        back_up(path, tmp_path / "copy", now=1, progress=meanwhile)
        assert during
        with contextlib.closing(open_reading(tmp_path / "copy")) as copy:
            assert copy.execute("SELECT count(*) FROM spent_tokens").fetchone() == (1,)
        finish(store.commit([spending("after")], signing(None), now=ENTRY_NOW))
        finish(store.close())

    def test_a_damaged_database_makes_no_backup(self, ca: MemoryCA, tmp_path: Path) -> None:
        source = save(ca, tmp_path / "provisor.db")
        with contextlib.closing(sqlite3.connect(source)) as connection:
            (page,) = connection.execute(
                "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_certificates_1'"
            ).fetchone()
        with source.open("r+b") as file:
            file.seek(page * 4096 - 100)
            file.write(bytes(100))
        with pytest.raises(ConfigError):
            back_up(source, tmp_path / "copy", now=7)
        assert [path.name for path in tmp_path.iterdir()] == ["provisor.db"]

    @pytest.mark.parametrize("content", [b"", b"SQLite format 3\x00" + bytes(4080), b"hello"])
    def test_what_is_no_database_of_ours_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "other").write_bytes(content)
        with pytest.raises(ConfigError):
            back_up(tmp_path / "other", tmp_path / "copy", now=7)


class TestCheck:
    def test_a_sound_database_has_no_faults(self, ca: MemoryCA, tmp_path: Path) -> None:
        checked = check(save(ca, tmp_path / "db"), ca)
        assert checked.faults == ()
        assert (checked.certificates, checked.events, checked.log_size) == (4, 5, 5)

    @pytest.mark.parametrize("depth", [Depth(signatures=False), Depth(sample=2), Depth(sample=1000)])
    def test_nor_when_it_is_looked_at_less_closely(self, ca: MemoryCA, tmp_path: Path, depth: Depth) -> None:
        assert check(save(ca, tmp_path / "db"), ca, depth).passed

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE certificates SET not_after = not_after + 1 WHERE rowid = 2",
            "UPDATE certificates SET not_before = 0 WHERE rowid = 2",
            "UPDATE certificates SET lineage = (SELECT serial FROM certificates WHERE rowid = 1) WHERE rowid = 2",
            "UPDATE certificates SET predecessor = (SELECT serial FROM certificates WHERE rowid = 1) WHERE rowid = 2",
            "UPDATE certificates SET der = (SELECT der FROM certificates WHERE rowid = 1) WHERE rowid = 2",
            "UPDATE certificates SET der = x'3000' WHERE rowid = 2",
            "DELETE FROM certificates WHERE rowid = 2",
            "DELETE FROM revocations",
            "UPDATE revocations SET reason_code = 4",
            "UPDATE events SET body = CAST(replace(body, 'a.test', 'b.test') AS BLOB) WHERE n = 2",
            "DELETE FROM events WHERE n = 2",
            "DELETE FROM terms WHERE term >= x'6c' AND term < x'6d'",
            "INSERT INTO terms (term, n) VALUES (x'6e', 999)",
            "UPDATE log_tiles SET hashes = zeroblob(length(hashes))",
            "UPDATE meta SET value = '99' WHERE key = 'projected'",
            "UPDATE certificates SET provisioner_n = 99 WHERE rowid = 2",
            "UPDATE issuers SET certificate = x'3000'",
            "UPDATE issuers SET certificate = (SELECT der FROM certificates)",
        ],
    )
    def test_whatever_was_changed_is_found(self, ca: MemoryCA, tmp_path: Path, statement: str) -> None:
        path = save(ca, tmp_path / "db")
        change(path, statement)
        assert not check(path, ca).passed


class TestRestore:
    @pytest.fixture
    def backup(self, ca: MemoryCA, tmp_path: Path) -> Path:
        back_up(save(ca, tmp_path / "source"), tmp_path / "backup", now=ca.clock.seconds)
        return tmp_path / "backup"

    def test_the_old_database_is_set_aside_and_the_backup_goes_on(
        self, ca: MemoryCA, backup: Path, tmp_path: Path
    ) -> None:
        database = save(ca, tmp_path / "provisor.db")
        report = restored(ca, backup, database)
        assert report.changes is not None
        assert Path(report.set_aside).exists()
        assert check(database, ca).passed
        with contextlib.closing(open_reading(database)) as connection:
            body = connection.execute("SELECT body FROM events ORDER BY n DESC LIMIT 1").fetchone()[0]
            meta = dict(connection.execute("SELECT key, value FROM meta"))
        assert b'"operation":"restore"' in body
        assert meta["log_forks"].startswith('[{"size":5,')
        assert "backup_at" not in meta
        assert int(meta["tokens_not_before"]) == ca.clock.seconds + LEEWAY

    def test_a_head_that_was_signed_behind_the_backup_is_told_from_a_forged_log(
        self, ca: MemoryCA, backup: Path, tmp_path: Path
    ) -> None:
        for _ in range(4):
            ca.issue()
        run_jobs(ca)
        record = ca.run(ca.store.archive.newest_head())
        assert record is not None
        lost = SignedHead(record.text, record.signature)
        database = tmp_path / "provisor.db"
        restored(ca, backup, database)
        with going_on(ca, database) as again:
            run_jobs(again)
            for accept in (False, True):
                auditor = Auditor(again.clock.seconds, (lost,), accept_restores=accept)
                report = again.run(verify_log(again.store.archive, auditor))
                assert [each.wrong for each in report.findings] == ([] if accept else [Wrong.LOG_RESTORED])

    def test_numbers_jump_over_those_that_may_have_been_given_out(
        self, ca: MemoryCA, backup: Path, tmp_path: Path
    ) -> None:
        before = ca.run(ca.store.ledger.find_crl_number(ca.snapshot.issuer.id))
        epoch = ca.run(ca.store.health()).epoch
        ca.clock.advance(days=3)
        report = restored(ca, backup, tmp_path / "provisor.db")
        assert before is not None
        assert report.changes is not None
        assert report.changes.epoch > epoch + 3 * 24 * 3600
        (number,) = report.changes.crl_numbers.values()
        assert number > before + 3 * 24 * 3600

    def test_the_ca_goes_on_and_takes_no_token_of_before(self, ca: MemoryCA, backup: Path, tmp_path: Path) -> None:
        spent = ca.token()
        body = {"csr": make_csr(make_key(), names=["a.test"]), "ott": spent}
        assert ca.call("POST", "/sign", body).status == 201
        ca.clock.advance(seconds=10)
        database = tmp_path / "provisor.db"
        report = restored(ca, backup, database)
        assert report.changes is not None
        with going_on(ca, database) as again:
            assert again.call("POST", "/sign", body).status == 401, "spent, and nobody remembers"
            again.clock.advance(seconds=LEEWAY - 1)
            assert again.call("POST", "/sign", {**body, "ott": again.token()}).status == 401
            again.clock.advance(seconds=1)
            assert again.call("POST", "/sign", {**body, "ott": again.token()}).status == 201
            unsaid = again.token(iat=..., nbf=...)
            assert again.call("POST", "/sign", {**body, "ott": unsaid}).status == 401
            run_jobs(again)
            newest = again.run(again.store.ledger.find_crl(again.snapshot.issuer.id))
            assert newest is not None
            assert newest.number > next(iter(report.changes.crl_numbers.values()))
            assert check(save(again, tmp_path / "later"), again).passed

    def test_what_was_issued_since_is_told_by_the_old_database(
        self, ca: MemoryCA, backup: Path, tmp_path: Path
    ) -> None:
        later = [ca.issue().certificate.serial_number for _ in range(2)]
        revoke(ca, later[0])
        database = save(ca, tmp_path / "provisor.db")
        with pytest.raises(ConfigError, match="3 events would be lost"):
            restored(ca, backup, database)
        ca.clock.advance(seconds=5)
        report = restored(ca, backup, database, Wish(Depth(), force=True))
        assert report.lost.issued == tuple(map(str, sorted(later)))
        assert [each.serial for each in report.lost.revocations] == [str(later[0])]
        assert all(int(report.lost.first_serial) <= serial <= int(report.lost.last_serial) for serial in later)

    def test_or_by_a_log(self, ca: MemoryCA, backup: Path, tmp_path: Path) -> None:
        old = ca.books().certificates[0]
        later = ca.issue().certificate.serial_number
        ca.clock.advance(seconds=5)
        log = tmp_path / "log"
        log.write_text(f'{{"serial":"{old}"}}\nlevel=info serial={later} status=201\n{{"serial": "1"}}\n')
        report = restored(ca, backup, tmp_path / "provisor.db", Wish(Depth(), tellers=(log,)))
        assert report.lost.issued == (str(later),)

    def test_looking_at_it_changes_nothing(self, ca: MemoryCA, backup: Path, tmp_path: Path) -> None:
        before = sorted(path.name for path in tmp_path.iterdir())
        report = restored(ca, backup, tmp_path / "provisor.db", Wish(Depth(), check_only=True))
        assert report.changes is None
        assert report.checked.passed
        assert sorted(path.name for path in tmp_path.iterdir()) == before

    def test_a_backup_that_does_not_hold_changes_nothing(self, ca: MemoryCA, backup: Path, tmp_path: Path) -> None:
        change(backup, "UPDATE certificates SET not_after = not_after + 1 WHERE rowid = 2")
        database = save(ca, tmp_path / "provisor.db")
        before = database.read_bytes()
        with pytest.raises(ConfigError, match="does not hold"):
            restored(ca, backup, database, Wish(Depth(), force=True))
        assert database.read_bytes() == before

    def test_not_while_a_server_runs(self, ca: MemoryCA, backup: Path, tmp_path: Path) -> None:
        database = save(ca, tmp_path / "provisor.db")
        store = SQLiteStore.open(database)
        with pytest.raises(ConfigError, match="in use by process"):
            restored(ca, backup, database, Wish(Depth(), force=True))
        finish(store.close())

    def test_not_over_the_database_of_another_authority(self, ca: MemoryCA, backup: Path, tmp_path: Path) -> None:
        database = save(ca, tmp_path / "provisor.db")
        change(database, "UPDATE meta SET value = 'another' WHERE key = 'authority_id'")
        with pytest.raises(ConfigError, match="another authority"):
            restored(ca, backup, database)

    def test_the_log_of_the_old_database_is_not_taken_for_that_of_the_new(
        self, ca: MemoryCA, backup: Path, tmp_path: Path
    ) -> None:
        """A server that was killed left commits in its write-ahead log."""
        database = save(ca, tmp_path / "provisor.db")
        store = SQLiteStore.open(database)
        finish(store.commit([spending("late")], signing(None), now=ca.clock.seconds))
        killed = {path.name: path.read_bytes() for path in tmp_path.glob("provisor.db*")}
        finish(store.close())
        for name, content in killed.items():
            (tmp_path / name).write_bytes(content)
        report = restored(ca, backup, database, Wish(Depth(), force=True))
        assert not database.with_name("provisor.db-wal").exists()
        assert check(database, ca).passed
        with contextlib.closing(open_reading(Path(report.set_aside))) as old:
            assert read_position(old).log_end == 6


@contextlib.contextmanager
def going_on(ca: MemoryCA, database: Path) -> Iterator[MemoryCA]:
    """The same CA, with the same keys and clock, on this database."""
    with MemoryCA(ca.document, pki=ca.pki, signers=list(ca.signers.values()), clock=ca.clock) as again:
        with contextlib.closing(sqlite3.connect(database)) as file:
            file.backup(again.store._get_connection())
        again._ids = ca._ids
        again.reconfigure(ca.document)
        yield again
