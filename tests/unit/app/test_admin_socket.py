"""Where the administrator's socket may be, and what is in its place already."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisor.app.admin_socket import bind
from provisor.config.admin_socket import admin_socket_path


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a short path."""
    with tempfile.TemporaryDirectory(prefix="prv-") as name:
        yield Path(name)


def test_only_the_owner_can_connect(folder: Path) -> None:
    mask = os.umask(0)
    try:
        with bind(str(folder / "s")):
            assert stat.S_IMODE((folder / "s").stat().st_mode) == 0o600
    finally:
        os.umask(mask)


def test_the_mask_of_the_process_stays(folder: Path) -> None:
    mask = os.umask(0o027)
    try:
        bind(str(folder / "s")).close()
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(mask)


def test_a_socket_that_nobody_answers_on_is_replaced(folder: Path) -> None:
    bind(str(folder / "s")).close()
    assert (folder / "s").is_socket()
    bind(str(folder / "s")).close()


def test_one_that_somebody_answers_on_stays(folder: Path) -> None:
    with bind(str(folder / "s")) as first:
        with pytest.raises(OSError, match="another server"):
            bind(str(folder / "s"))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(folder / "s"))
            first.accept()[0].close()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_is_not_touched(folder: Path, kind: str) -> None:
    place = folder / "s"
    if kind == "file":
        place.write_text("precious")
    elif kind == "folder":
        place.mkdir()
    else:
        (folder / "target").write_text("precious")
        place.symlink_to(folder / "target")
    with pytest.raises(OSError, match="no socket"):
        bind(str(place))
    assert place.exists()


def test_a_folder_that_everybody_writes_to_will_not_do(folder: Path) -> None:
    (folder / "open").mkdir()
    (folder / "open").chmod(0o777)
    with pytest.raises(OSError, match="everybody"):
        bind(str(folder / "open" / "s"))
    (folder / "open").chmod(0o1777)
    bind(str(folder / "open" / "s")).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_folder_of_another_user_will_not_do(folder: Path) -> None:
    os.chown(folder, 12345, 12345)
    with pytest.raises(OSError, match="another user"):
        bind(str(folder / "s"))


def test_a_path_that_is_too_long_is_said_to_be(folder: Path) -> None:
    fits = str(folder / ("a" * (107 - len(str(folder)) - 1)))
    bind(fits).close()
    with pytest.raises(OSError, match="108 octets"):
        bind(fits + "a")


def test_a_missing_folder(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        bind(str(folder / "none" / "s"))


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (None, "/etc/ca/admin.sock"),
        ("", ""),
        ("/run/p.sock", "/run/p.sock"),
        ("p.sock", "/etc/ca/p.sock"),
    ],
)
def test_where_it_is(setting: str | None, expected: str) -> None:
    assert admin_socket_path(setting, "/etc/ca/ca.json") == expected
