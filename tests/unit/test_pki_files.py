from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from provisor.errors import Conflict
from provisor.pki_files import STAGE, NewFile, install, present, recover
from support.command_line import tree, umask

FILES = (
    NewFile("certs/root_ca.crt", b"new root", 0o600),
    NewFile("secrets/root_ca_key", b"new key", 0o600),
    NewFile("config/ca.json", b"new config", 0o644),
)
FOLDERS = ("certs", "config", "secrets", "db")
NEW = {
    "certs": None,
    "certs/root_ca.crt": b"new root",
    "config": None,
    "config/ca.json": b"new config",
    "db": None,
    "secrets": None,
    "secrets/root_ca_key": b"new key",
}


def write(folder: Path, files: Sequence[NewFile] = FILES) -> None:
    with install(folder, files, FOLDERS) as installation:
        installation.commit()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with another root, another ca.json, no key, and something else."""
    folder = tmp_path / "step"
    for name, content in (("certs/root_ca.crt", "old root"), ("config/ca.json", "old config"), ("db/data", "kept")):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(content)
    return folder


def test_everything_is_there_afterwards_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "a" / "step")
    assert tree(tmp_path / "a" / "step") == NEW


def test_folders_are_for_their_owner_only(tmp_path: Path) -> None:
    with umask(0o022):
        write(tmp_path / "a" / "step")
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "a").rglob("*")}
    assert modes == {
        **dict.fromkeys(("step", "certs", "config", "secrets", "db"), "0o700"),
        "root_ca.crt": "0o600",
        "root_ca_key": "0o600",
        "ca.json": "0o644",
    }


def test_what_was_there_is_replaced_and_the_rest_stays(old: Path) -> None:
    write(old)
    assert tree(old) == NEW | {"db/data": b"kept"}


def test_what_would_be_replaced_is_told_before(old: Path) -> None:
    (old / "secrets").mkdir()
    (old / "secrets" / "root_ca_key").symlink_to("nowhere")
    assert present(old, FILES) == [old / file.path for file in FILES]


def test_an_installation_that_is_not_committed_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), install(tmp_path / "a" / "step", FILES, FOLDERS):
        raise RuntimeError
    assert not (tmp_path / "a").exists()


def moves(count: int, monkeypatch: pytest.MonkeyPatch, then: Callable[[], None]) -> None:
    """After `count` moves of a file, `then` happens instead of the next one."""
    really, left = Path.replace, [count]

    def replace(self: Path, target: str | os.PathLike[str]) -> Path:
        if left[0] == 0:
            left[0] = -1
            then()
        left[0] -= 1
        return really(self, target)

    monkeypatch.setattr(Path, "replace", replace)


def fail() -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("count", range(5))
def test_an_error_at_any_move_undoes_all_of_them(old: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    before = tree(old)
    moves(count, monkeypatch, fail)
    with pytest.raises(OSError, match="No space left"):
        write(old)
    assert tree(old) == before


@pytest.mark.parametrize("count", range(3))
def test_an_error_in_a_new_folder_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    moves(count, monkeypatch, fail)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "a" / "step")
    assert not (tmp_path / "a").exists()


def in_child(work: Callable[[], None]) -> int:
    """The exit status of a process of its own that does `work`."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("count", range(5))
def test_a_crash_at_any_move_is_undone_by_the_next_one(old: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    before = tree(old)

    def crash() -> None:
        moves(count, monkeypatch, lambda: os._exit(7))
        write(old)

    assert in_child(crash) == 7
    # nobody serves half of it: with anything moved there is no configuration
    moved = (old / "secrets" / "root_ca_key").exists() or not (old / "certs" / "root_ca.crt").exists()
    assert not (moved and (old / "config" / "ca.json").exists())
    recover(old)
    left = {path: content for path, content in tree(old).items() if path != "secrets"}
    assert left == before


def test_a_crash_after_the_last_move_leaves_the_new_files(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash() -> None:
        with install(old, FILES, FOLDERS) as installation:
            installation.commit()
            os._exit(7)

    assert in_child(crash) == 7
    assert (old / STAGE).exists()
    recover(old)
    assert tree(old) == NEW | {"db/data": b"kept"}


def test_a_crash_while_writing_beside_leaves_the_old_files(old: Path) -> None:
    before = tree(old)

    def crash() -> None:
        with install(old, FILES, FOLDERS):
            os._exit(7)

    assert in_child(crash) == 7
    recover(old)
    assert tree(old) == before


@pytest.mark.parametrize("journal", [b"", b"[", b'["certs/ro'])
def test_a_journal_that_was_cut_off_means_nothing_was_moved(old: Path, journal: bytes) -> None:
    before = tree(old)
    (old / STAGE / "new" / "certs").mkdir(parents=True)
    (old / STAGE / "new" / "certs" / "root_ca.crt").write_text("new root")
    (old / STAGE / "journal").write_bytes(journal)
    recover(old)
    assert tree(old) == before


def test_two_at_once_do_not_mix(old: Path) -> None:
    with install(old, FILES, FOLDERS) as first:
        with pytest.raises(Conflict, match="another program is setting up a CA"):
            write(old, [NewFile("config/ca.json", b"second", 0o644)])
        first.commit()
    assert tree(old) == NEW | {"db/data": b"kept"}


def test_a_signal_during_the_moves_arrives_after_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def arrived(*_: object) -> None:
        os._exit(0 if NEW.items() <= tree(tmp_path / "step").items() else 1)

    def work() -> None:
        signal.signal(signal.SIGTERM, arrived)
        moves(1, monkeypatch, lambda: os.kill(os.getpid(), signal.SIGTERM))
        write(tmp_path / "step")

    # a process of its own, where no other thread takes the signal
    assert in_child(work) == 0
