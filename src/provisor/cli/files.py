"""Reading and writing the files a command line names.

Names are plain paths relative to the working directory. Error texts are the recorded ones of `step`.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from provisor.cli import prompt
from provisor.cli.exits import CommandError


def system_text(error: OSError) -> str:
    """The reason of an `OSError` in the lower-case form Go programs print: `no such file or directory`."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def read_file(path: str) -> bytes:
    """The whole content, read once: `path` may be a pipe. `-` is stdin. Raises `CommandError`."""
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CommandError(f"open {path} failed: {system_text(error)}") from error


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
    """As `write_parts`, of one part."""
    write_parts(path, (content,), mode, force=force)


def write_parts(
    path: str | os.PathLike[str], parts: Iterable[bytes], mode: int = 0o600, *, force: bool | None = None
) -> None:
    """Write a file whole or not at all; what `parts` raises leaves the old one.

    A file that exists is replaced only with `force` or after the person at the terminal said yes, and keeps its
    mode; a new one gets `mode`. `force` is None in commands without the flag `--force`. Something that is not a
    regular file (a pipe, a device) is written in place. Raises `CommandError`: `file exists`, `file is a
    directory`, `open X: no such file or directory`.
    """
    present = check_writable(path, force=force)
    target = Path(path)
    try:
        if present is not None and not stat.S_ISREG(present.st_mode):
            with target.open("wb") as file:
                file.writelines(parts)
        else:
            _replace(target, parts, mode if present is None else stat.S_IMODE(present.st_mode))
    except OSError as error:
        raise CommandError(f"open {path}: {system_text(error)}") from error


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


def _replace(target: Path, parts: Iterable[bytes], mode: int) -> None:
    """Through a neighbour and a rename, so that a crash leaves the old file or the new one."""
    real = Path(os.path.realpath(target))  # a link keeps pointing at its file
    handle, name = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
    neighbour = Path(name)
    try:
        with open(handle, "wb") as file:
            file.writelines(parts)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        neighbour.replace(real)
    except BaseException:
        neighbour.unlink(missing_ok=True)
        raise
    folder = os.open(real.parent, os.O_RDONLY | os.O_DIRECTORY)
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
