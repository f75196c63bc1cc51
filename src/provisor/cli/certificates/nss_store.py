"""The certificates that Firefox and its relatives trust: NSS databases in profiles, changed by `certutil`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from provisor.cli.certificates import programs
from provisor.cli.exits import CommandError
from provisor.core.pem import encode_pem
from provisor.core.x509.certificate import Certificate

_PROFILES: Final = (
    ".mozilla/firefox/*",
    ".mozilla/firefox-esr/*",
    ".mozilla/firefox-trunk/*",
    "snap/firefox/common/.mozilla/firefox/*",
)
_SHARED: Final = (".pki/nssdb", "snap/chromium/current/.pki/nssdb")
"""What programs beside Firefox look at."""

_SERVERS: Final = "C,,"
"""Trusted as an authority for servers, and for nothing else."""


class NSSStores(Struct, frozen=True):
    """`certutil`, and the databases it changes, as it calls them."""

    certutil: str
    databases: tuple[str, ...]

    def install(self, root: Certificate, name: str) -> None:
        """In all of them. Raises `CommandError`."""
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(encode_pem("CERTIFICATE", root.der).encode())
            file.flush()
            for database in self.databases:
                programs.run([self.certutil, "-A", "-d", database, "-t", _SERVERS, "-n", name, "-i", file.name])

    def uninstall(self, root: Certificate, name: str) -> None:
        """Without an error where it was not there. Raises `CommandError`."""
        for database in self.databases:
            if programs.succeeds([self.certutil, "-L", "-d", database, "-n", name]):
                programs.run([self.certutil, "-D", "-d", database, "-n", name])


def find_firefox(home: Path | None = None, environment: Mapping[str, str] = os.environ) -> NSSStores:
    """The profiles of this user. Raises `CommandError` without any, and without the program that changes them."""
    folder = home or Path.home()
    databases = tuple(_databases(folder))
    if not databases:
        raise CommandError(
            f"no Firefox profile was found below {folder}: start Firefox once, or leave out the flag '--firefox'"
        )
    certutil = shutil.which("certutil", path=environment.get("PATH"))
    if certutil is None:
        raise CommandError("certutil is needed to change the trust of Firefox: install it (Debian: libnss3-tools)")
    return NSSStores(certutil, databases)


def _databases(home: Path) -> Iterator[str]:
    folders = [folder for pattern in _PROFILES for folder in sorted(home.glob(pattern))]
    for folder in [*folders, *(home / place for place in _SHARED)]:
        if (folder / "cert9.db").is_file():
            yield f"sql:{folder}"
        elif (folder / "cert8.db").is_file():
            yield f"dbm:{folder}"
