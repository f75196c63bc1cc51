from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from provisor.errors import ConfigError
from provisor.storage.locate import WriterLock, check_ours, locate


@pytest.mark.parametrize("kind", ["badger", "badgerV1", "badgerv2", "BADGER"])
def test_badger_means_a_file_in_its_folder(kind: str, tmp_path: Path) -> None:
    assert locate(kind, str(tmp_path / "db")) == tmp_path / "db" / "provisor.db"


@pytest.mark.parametrize("kind", ["bbolt", "BBolt"])
def test_bbolt_means_a_file_beside_its_own(kind: str, tmp_path: Path) -> None:
    assert locate(kind, str(tmp_path / "step.db")) == tmp_path / "step.db.provisor.db"


def test_sqlite_means_the_file_itself(tmp_path: Path) -> None:
    assert locate("sqlite", str(tmp_path / "ca.db")) == tmp_path / "ca.db"


@pytest.mark.parametrize("name", ["MANIFEST", "KEYREGISTRY", "000000.vlog", "000001.sst"])
@pytest.mark.parametrize("kind", ["badger", "badgerv2", "bbolt", "sqlite"])
def test_a_real_badger_is_refused_with_the_remedy(kind: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    (tmp_path / "provisor.db").touch()
    with pytest.raises(
        ConfigError, match=r"Badger.*another db\.dataSource.*revocations and spent tokens do not come along"
    ):
        locate(kind, str(tmp_path))


def test_a_folder_with_other_things_is_no_badger(tmp_path: Path) -> None:
    for name in ("manifest", "MANIFEST.txt", "vlog", "notes.sst.md"):
        (tmp_path / name).touch()
    assert locate("badgerv2", str(tmp_path)) == tmp_path / "provisor.db"


@pytest.mark.parametrize("kind", ["bbolt"])
def test_a_real_bbolt_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "step.db"
    path.write_bytes(bytes(16) + bytes.fromhex("edda0ced") + bytes(4076))
    with pytest.raises(ConfigError, match="bbolt"):
        locate(kind, str(path))
    with pytest.raises(ConfigError, match="bbolt"):
        check_ours(path)


@pytest.mark.parametrize("content", [b"", bytes(15) + bytes.fromhex("edda0ced"), bytes(16) + bytes.fromhex("edda0cee")])
def test_almost_a_bbolt_is_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "step.db").write_bytes(content)
    assert locate("bbolt", str(tmp_path / "step.db")) == tmp_path / "step.db.provisor.db"


@pytest.mark.parametrize("kind", ["mysql", "MySQL"])
def test_the_databases_of_servers_are_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"not supported by this version.*do not come along"):
        locate(kind, "user:password@tcp(127.0.0.1)/")


@pytest.mark.parametrize(
    ("kind", "source"), [("", "x"), ("badger ", "x"), ("bolt", "x"), ("badger", ""), ("sqlite", "")]
)
def test_types_and_sources_that_say_nothing_are_refused(kind: str, source: str) -> None:
    with pytest.raises(ConfigError):
        locate(kind, source)


def test_folders_and_files_are_not_taken_for_each_other(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file"):
        locate("badger", str(tmp_path / "file"))
    for kind in ("bbolt", "sqlite"):
        with pytest.raises(ConfigError, match="is a folder"):
            locate(kind, str(tmp_path))


def test_a_database_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE x509_certs (nkey BLOB PRIMARY KEY, nvalue BLOB)")
    connection.close()
    (tmp_path / "text").write_text("hello")
    for path in (foreign, tmp_path / "text"):
        with pytest.raises(ConfigError, match="is not a database of Provisor"):
            check_ours(path)


@pytest.mark.parametrize("content", [None, b""])
def test_no_database_yet_is_no_fault(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    if content is not None:
        path.write_bytes(content)
    check_ours(path)


def test_a_second_writer_is_refused_by_file_and_process(tmp_path: Path) -> None:
    lock = WriterLock(tmp_path / "provisor.db")
    with pytest.raises(ConfigError, match=rf"provisor\.db: in use by process {os.getpid()}"):
        WriterLock(tmp_path / "provisor.db")
    lock.release()
    lock.release()
    WriterLock(tmp_path / "provisor.db").release()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    (tmp_path / "provisor.db.lock").write_text("999999999999\n")
    WriterLock(tmp_path / "provisor.db").release()
