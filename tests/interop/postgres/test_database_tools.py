"""Copying a file to a server, dumping what is there, and bringing the dump back with PostgreSQL's own tools."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from bench import rows
from provisor.app.db_check import Checked, Depth, check_database
from provisor.app.db_restore import Restored, Wish, restore_server
from provisor.authority.audit import Event, encode_event
from provisor.errors import ConfigError
from provisor.ports import Unspent
from provisor.storage.postgresql.archive import PostgreSQLArchive
from provisor.storage.postgresql.copy import Moved, copy_to_server
from provisor.storage.postgresql.dsn import Target, parse_target
from provisor.storage.postgresql.dump import dump
from provisor.storage.postgresql.store import PostgreSQLStore
from provisor.storage.restore import LEEWAY
from provisor.storage.sqlite import SQLiteStore
from support.coroutines import finish
from support.entries import entry, revocation, signing, spend, spending
from support.postgres import Cluster, shared_cluster

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
COUNT = 700
EVENT = encode_event(Event(v=1, at="2026-06-01T12:00:00Z", operation="x509-sign", outcome="refused"))


@pytest.fixture
def cluster() -> Cluster:
    return shared_cluster()


@pytest.fixture
def target(cluster: Cluster) -> Iterator[Target]:
    name = cluster.create_database()
    yield cluster.target(name)
    cluster.drop_database(name)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file with certificates, a revocation, tokens of several days, and events that the tree does not have yet."""
    path = tmp_path / "provisor.db"
    rows.fill(path, COUNT, now=NOW)
    store = SQLiteStore.open(path)
    (issuer,) = finish(store.issuers())
    late = [spend("ever", None), spend("far", SECONDS + 10**8), spend("tomorrow", SECONDS + 86400)]
    entries = [spending("spent"), *(entry(each) for each in late), entry(revocation(5, issuer=issuer.id))]
    told = [replace(each, event=EVENT) for each in entries]
    assert all(outcome.committed for outcome in finish(store.commit(told, signing(*[None] * 5), now=SECONDS)))
    finish(store.close())
    return path


def move(source: Path, target: Target) -> Moved:
    return asyncio.run(copy_to_server(source, target))


def check(target: Target) -> Checked:
    async def look() -> Checked:
        archive = PostgreSQLArchive.open(target)
        try:
            return await check_database(archive, None, now=SECONDS, depth=Depth(signatures=False))
        finally:
            archive.close()

    return asyncio.run(look())


def test_everything_comes_along(source: Path, target: Target) -> None:
    moved = move(source, target)
    with closing(sqlite3.connect(source)) as connection:
        spent = connection.execute("SELECT count(*) FROM spent_tokens").fetchone()[0]
        authority = connection.execute("SELECT value FROM meta WHERE key = 'authority_id'").fetchone()[0]
    assert moved.rows["certificates"] == moved.rows["log_entries"] == COUNT
    assert (moved.rows["tokens"], moved.rows["revocations"], moved.rows["unsequenced"]) == (spent, 1, 5)
    checked = check(target)
    # The revocation was made without its event.
    assert {fault.where for fault in checked.faults} == {"revocation of 5"}
    assert "5 events wait for a place in the log" in checked.notes
    assert (checked.certificates, checked.log_size, checked.authority) == (COUNT, COUNT, authority)


def test_what_the_log_will_never_come_to_is_found(source: Path, target: Target, cluster: Cluster) -> None:
    """Somebody took an event out of the set of those that wait, and another one away."""
    move(source, target)
    query = "SELECT id FROM provisor.unsequenced ORDER BY id"
    hidden, gone = [row[0] for row in cluster.query(query, database=target.database)][:2]
    cluster.query("DELETE FROM provisor.unsequenced WHERE id = $1", hidden, database=target.database)
    cluster.query("DELETE FROM provisor.events WHERE id = $1", gone, database=target.database)
    faults = {fault.where: fault.text for fault in check(target).faults}
    assert faults.pop("revocation of 5")
    assert faults == {
        f"event {hidden.hex()}": (
            "event without a place: it is stored, has no place in the log, and does not wait for one"
        ),
        f"event {gone.hex()}": "event missing: it waits for its place, and is not stored",
    }


