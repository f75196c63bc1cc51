"""A certificate and its key in files: written whole or not at all, the key readable by its owner only."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

FileName = str | os.PathLike[str]


def replace_file(name: FileName, content: bytes, mode: int = 0o600) -> None:
    """Write `content` beside the file, and put it in its place; a link keeps pointing at its file.

    A file that is there keeps its mode, and its owner where this user may set one. Raises `OSError`: then the old
    file is as it was.
    """
    neighbour, real = _write_neighbour(name, content, mode)
    _settle(neighbour, real)


def replace_pair(first: tuple[FileName, bytes], second: tuple[FileName, bytes]) -> None:
    """As `replace_file`, of two files that belong together: neither changes before both are written."""
    prepared: list[tuple[Path, Path]] = []
    try:
        for name, content in (first, second):
            prepared.append(_write_neighbour(name, content))
        for neighbour, real in prepared:
            _settle(neighbour, real)
    except BaseException:
        for neighbour, _ in prepared:
            neighbour.unlink(missing_ok=True)
        raise


def _write_neighbour(name: FileName, content: bytes, mode: int = 0o600) -> tuple[Path, Path]:
    real = Path(os.path.realpath(name))
    handle, path = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
    neighbour = Path(path)
    try:
        with open(handle, "wb") as file:
            with suppress(FileNotFoundError):
                present = real.stat()
                mode = stat.S_IMODE(present.st_mode)
                with suppress(PermissionError):
                    os.fchown(file.fileno(), present.st_uid, present.st_gid)
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        neighbour.unlink(missing_ok=True)
        raise
    return neighbour, real


def _settle(neighbour: Path, real: Path) -> None:
    try:
        neighbour.replace(real)
    except BaseException:
        neighbour.unlink(missing_ok=True)
        raise
    folder = os.open(real.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
