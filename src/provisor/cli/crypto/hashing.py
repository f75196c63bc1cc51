"""Digests of files and of whole folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import BinaryIO, Final

from cryptography.hazmat.primitives import hashes

from provisor.cli.exits import CommandError
from provisor.cli.files import system_text

ALGORITHMS: Final[dict[str, Callable[[], hashes.HashAlgorithm]]] = {
    "sha": hashes.SHA1,
    "sha1": hashes.SHA1,
    "sha224": hashes.SHA224,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
    "sha512-224": hashes.SHA512_224,
    "sha512-256": hashes.SHA512_256,
    "md5": hashes.MD5,
}
WORDS: Final = "sha1, sha224, sha256, sha384, sha512, sha512-224, sha512-256 or md5"

_CHUNK = 1 << 20
# The bits of a file's mode, as Go numbers them beyond the permissions.
_KINDS: Final = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
}
_SPECIAL: Final = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}


def find_algorithm(name: str) -> hashes.HashAlgorithm | None:
    """By name in any case; None for an unknown one."""
    make = ALGORITHMS.get(name.lower())
    return make() if make else None


def digest_stream(stream: BinaryIO, algorithm: hashes.HashAlgorithm) -> bytes:
    """Of all that can be read, a piece at a time."""
    digest = hashes.Hash(algorithm)
    while piece := stream.read(_CHUNK):
        digest.update(piece)
    return digest.finalize()


def digest_path(path: str, algorithm: hashes.HashAlgorithm) -> bytes:
    """Of a file, or of a folder and all below it. Raises `CommandError`."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise CommandError(f"stat {path} failed: {system_text(error)}") from error
    try:
        return _digest_folder(path, algorithm, ()) if stat.S_ISDIR(status.st_mode) else _digest_file(path, algorithm)
    except RecursionError as error:
        raise CommandError(f"{path} has too many folders inside each other") from error


def _digest_file(path: str, algorithm: hashes.HashAlgorithm) -> bytes:
    try:
        with open(path, "rb") as file:
            return digest_stream(file, algorithm)
    except OSError as error:
        raise CommandError(f"open {path} failed: {system_text(error)}") from error


def _digest_folder(path: str, algorithm: hashes.HashAlgorithm, above: tuple[tuple[int, int], ...]) -> bytes:
    """Of its mode, and of each entry in the order of the names: mode and digest of a file, digest of a folder.

    The names are no part of it: a renamed file can have the same digest.
    """
    try:
        status = os.stat(path)
        names = sorted(os.listdir(path), key=os.fsencode)
    except OSError as error:
        raise CommandError(f"open {path} failed: {system_text(error)}") from error
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        raise CommandError(f"stat {path} failed: too many levels of symbolic links")
    digest = hashes.Hash(algorithm)
    digest.update(_mode(status.st_mode))
    for name in names:
        entry = os.path.join(path, name)
        try:
            own, followed = os.lstat(entry), os.stat(entry)
        except OSError as error:
            raise CommandError(f"stat {entry} failed: {system_text(error)}") from error
        if not stat.S_ISDIR(own.st_mode):
            digest.update(_mode(own.st_mode))
        if stat.S_ISDIR(followed.st_mode):
            digest.update(_digest_folder(entry, algorithm, (*above, identity)))
        elif stat.S_ISREG(followed.st_mode):
            digest.update(_digest_file(entry, algorithm))
        else:
            # step-ca: would wait for somebody to write into it
            raise CommandError(f"{entry} is neither a file nor a folder")
    return digest.finalize()


def _mode(mode: int) -> bytes:
    number = stat.S_IMODE(mode) & 0o777 | _KINDS.get(stat.S_IFMT(mode), 0)
    for bit, other in _SPECIAL.items():
        if mode & bit:
            number |= other
    return number.to_bytes(4, "little")