def test_the_ca_goes_on_there(source: Path, target: Target) -> None:
    move(source, target)

    async def go_on() -> list[str]:
        store = await PostgreSQLStore.open(target)
        try:
            spent = [entry(spend(key), guards=(Unspent(key),)) for key in ("spent", "ever", "far", "tomorrow", "new")]
            (issuer,) = await store.issuers()
            again = [*spent, entry(revocation(5, issuer=issuer.id))]
            outcomes = await store.commit(again, signing(*[None] * 6), now=SECONDS + 1)
            health = await store.health()
            assert health.high_water == SECONDS + 1
            return [outcome.guard or outcome.status for outcome in outcomes]
        finally:
            await store.close()

    assert asyncio.run(go_on()) == ["unspent"] * 4 + ["committed", "not-revoked"]


def test_a_database_that_is_in_use_is_left_alone(source: Path, target: Target) -> None:
    move(source, target)
    with pytest.raises(ConfigError, match="is not empty"):
        move(source, target)


def test_what_fails_on_the_way_leaves_nothing(source: Path, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    async def misread(*_: object) -> tuple[int, int]:
        return 0, 0

    with monkeypatch.context() as patched:
        patched.setattr("provisor.storage.postgresql.copy._read_back", misread)
        with pytest.raises(ConfigError, match="not copied: issuers differ"):
            move(source, target)
    assert move(source, target).rows["certificates"] == COUNT


def test_a_dump_is_for_its_owner_and_comes_back(source: Path, target: Target, cluster: Cluster, tmp_path: Path) -> None:
    move(source, target)
    dumped = dump(target, tmp_path / "backup.dump", now=SECONDS)
    assert stat.S_IMODE((tmp_path / "backup.dump").stat().st_mode) == 0o600
    assert dumped.tables > 15
    other = cluster.create_database()
    readable = cluster.folder / "backup.dump"
    readable.write_bytes((tmp_path / "backup.dump").read_bytes())
    readable.chmod(0o644)
    server = ("-h", cluster.folder, "-p", cluster.port, "-U", "provisor")
    cluster.run("pg_restore", "--no-owner", "--exit-on-error", *server, "-d", other, readable)
    checked = check(cluster.target(other))
    assert checked.certificates == COUNT
    cluster.drop_database(other)


def test_a_server_that_is_away_is_an_error_and_leaves_no_file(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pg_dump failed"):
        dump(cluster.target("nothing_of_that_name"), tmp_path / "backup.dump", now=SECONDS)
    assert list(tmp_path.iterdir()) == []


def test_without_the_program_it_says_what_is_missing(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="pg_dump is not installed"):
        dump(cluster.target("any"), tmp_path / "backup.dump", now=SECONDS)


class TestRestore:
    @pytest.fixture
    def dumped(self, source: Path, target: Target, tmp_path: Path) -> Path:
        """Of a database with events that the log's tree did not have yet."""
        with closing(sqlite3.connect(source)) as connection, connection:
            connection.execute("DELETE FROM revocations")
        move(source, target)
        return Path(dump(target, tmp_path / "backup.dump", now=SECONDS).path)

    def restored(self, dumped: Path, target: Target, *, force: bool = False) -> Restored:
        wish = Wish(Depth(signatures=False), force=force)
        return restore_server(dumped, target, wish, now=NOW + timedelta(hours=1))

    def test_into_an_empty_database(self, dumped: Path, cluster: Cluster) -> None:
        other = cluster.target(cluster.create_database())
        report = self.restored(dumped, other)
        assert report.changes is not None
        assert report.changes.tokens_not_before == SECONDS + 3600 + LEEWAY
        assert report.changes.epoch > 3600
        assert all(number > 3600 for number in report.changes.crl_numbers.values())
        assert (report.set_aside, report.checked.log_size) == ("", COUNT + 5)

        async def look() -> tuple[int, int]:
            store = await PostgreSQLStore.open(other)
            try:
                return (await store.health()).tokens_not_before, await store.archive.log_end()
            finally:
                await store.close()

        assert asyncio.run(look()) == (report.changes.tokens_not_before, COUNT + 6)
        (note,) = [note for note in check(other).notes if "backup" in note]
        assert note.startswith(f"event {COUNT + 6} says that the log went on at 2026-06-01T13:00:00Z from a backup of")
        cluster.drop_database(other.database)

    def test_only_looked_at_it_leaves_no_trace(self, dumped: Path, target: Target, cluster: Cluster) -> None:
        before = cluster.query("SELECT datname FROM pg_database ORDER BY 1", database="postgres")
        wish = Wish(Depth(signatures=False), check_only=True)
        seen: list[tuple[int, int]] = []
        report = restore_server(dumped, target, wish, now=NOW, progress=lambda *of: seen.append(of))
        assert (report.changes, report.set_aside, report.checked.faults) == (None, "", ())
        assert (report.checked.certificates, report.backup.log_end) == (COUNT, COUNT + 5)
        assert seen[-1][0] <= seen[-1][1]
        assert cluster.query("SELECT datname FROM pg_database ORDER BY 1", database="postgres") == before

    def test_what_is_wrong_with_it_is_told_and_it_leaves_no_trace(
        self, source: Path, target: Target, cluster: Cluster, tmp_path: Path
    ) -> None:
        with closing(sqlite3.connect(source)) as connection, connection:
            connection.execute("UPDATE certificates SET not_after = not_after + 1 WHERE rowid = 7")
        move(source, target)
        bad = Path(dump(target, tmp_path / "backup.dump", now=SECONDS).path)
        wish = Wish(Depth(signatures=False), check_only=True)
        assert not restore_server(bad, target, wish, now=NOW).checked.passed
        bad.write_bytes(b"no dump")
        with pytest.raises(ConfigError, match="pg_restore failed"):
            restore_server(bad, target, wish, now=NOW)
        names = [row[0] for row in cluster.query("SELECT datname FROM pg_database", database="postgres")]
        assert not [name for name in names if name.startswith("provisor_check")]

    def test_a_role_that_may_create_no_database_is_told_what_it_needs(self, dumped: Path, cluster: Cluster) -> None:
        cluster.query("CREATE ROLE modest LOGIN", database="postgres")
        try:
            modest = parse_target(cluster.url(user="modest", options="sslmode=disable"), "any")
            with pytest.raises(ConfigError, match='ALTER ROLE "modest" CREATEDB'):
                restore_server(dumped, modest, Wish(Depth(), check_only=True), now=NOW)
        finally:
            cluster.query("DROP ROLE modest", database="postgres")

    def test_what_is_there_is_set_aside_only_if_somebody_insists(self, dumped: Path, target: Target) -> None:
        with pytest.raises(ConfigError, match="is not empty"):
            self.restored(dumped, target)
        report = self.restored(dumped, target, force=True)
        assert report.set_aside == f"provisor_before_restore_{SECONDS + 3600}"
        assert report.lost.issued == ()

    def test_not_while_a_server_runs(self, dumped: Path, target: Target) -> None:
        async def meanwhile() -> None:
            store = await PostgreSQLStore.open(target)
            try:
                with pytest.raises(ConfigError, match="in use by provisor"):
                    await asyncio.to_thread(self.restored, dumped, target, force=True)
            finally:
                await store.close()

        asyncio.run(meanwhile())

    @pytest.mark.parametrize(
        "damage",
        ["UPDATE certificates SET not_after = not_after + 1 WHERE rowid = 7", "DELETE FROM events WHERE n = 9"],
    )
    def test_a_dump_that_does_not_hold_changes_nothing(
        self, source: Path, target: Target, cluster: Cluster, tmp_path: Path, damage: str
    ) -> None:
        with closing(sqlite3.connect(source)) as connection, connection:
            connection.execute("DELETE FROM revocations")
        other = cluster.target(cluster.create_database())
        move(source, other)
        with closing(sqlite3.connect(source)) as connection, connection:
            connection.execute(damage)
        move(source, target)
        bad = Path(dump(target, tmp_path / "backup.dump", now=SECONDS).path)
        with pytest.raises(ConfigError, match="does not hold"):
            self.restored(bad, other, force=True)
        assert check(other).certificates == COUNT
        cluster.drop_database(other.database)

    def test_nor_does_a_file_that_is_no_dump(self, dumped: Path, target: Target) -> None:
        dumped.write_bytes(b"no dump")
        with pytest.raises(ConfigError, match="pg_restore failed"):
            self.restored(dumped, target, force=True)
        assert check(target).certificates == COUNT
