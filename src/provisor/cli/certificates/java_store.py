"""The certificates that Java trusts: the file `cacerts` of a Java runtime, changed by its own `keytool`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from provisor.cli.certificates import programs
from provisor.cli.exits import CommandError
from provisor.core.pem import encode_pem
from provisor.core.x509.certificate import Certificate

_PASSWORD: Final = "changeit"
"""Every Java comes with it; the file is protected by who may write it."""

_DEBIAN: Final = "/etc/ssl/certs/java/cacerts"
"""Into this one Debian copies what the system trusts, and takes nothing out when the system forgets it."""

_PLACES: Final = ("lib/security/cacerts", "jre/lib/security/cacerts")


class JavaStore(Struct, frozen=True):
    """`keytool`, and the file it changes."""

    keytool: Path
    file: Path

    def install(self, root: Certificate, name: str) -> None:
        """Raises `CommandError`."""
        if self._has(root):
            return
        content = encode_pem("CERTIFICATE", root.der).encode()
        self._run("-importcert", "-noprompt", "-alias", name, content=content)

    def uninstall(self, root: Certificate, name: str) -> None:
        """Without an error if it was not there. Raises `CommandError`."""
        self.remove(name)

    def remove(self, name: str) -> None:
        """The entry of that name, if there is one. Raises `CommandError`."""
        if self._has_alias(name):
            self._run("-delete", "-alias", name)

    def _has(self, root: Certificate) -> bool:
        digits = root.fingerprint.upper()
        shown = ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))
        return shown in self._run("-list")

    def _has_alias(self, name: str) -> bool:
        return programs.succeeds([str(self.keytool), "-list", "-alias", name, *self._store()])

    def _run(self, *words: str, content: bytes = b"") -> str:
        return programs.run([str(self.keytool), *words, *self._store()], content=content)

    def _store(self) -> tuple[str, ...]:
        return "-keystore", str(self.file), "-storepass", _PASSWORD


def find_java(environment: Mapping[str, str] = os.environ) -> JavaStore:
    """That of `JAVA_HOME`, else of the `keytool` in the path. Raises `CommandError`."""
    for home in _homes(environment):
        keytool = next((place for part in ("bin", "jre/bin") if (place := home / part / "keytool").is_file()), None)
        file = next((place for part in _PLACES if (place := home / part).is_file()), None)
        if keytool is not None and file is not None:
            return JavaStore(keytool, file)
    raise CommandError(
        "no Java with a keytool and a file cacerts was found: set JAVA_HOME, or leave out the flag '--java'"
    )


def forget_copy(file_name: str) -> None:
    """Take out what Debian copied from the system's file of that name. Raises `CommandError`."""
    if not os.path.isfile(_DEBIAN) or not (keytool := shutil.which("keytool")):
        return
    store = JavaStore(Path(keytool), Path(_DEBIAN))
    store.remove(f"debian:{Path(file_name).stem}.pem".lower())


def _homes(environment: Mapping[str, str]) -> list[Path]:
    if home := environment.get("JAVA_HOME"):
        return [Path(home)]
    found = shutil.which("keytool", path=environment.get("PATH"))
    if found is None:
        return []
    real = Path(found).resolve()  # /usr/bin/keytool leads through two links into the runtime
    return [real.parent.parent, real.parent.parent.parent]
