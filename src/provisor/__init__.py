"""Provisor: an online certificate authority for X.509 and SSH.

The names below are the client for other people's programs (docs/client.md); `provisor.testing` is a CA for their
tests. They are imported when they are first used: who wants the version alone does not wait for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provisor.client.certificate import Certificate
    from provisor.client.client import Client
    from provisor.client.errors import BadAnswer, CAError, ClientError, Denied, NotFound, Unauthorized, Unreachable
    from provisor.client.live import LiveCertificate
    from provisor.client.provisioner_key import ProvisionerKey
    from provisor.core.keys import PasswordNeeded, WrongPassword
    from provisor.errors import BadKey, ProvisorError

__version__ = "0.2.0"

__all__ = [
    "BadAnswer",
    "BadKey",
    "CAError",
    "Certificate",
    "Client",
    "ClientError",
    "Denied",
    "LiveCertificate",
    "NotFound",
    "PasswordNeeded",
    "ProvisionerKey",
    "ProvisorError",
    "Unauthorized",
    "Unreachable",
    "WrongPassword",
]

_PLACES = {
    "BadAnswer": "client.errors",
    "BadKey": "errors",
    "CAError": "client.errors",
    "Certificate": "client.certificate",
    "Client": "client.client",
    "ClientError": "client.errors",
    "Denied": "client.errors",
    "LiveCertificate": "client.live",
    "NotFound": "client.errors",
    "PasswordNeeded": "core.keys",
    "ProvisionerKey": "client.provisioner_key",
    "ProvisorError": "errors",
    "Unauthorized": "client.errors",
    "Unreachable": "client.errors",
    "WrongPassword": "core.keys",
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module 'provisor' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"provisor.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
