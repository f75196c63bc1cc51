"""Reading and writing the files a command line names.

Names are plain paths relative to the working directory. Error texts are the recorded ones of `step`.
"""

from __future__ import annotations

import errno
import glob
import os
import signal
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec

from provisor.cli import prompt
from provisor.cli.exits import CommandError

_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}
_CANNOT_SWAP = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV})
"""The folder takes no second file, or the name is a mount point."""


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Signals that end the program arrive after the block: for short writes only."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def system_text(error: OSError) -> str:
    """The reason of an `OSError` in the lower-case form Go programs print: `no such file or directory`."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def read_file(path: str) -> bytes:
    """The whole content, read once: `path` may be a pipe. `-` is stdin. Raises `CommandError`."""
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        doing = "read" if isinstance(error, IsADirectoryError) else "open"
        raise CommandError(f"{doing} {path} failed: {system_text(error)}") from error


def read_pem_file(path: str) -> bytes:
    """As `read_file`, with the text that commands use for certificates and keys."""
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CommandError(f'error reading "{path}": {system_text(error)}') from error


def read_password(path: str) -> bytes:
    """The password in a file: without trailing white space, leading space kept. Empty counts as not given."""
    content = read_file(path)
    try:
        return content.decode().rstrip().encode()
    except UnicodeDecodeError:
        return content.rstrip()


def write_file(path: str | os.PathLike[str], content: bytes, mode: int = 0o600, *, force: bool | None = None) -> None:
    """As `write_parts`, of one part; a signal that ends the program leaves no neighbour behind either."""
    present = check_writable(path, force=force)
    with uninterrupted():
        _write(Path(path), (content,), mode, present)


def write_parts(
    path: str | os.PathLike[str], parts: Iterable[bytes], mode: int = 0o600, *, force: bool | None = None
) -> None:
    """Write a file whole or not at all; what `parts` raises leaves the old one.

    A file that exists is replaced only with `force` or after the person at the terminal said yes, and keeps its
    mode and owner; a new one gets `mode`. `force` is None in commands without the flag `--force`. Something that
    is not a regular file (a pipe, a device) is written in place, and so is a file whose folder takes no second one.
    Raises `CommandError`: `file exists`, `file is a directory`, `open X: no such file or directory`.
    """
    _write(Path(path), parts, mode, check_writable(path, force=force))


class Output(msgspec.Struct, frozen=True):
    """A file to be written; `mode` is for a new one."""

    path: str
    content: bytes
    mode: int = 0o600


def write_together(outputs: Sequence[Output]) -> None:
    """Files that belong together, such as a certificate and its key: all are new, or all are as before.

    Everything is on the disk before the first name changes; what fails later is undone. They were asked about
    before (`check_writable`). Raises `CommandError`.
    """
    with uninterrupted(), ExitStack() as undo:
        swaps = [_prepare(output, undo) for output in outputs]
        for swap in swaps:
            with _named(swap.output.path):
                swap.do()
                undo.callback(swap.undo)
        undo.pop_all()
        for swap in swaps:
            swap.finish()


class _Swap:
    """A file waiting beside the one it is to replace; without a neighbour the file is written in place."""

    def __init__(self, output: Output, real: Path, neighbour: Path | None) -> None:
        self.output = output
        self._real = real
        self._neighbour = neighbour
        self._old: bytes | None = None
        self._kept: Path | None = None

    def do(self) -> None:
        if self._neighbour is None:
            self._old = _regular_content(self._real)
            _write_in_place(self._real, (self.output.content,))
            return
        self._keep_old(self._neighbour)
        try:
            self._neighbour.replace(self._real)
        except OSError as error:
            if error.errno not in _CANNOT_SWAP:
                raise
            self.discard()
            self._neighbour = None
            self.do()

    def _keep_old(self, neighbour: Path) -> None:
        kept = neighbour.with_name(f"{neighbour.name}.old")
        try:
            os.link(self._real, kept)
            self._kept = kept
        except OSError:
            self._old = _regular_content(self._real)

    def undo(self) -> None:
        with suppress(OSError):
            if self._kept is not None:
                self._kept.replace(self._real)
            elif self._old is not None:
                _write_in_place(self._real, (self._old,))
            elif self._neighbour is not None:
                self._real.unlink(missing_ok=True)

    def finish(self) -> None:
        self._remove(self._kept)
        with suppress(OSError):
            _sync_folder(self._real.parent)

    def discard(self) -> None:
        self._remove(self._neighbour)
        self._remove(self._kept)
        self._kept = None

    @staticmethod
    def _remove(path: Path | None) -> None:
        if path is not None:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _prepare(output: Output, undo: ExitStack) -> _Swap:
    with _named(output.path):
        try:
            present: os.stat_result | None = os.stat(output.path)
        except FileNotFoundError:
            present = None
        real, neighbour = Path(output.path), None
        if _is_replaceable(output.path, present):
            real = Path(os.path.realpath(output.path))
            neighbour = _write_neighbour(real, (output.content,), output.mode, present)
        swap = _Swap(output, real, neighbour)
        undo.callback(swap.discard)
        return swap


@contextmanager
def _named(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CommandError(f"open {path}: {system_text(error)}") from error


def _regular_content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _is_replaceable(path: str | os.PathLike[str], present: os.stat_result | None) -> bool:
    """Not a pipe or device, and not a name of an open file such as `/dev/stdout`."""
    return not _is_handle(path) and (present is None or stat.S_ISREG(present.st_mode))


def _is_handle(path: str | os.PathLike[str]) -> bool:
    return os.fspath(path).startswith("/dev/")


def _write(target: Path, parts: Iterable[bytes], mode: int, present: os.stat_result | None) -> None:
    with _named(target):
        if not _is_replaceable(target, present):
            _write_in_place(target, parts)
        else:
            _replace(target, parts, mode, present)


def check_writable(path: str | os.PathLike[str], *, force: bool | None = None) -> os.stat_result | None:
    """What `write_file` asks and refuses, without writing; gives the status of the file that is there.

    Before a certificate is requested: one that cannot be stored should not be issued. Raises `CommandError`.
    """
    try:
        present = os.stat(path)
    except FileNotFoundError as error:
        folder = os.path.dirname(path) or "."
        if not os.path.isdir(folder):
            raise CommandError(f"open {path}: {system_text(error)}") from error
        return None
    except OSError as error:
        raise CommandError(f"open {path}: {system_text(error)}") from error
    if stat.S_ISDIR(present.st_mode):
        raise CommandError("file is a directory")
    if not force:
        prompt.confirm_overwrite(str(path), flag="" if force is None else "force")
    return present


def _replace(target: Path, parts: Iterable[bytes], mode: int, present: os.stat_result | None) -> None:
    """Through a neighbour and a rename, so that a crash leaves the old file or the new one."""
    real = Path(os.path.realpath(target))  # a link keeps pointing at its file
    neighbour = _write_neighbour(real, parts, mode, present)
    if neighbour is None:
        _write_in_place(real, parts)
        return
    try:
        neighbour.replace(real)
    except OSError as error:
        # A file that is mounted by itself, as containers do, can only be written where it is.
        content = neighbour.read_bytes()
        neighbour.unlink(missing_ok=True)
        if error.errno not in _CANNOT_SWAP:
            raise
        _write_in_place(real, (content,))
        return
    except BaseException:
        neighbour.unlink(missing_ok=True)
        raise
    _sync_folder(real.parent)


def _write_neighbour(real: Path, parts: Iterable[bytes], mode: int, present: os.stat_result | None) -> Path | None:
    """A file beside `real` with its mode and owner. None where there can be none, and `real` can be written itself."""
    try:
        handle, name = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
    except OSError as error:
        if present is not None and error.errno in _CANNOT_SWAP and os.access(real, os.W_OK):
            return None
        raise
    neighbour = Path(name)
    try:
        with open(handle, "wb") as file:
            if present is not None and (present.st_uid, present.st_gid) != _owner(file.fileno()):
                try:
                    os.fchown(file.fileno(), present.st_uid, present.st_gid)
                except OSError:
                    # Somebody else's file that we may write stays theirs.
                    neighbour.unlink(missing_ok=True)
                    return None
            os.fchmod(file.fileno(), mode if present is None else stat.S_IMODE(present.st_mode))
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        neighbour.unlink(missing_ok=True)
        raise
    return neighbour


def neighbours_of(path: str) -> list[Path]:
    """Files that were written to replace `path`, and did not come to it; the newest first."""
    real = Path(os.path.realpath(path))
    found = [one for one in real.parent.glob(f".{glob.escape(real.name)}.*") if one.suffix != ".old"]
    return sorted(found, key=lambda one: one.stat().st_mtime, reverse=True)


def _owner(handle: int) -> tuple[int, int]:
    status = os.fstat(handle)
    return status.st_uid, status.st_gid


def _write_in_place(target: Path, parts: Iterable[bytes]) -> None:
    # What was written to /dev/stdout before is not cut off.
    with target.open("ab" if _is_handle(target) else "wb") as file:
        file.writelines(parts)
        file.flush()
        with suppress(OSError):  # a pipe has nothing to sync
            os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def make_folder(path: str | os.PathLike[str], mode: int = 0o700) -> None:
    """The folder and its parents, the new ones with `mode`. Raises `CommandError`."""
    missing = [folder for folder in (Path(path), *Path(path).parents) if not folder.exists()]
    try:
        for folder in reversed(missing):
            folder.mkdir(mode, exist_ok=True)
    except OSError as error:
        raise CommandError(f"mkdir {path}: {system_text(error)}") from error
