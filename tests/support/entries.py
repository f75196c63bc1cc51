"""Entries for the store and the notary, with ids that count up."""

from __future__ import annotations

from itertools import count

from provisor.ports import (
    Entry,
    Guard,
    IssuerID,
    Outcome,
    PutIssuer,
    RecordRevocation,
    SpendToken,
    ToSign,
    Unspent,
    Write,
)
from provisor.storage.base import Sign, SignedCertificate

NOW = 1_780_000_000
ISSUER: IssuerID = b"\x01" * 32
OTHER_ISSUER: IssuerID = b"\x02" * 32

_ids = count(1)


def entry_id() -> bytes:
    return (NOW * 1000).to_bytes(6, "big") + next(_ids).to_bytes(10, "big")


def entry(
    *writes: Write, guards: tuple[Guard, ...] = (), event: bytes | None = b"{}", sign: ToSign | None = None
) -> Entry:
    return Entry(entry_id(), guards, writes, event, sign)


def spend(key: str, expires: int | None = NOW + 300) -> SpendToken:
    return SpendToken(key, expires, "granted", b"d" * 32)


def spending(key: str) -> Entry:
    return entry(spend(key), guards=(Unspent(key),))


def revocation(serial: int, *, issuer: IssuerID = ISSUER, expires: int | None = None) -> RecordRevocation:
    return RecordRevocation(issuer, serial, 1, "lost", NOW, expires, "jwk/ci", "token-1", mtls=False)


def known_issuers() -> Entry:
    return entry(PutIssuer(ISSUER, b"one", "active"), PutIssuer(OTHER_ISSUER, b"two", "retiring"))


def to_sign(serial: int, *, issuer: IssuerID = ISSUER, predecessor: int | None = None, lineage: int = 0) -> ToSign:
    return ToSign(issuer, b"tbs", serial, "jwk/ci", "ci", "JWK", lineage or serial, predecessor, b"c" * 32)


def signed(name: str = "der") -> SignedCertificate:
    return SignedCertificate(name.encode(), NOW, NOW + 3600)


def signing(*certificates: SignedCertificate | None) -> Sign:
    """A signer that has signed already: one certificate an entry."""

    def sign(index: int) -> SignedCertificate | Outcome:
        certificate = certificates[index]
        assert certificate is not None
        return certificate

    return sign
