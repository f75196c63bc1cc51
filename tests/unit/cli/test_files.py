from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from provisor.cli import files
from provisor.cli.exits import CommandError


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What the person at the terminal says, in order."""
    given: list[bool] = []
    monkeypatch.setattr("provisor.cli.prompt.confirm", lambda label, **_: given.pop(0))
    return given


def test_a_new_file_has_the_mode_that_was_asked_for(tmp_path: Path) -> None:
    files.write_file(tmp_path / "key", b"secret")
    files.write_file(tmp_path / "open", b"x", 0o644)
    assert mode(tmp_path / "key") == 0o600
    assert mode(tmp_path / "open") == 0o644


def test_a_file_that_exists_is_replaced_by_force_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o640)
    files.write_file(path, b"new", 0o600, force=True)
    assert path.read_text() == "new"
    assert mode(path) == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_file_that_exists_is_replaced_after_a_yes(tmp_path: Path, answers: list[bool]) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    answers += [False, True]
    with pytest.raises(CommandError, match=r"^file exists$"):
        files.write_file(path, b"new")
    assert path.read_text() == "old"
    files.write_file(path, b"new")
    assert path.read_text() == "new"


def test_a_link_keeps_pointing_at_its_file(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    files.write_file(tmp_path / "link", b"new", force=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_pipe_is_written_in_place(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    files.write_file(pipe, b"content", force=True)
    reader.join(5)
    assert read == [b"content"]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"^file is a directory$"):
        files.write_file(tmp_path, b"x", force=True)


@pytest.mark.parametrize("touch", [files.check_writable, lambda path: files.write_file(path, b"x")])
def test_a_missing_folder_is_named_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, touch: Callable[[str], object]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError, match=r"^open nodir/x.crt: no such file or directory$"):
        touch("nodir/x.crt")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CommandError, match="no space left on device"):
        files.write_file(path, b"new", force=True)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_checking_writes_nothing(tmp_path: Path) -> None:
    assert files.check_writable(tmp_path / "new") is None
    assert list(tmp_path.iterdir()) == []


def test_folders_are_private_all_the_way(tmp_path: Path) -> None:
    files.make_folder(tmp_path / "a" / "b" / "c")
    assert {mode(tmp_path / "a"), mode(tmp_path / "a/b"), mode(tmp_path / "a/b/c")} == {0o700}
    files.make_folder(tmp_path / "a")


@pytest.mark.parametrize(
    ("content", "password"),
    [(b"secret\n", b"secret"), (b"  secret \t\r\n\n", b"  secret"), (b"\n", b""), (b"", b""), (b"\xff\n", b"\xff")],
)
def test_a_password_loses_the_white_space_behind_it(tmp_path: Path, content: bytes, password: bytes) -> None:
    (tmp_path / "pw").write_bytes(content)
    assert files.read_password(str(tmp_path / "pw")) == password


def test_a_file_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError, match=r"^open nofile failed: no such file or directory$"):
        files.read_file("nofile")
    with pytest.raises(CommandError, match=r'^error reading "nofile": no such file or directory$'):
        files.read_pem_file("nofile")
