"""What makes two configurations the same CA: a digest of all that replicas must have in common.

Addresses, names, paths, limits and logs may differ from host to host; provisioners, claims, rules and certificates
may not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from provisor.authority.audit import EVENT_VERSION, Event, encode_event
from provisor.core.durations import format_rfc3339
from provisor.startup import Startup

_OWN: Final = frozenset(
    {
        *(
            "address",
            "commonname",
            "crt",
            "db",
            "dnsnames",
            "federatedroots",
            "insecureaddress",
            "key",
            "kms",
            "logger",
        ),
        *("metricsaddress", "monitoring", "password", "root", "tls"),
    }
)
_OWN_SETTINGS: Final = frozenset({"adminsocket", "database", "limits", "tracing", "workers"})


def configuration_digest(startup: Startup) -> str:
    """Hex. Certificates count by what they are, not by where they lie."""
    document = _lowered(msgspec.json.decode(startup.source))
    shared = {name: value for name, value in document.items() if name not in _OWN}
    if isinstance(settings := shared.get("provisor"), dict):
        shared["provisor"] = {name: value for name, value in _lowered(settings).items() if name not in _OWN_SETTINGS}
    for name, certificates in (("chain", startup.chain), ("roots", startup.roots), ("federated", startup.federated)):
        shared[f"{name}-digests"] = [hashlib.sha256(der).hexdigest() for der in certificates]
    shared = {name: value for name, value in shared.items() if value not in ({}, None)}
    return hashlib.sha256(msgspec.json.encode(shared, order="deterministic")).hexdigest()


def configuration_event(now: datetime, digest: str) -> bytes:
    """What the audit log says when a configuration takes force."""
    event = Event(
        v=EVENT_VERSION,
        at=format_rfc3339(now),
        operation="configure",
        outcome="granted",
        method="file",
        subject=digest,
    )
    return encode_event(event)


def _lowered(members: Mapping[str, Any]) -> dict[str, Any]:
    """Names of members are read in any case."""
    return {name.lower(): value for name, value in members.items()}
