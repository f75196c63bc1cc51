"""The certificates that programs on this machine trust, on the Linux systems that keep a folder for additions."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from provisor.cli import files
from provisor.cli.exits import CommandError
from provisor.core.pem import encode_pem
from provisor.core.x509.certificate import Certificate

_MODE: Final = 0o644


class TrustStore(msgspec.Struct, frozen=True):
    """A folder for additions, the ending of the names in it, and the program that takes them over."""

    folder: Path
    suffix: str
    update: Sequence[str]

    def place_of(self, root: Certificate, prefix: str = "") -> Path:
        """The file of `root`: its common name and an underscore, or `prefix`, and its serial number."""
        # step-ca: blanks and slashes in the name would be trouble for the update program
        name = (prefix or f"{root.common_name}_").replace(" ", "_").replace("/", "_")
        return self.folder / f"{name}{root.serial}{self.suffix}"


STORES: Final = (
    TrustStore(Path("/etc/pki/ca-trust/source/anchors"), ".pem", ("update-ca-trust", "extract")),
    TrustStore(Path("/usr/local/share/ca-certificates"), ".crt", ("update-ca-certificates",)),
    TrustStore(Path("/etc/ca-certificates/trust-source/anchors"), ".crt", ("trust", "extract-compat")),
    TrustStore(Path("/usr/share/pki/trust/anchors"), ".pem", ("update-ca-certificates",)),
)
"""Fedora and its relatives, Debian, Arch, SUSE."""


def system_store(stores: Sequence[TrustStore] = STORES) -> TrustStore:
    """The one of this machine. Raises `CommandError`."""
    for store in stores:
        if store.folder.is_dir():
            return store
    raise CommandError(
        "no folder for trusted certificates was found on this system: install the package ca-certificates, "
        "or add the root certificate by the system's own tool"
    )


def install(root: Certificate, *, prefix: str = "", stores: Sequence[TrustStore] = STORES) -> None:
    """Trust `root` on this machine. Raises `CommandError`."""
    store = system_store(stores)
    place = store.place_of(root, prefix)
    _check_allowed(store)
    files.write_file(place, encode_pem("CERTIFICATE", root.der).encode(), _MODE, force=True)
    _update(store)


def uninstall(root: Certificate, *, prefix: str = "", stores: Sequence[TrustStore] = STORES) -> None:
    """Trust it no more; without an error if it was not there. Raises `CommandError`."""
    store = system_store(stores)
    place = store.place_of(root, prefix)
    if not place.exists():
        return
    _check_allowed(store)
    try:
        place.unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"error removing {place}: {files.system_text(error)}") from error
    _update(store)


def _check_allowed(store: TrustStore) -> None:
    if not os.access(store.folder, os.W_OK):
        raise CommandError(
            f"this user may not change {store.folder}: run the command as root to change what this machine trusts"
        )


def _update(store: TrustStore) -> None:
    """Quiet, but for a failure."""
    try:
        done = subprocess.run(store.update, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise CommandError(f"failed to execute {store.update[0]}: {files.system_text(error)}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise CommandError(
            f"failed to execute {' '.join(store.update)}: exit status {done.returncode}"
            + (f": {said[-1]}" if said else "")
        )
