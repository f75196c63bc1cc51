"""The CA's own TLS certificate: made by the notary at start, renewed in time, handed to every worker.

It lives in memory only. No provisioner vouches for it and no record is kept: the audit log has the event.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

from provisor.authority.snapshot import Snapshot
from provisor.core.keys import describe_key, spki_der
from provisor.core.names import classify_sans
from provisor.core.x509.build import build_server_leaf
from provisor.core.x509.check import check_draft
from provisor.core.x509.draft import assemble
from provisor.server.tls import ClientAuthorities
from provisor.startup import Startup

LIFETIME: Final = timedelta(hours=24)
BACKDATE: Final = timedelta(minutes=1)


class TLSIdentity(Struct, frozen=True):
    """Chain (DER, leaf first), private key (PKCS #8 DER), its decimal serial, and when it is renewed and
    over (unix seconds)."""

    chain: tuple[bytes, ...]
    key: bytes
    serial: str
    renew_at: float
    not_after: float

    def __repr__(self) -> str:
        return f"TLSIdentity(serial={self.serial})"


def make_identity(startup: Startup, now: datetime, random_bytes: Callable[[int], bytes]) -> TLSIdentity:
    """A new P-256 key and a certificate for the names of the CA, signed by the issuing key."""
    key = ec.generate_private_key(ec.SECP256R1())
    spki = spki_der(key.public_key())
    moment = now.replace(microsecond=0)
    issuer = startup.issuer
    not_after = min(moment + LIFETIME, issuer.certificate.not_after)
    names = tuple(name.removeprefix("[").removesuffix("]") for name in startup.config.dns_names)
    draft = build_server_leaf(
        common_name=startup.config.common_name,
        names=classify_sans(names),
        spki=spki,
        key=describe_key(key.public_key()),
        issuer=issuer,
        serial=int.from_bytes(random_bytes(16), "big") >> 1 or 1,
        not_before=moment - BACKDATE,
        not_after=not_after,
    )
    tbs = check_draft(draft, issuer=issuer, not_beyond_issuer=True).tbs
    leaf = assemble(tbs, issuer.signature_algorithm, startup.signer.sign(tbs, issuer.signature_algorithm))
    private = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    renew_at = renewal_time(now, not_after)
    return TLSIdentity((leaf, *startup.chain), private, str(draft.serial), renew_at, not_after.timestamp())


def client_authorities(snapshot: Snapshot) -> ClientAuthorities:
    """A client's chain may end in a root or in an issuer of ours, so that it may send its leaf alone."""
    issuers = (der for issuer in snapshot.issuers.values() for der in issuer.chain)
    return ClientAuthorities((*(root.der for root in snapshot.roots), *issuers))


def renewal_time(now: datetime, not_after: datetime) -> float:
    """A third of the remaining life before the end, less up to a twentieth, so that replicas do not renew together."""
    remaining = (not_after - now).total_seconds()
    return not_after.timestamp() - remaining / 3 - random.uniform(0, remaining / 20)
