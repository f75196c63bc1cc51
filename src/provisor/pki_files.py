"""Putting several files into a folder as one step: all of them, or none.

The files are first written into `.init` inside the folder. Then a journal is written there and each file changes
places with the one of its name. Whatever goes wrong before the last change is undone: at once after an error, by
the next `install` after a crash. The last file is the one that makes the folder a CA; until it is in place there
is none.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from provisor.errors import Conflict

STAGE = ".init"
_JOURNAL = "journal"
_UNINTERRUPTED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}


class NewFile(Struct, frozen=True):
    """`path` is relative to the folder; `mode` is for a new file, before the umask."""

    path: str
    content: bytes
    mode: int


def present(folder: Path, files: Sequence[NewFile]) -> list[Path]:
    """Those of `files` that would replace something, in their order."""
    paths = (folder / file.path for file in files)
    return [path for path in paths if os.path.lexists(path)]


class Installation:
    """Files that are written beside their places, waiting for `commit`."""

    def __init__(self, folder: Path, files: Sequence[NewFile], folders: Sequence[str]) -> None:
        self._folder = folder
        # The configuration goes first out and last in.
        self._paths = [file.path for file in sorted(files, key=lambda file: file.path.endswith("/ca.json"))]
        self._folders = folders
        self._made: list[Path] = []

    def commit(self) -> None:
        """Move everything into place. Raises `OSError` after undoing what was moved."""
        with _signals_held():
            journal = self._folder / STAGE / _JOURNAL
            _write(journal, json.dumps(self._paths).encode(), 0o600)
            _sync(journal.parent)
            try:
                for path in (*self._folders, *map(os.path.dirname, self._paths)):
                    _make_folder(self._folder / path, self._made)
                for path in reversed(self._paths):
                    _move(self._folder / path, self._folder / STAGE / "old" / path)
                for path in self._paths:
                    _move(self._folder / STAGE / "new" / path, self._folder / path)
            except BaseException:
                recover(self._folder)
                for made in reversed(self._made):
                    with suppress(OSError):
                        made.rmdir()
                raise
            for place in {os.path.dirname(self._folder / path) for path in self._paths}:
                _sync(Path(place))
            _sync(self._folder)


@contextmanager
def install(folder: Path, files: Sequence[NewFile], folders: Sequence[str] = ()) -> Iterator[Installation]:
    """Write `files` beside their places below `folder`; the block then calls `commit`, or nothing has happened.

    `folders` are made if they are missing, with mode 0700 like `folder` itself. Raises `OSError`, and `Conflict`
    when another installation is at work in the folder.
    """
    made: list[Path] = []
    finished = False
    try:
        _make_folder(folder, made)
        with _locked(folder):
            recover(folder)
            try:
                _stage(folder / STAGE, files)
                yield Installation(folder, files, folders)
                finished = True
            finally:
                _clear(folder / STAGE)
    finally:
        for path in () if finished else reversed(made):
            with suppress(OSError):
                path.rmdir()


def recover(folder: Path) -> None:
    """Undo an installation that did not come to its end, and clear away what it left.

    If nothing is left to be moved it did come to its end: everything stays as it is.
    """
    stage = folder / STAGE
    paths = _read_journal(stage / _JOURNAL)
    if any((stage / "new" / path).exists() for path in paths):
        for path in paths:
            _put_back(folder / path, stage / "new" / path, stage / "old" / path)
        (stage / _JOURNAL).unlink()
    _clear(stage)


def _read_journal(path: Path) -> list[str]:
    """Empty if there is none, or the program ended while it was written: nothing was moved then."""
    try:
        paths: list[str] = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return []
    return paths


def _clear(stage: Path) -> None:
    if stage.exists():
        shutil.rmtree(stage)


def _put_back(place: Path, new: Path, old: Path) -> None:
    if not new.exists():
        place.unlink(missing_ok=True)
    if os.path.lexists(old):
        old.replace(place)


def _stage(stage: Path, files: Sequence[NewFile]) -> None:
    stage.mkdir(mode=0o700)
    for file in files:
        place = stage / "new" / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        (stage / "old" / file.path).parent.mkdir(parents=True, exist_ok=True)
        _write(place, file.content, file.mode)


def _write(path: Path, content: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _move(source: Path, target: Path) -> None:
    if os.path.lexists(source):
        source.replace(target)


def _make_folder(path: Path, made: list[Path]) -> None:
    """`path` and what is missing above it, each with mode 0700; `made` learns which ones were missing."""
    missing = [path, *path.parents]
    for one in reversed(missing[: next((n for n, above in enumerate(missing) if above.is_dir()), len(missing))]):
        one.mkdir(mode=0o700)
        made.append(one)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Held by one process at a time; the kernel gives it up when that process ends, however it ends."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(f"another program is setting up a CA in {folder}") from error
        yield
    finally:
        os.close(handle)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Signals that would end the program arrive after the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _UNINTERRUPTED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
