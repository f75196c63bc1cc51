"""What the notary hands to the other processes: one epoch's configuration, and the CA's own TLS identity.

Every process builds its snapshot from the same bytes, so that all agree on what the epoch means.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from provisor.authority.snapshot import Snapshot
from provisor.config.load import load_config
from provisor.core.claims import BUILT_IN, merge
from provisor.core.x509.certificate import parse_certificate
from provisor.core.x509.issuer import make_issuer
from provisor.ports import Archive, Caller, Ledger, Notary
from provisor.provisioners.registry import build_registry
from provisor.startup import Startup

ACCEPTED = "accepted.json"
"""In the runtime directory: the configuration in force as it was read, for the notary's successor."""


class Bundle(Struct, frozen=True):
    """`source` is ca.json without its password; certificates are DER; `started` is unix seconds.

    `retiring` are issuers that sign no more but whose certificates may still be renewed. `store` is
    the file that readers open, None where they ask the notary.
    """

    epoch: int
    path: str
    source: bytes
    chain: tuple[bytes, ...]
    roots: tuple[bytes, ...]
    federated: tuple[bytes, ...]
    retiring: tuple[bytes, ...]
    started: float
    store: str | None
    tokens_not_before: int = 0


def bundle_of(
    startup: Startup,
    epoch: int,
    started: datetime,
    retiring: tuple[bytes, ...] = (),
    *,
    tokens_not_before: int = 0,
) -> Bundle:
    return Bundle(
        epoch=epoch,
        path=startup.path,
        source=startup.source,
        chain=startup.chain,
        roots=startup.roots,
        federated=startup.federated,
        retiring=retiring,
        started=started.timestamp(),
        tokens_not_before=tokens_not_before,
        store=str(startup.store) if isinstance(startup.store, Path) else None,
    )


encode_bundle = msgspec.msgpack.Encoder().encode
decode_bundle = msgspec.msgpack.Decoder(Bundle).decode


def utc_now() -> datetime:
    return datetime.now(UTC)


def build_snapshot(
    bundle: Bundle,
    notary: Notary,
    ledger: Ledger,
    *,
    clock: Callable[[], datetime] = utc_now,
    random: Callable[[int], bytes] = os.urandom,
    archive: Archive | None = None,
    caller: Caller | None = None,
) -> Snapshot:
    """The authority of this epoch. The bytes were checked by the notary: a fault here is a bug."""
    config = load_config(bundle.source, where=bundle.path).config
    issuer = make_issuer(bundle.chain, bundle.roots)
    return Snapshot(
        epoch=bundle.epoch,
        config=config,
        registry=build_registry(config.authority.provisioners, merge(BUILT_IN, config.authority.claims)),
        issuer=issuer,
        issuers={each.id: each for each in (issuer, *(make_issuer([der], bundle.roots) for der in bundle.retiring))},
        roots=tuple(map(parse_certificate, bundle.roots)),
        federated=tuple(map(parse_certificate, bundle.federated)),
        notary=notary,
        ledger=ledger,
        clock=clock,
        random=random,
        started=datetime.fromtimestamp(bundle.started, UTC),
        archive=archive,
        caller=caller,
        tokens_not_before=bundle.tokens_not_before,
    )
