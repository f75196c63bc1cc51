"""A small authority with keys of its own: root, intermediate, and leaves on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct
from msgspec.structs import replace

from provisor.core.keys import KeyInfo, spki_der
from provisor.core.names import Name, classify_sans
from provisor.core.x509.algorithms import ECDSA_SHA256
from provisor.core.x509.build import build_ca, build_leaf
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.core.x509.draft import Draft, assemble, encode_tbs
from provisor.core.x509.extensions import Extension
from provisor.core.x509.issuer import Issuer, make_issuer

BORN = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
END = datetime(2036, 1, 1, tzinfo=UTC)
P256 = KeyInfo("EC", 256, "P-256")

_serials = count(1000)


class Party(Struct, frozen=True):
    """A certificate and its key."""

    key: ec.EllipticCurvePrivateKey
    certificate: Certificate

    @property
    def spki(self) -> bytes:
        return spki_der(self.key.public_key())

    def sign(self, draft: Draft) -> bytes:
        return sign(self.key, draft)


def sign(key: ec.EllipticCurvePrivateKey, draft: Draft) -> bytes:
    tbs = encode_tbs(draft)
    return assemble(tbs, ECDSA_SHA256, key.sign(tbs, ec.ECDSA(hashes.SHA256())))


class Lab:
    """Makes authorities and leaves. Every draft can be changed before it is signed."""

    def __init__(self) -> None:
        self.root = self.authority("Root", path_length=1)
        self.intermediate = self.authority("Intermediate", path_length=0, parent=self.root)
        self.issuer: Issuer = make_issuer([self.intermediate.certificate.der], [self.root.certificate.der])

    def authority(
        self,
        name: str,
        *,
        path_length: int = 3,
        parent: Party | None = None,
        change: Callable[[Draft], Draft] = lambda draft: draft,
    ) -> Party:
        key = ec.generate_private_key(ec.SECP256R1())
        draft = build_ca(
            organization="Lab",
            common_name=name,
            path_length=path_length,
            spki=spki_der(key.public_key()),
            serial=next(_serials),
            not_before=BORN,
            not_after=END,
            signature_algorithm=ECDSA_SHA256,
            parent=parent.certificate if parent else None,
        )
        return Party(key, parse_certificate(sign(parent.key if parent else key, change(draft))))

    def draft(self, sans: Sequence[str] = ("a.test",), *, issuer: Issuer | None = None, cn: str = "a.test") -> Draft:
        """A leaf for a day, by the lab's issuer unless another is given."""
        key = ec.generate_private_key(ec.SECP256R1())
        return build_leaf(
            subject_cn=cn,
            names=classify_sans(sans),
            spki=spki_der(key.public_key()),
            key=P256,
            issuer=issuer or self.issuer,
            serial=next(_serials),
            not_before=NOW,
            not_after=NOW + timedelta(days=1),
        )

    def leaf(self, draft: Draft, by: Party | None = None) -> Certificate:
        return parse_certificate((by or self.intermediate).sign(draft))


def without(draft: Draft, *dropped: str) -> Draft:
    return replace(draft, extensions=tuple(e for e in draft.extensions if e.oid not in dropped))


def with_extension(draft: Draft, *added: Extension) -> Draft:
    """With these extensions, each in the place of the one with its OID or at the end."""
    oids = {extension.oid for extension in added}
    return replace(draft, extensions=(*(e for e in draft.extensions if e.oid not in oids), *added))


def dns(*values: str) -> tuple[Name, ...]:
    return classify_sans(values)
