"""From `kms` of ca.json to the key manager. A new kind of store is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from provisor.errors import ConfigError
from provisor.kms.base import KeyManager
from provisor.kms.soft import SoftKMS
from provisor.kms.uri import KMSKind, kind_of

_MANAGERS: Mapping[KMSKind, Callable[[Path | None], KeyManager]] = {
    KMSKind.SOFT: SoftKMS,
}


def open_key_manager(kind: str = "", uri: str = "", *, base: Path | None = None) -> KeyManager:
    """The manager for `kms.type` and `kms.uri`; relative paths of keys start at `base`.

    Raises `ConfigError` for a kind that does not exist, or that this version has no code for.
    """
    chosen = kind_of(kind, uri)
    manager = _MANAGERS.get(chosen)
    if manager is None:
        raise ConfigError("kms", f"kms type {chosen.value} is not supported by this version")
    return manager(base)
