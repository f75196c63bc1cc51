"""Signature algorithms: their exact AlgorithmIdentifiers, and verifying with them.

Only what step-ca knows: ECDSA and RSA PKCS #1 v1.5 with SHA-1 and SHA-2, RSA-PSS with the salt as long
as the hash, Ed25519. Everything else is no signature.
"""

from __future__ import annotations

from typing import Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from msgspec import Struct

from provisor.core.keys import KeyInfo

ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
ECDSA_SHA384 = bytes.fromhex("300a06082a8648ce3d040303")
ECDSA_SHA512 = bytes.fromhex("300a06082a8648ce3d040304")
RSA_SHA256 = bytes.fromhex("300d06092a864886f70d01010b0500")
RSA_SHA384 = bytes.fromhex("300d06092a864886f70d01010c0500")
RSA_SHA512 = bytes.fromhex("300d06092a864886f70d01010d0500")
PSS_SHA256 = bytes.fromhex(
    "304106092a864886f70d01010a3034a00f300d06096086480165030402010500"
    "a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120"
)
PSS_SHA384 = bytes.fromhex(
    "304106092a864886f70d01010a3034a00f300d06096086480165030402020500"
    "a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130"
)
PSS_SHA512 = bytes.fromhex(
    "304106092a864886f70d01010a3034a00f300d06096086480165030402030500"
    "a11c301a06092a864886f70d010108300d06096086480165030402030500a203020140"
)
ED25519 = bytes.fromhex("300506032b6570")

_ECDSA_SHA1 = bytes.fromhex("300906072a8648ce3d0401")
_RSA_SHA1 = bytes.fromhex("300d06092a864886f70d0101050500")


class Scheme(Struct, frozen=True):
    """How an algorithm signs: the kind of key it takes, the hash, and the padding of RSA."""

    kind: Literal["EC", "RSA", "Ed25519"]
    hash: hashes.HashAlgorithm | None = None
    pss: bool = False

    @property
    def is_sha1(self) -> bool:
        return isinstance(self.hash, hashes.SHA1)


_SHA1, _SHA256, _SHA384, _SHA512 = hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()

SCHEMES: dict[bytes, Scheme] = {
    ECDSA_SHA256: Scheme("EC", _SHA256),
    ECDSA_SHA384: Scheme("EC", _SHA384),
    ECDSA_SHA512: Scheme("EC", _SHA512),
    RSA_SHA256: Scheme("RSA", _SHA256),
    RSA_SHA384: Scheme("RSA", _SHA384),
    RSA_SHA512: Scheme("RSA", _SHA512),
    PSS_SHA256: Scheme("RSA", _SHA256, pss=True),
    PSS_SHA384: Scheme("RSA", _SHA384, pss=True),
    PSS_SHA512: Scheme("RSA", _SHA512, pss=True),
    ED25519: Scheme("Ed25519"),
}
"""The algorithms that sign, by their AlgorithmIdentifier."""

_READ_ONLY: dict[bytes, Scheme] = {
    _ECDSA_SHA1: Scheme("EC", _SHA1),
    _RSA_SHA1: Scheme("RSA", _SHA1),
    # Some encoders leave out the NULL of RSA, others give ECDSA one (RFC 5758 section 3.2, RFC 4055 section 5).
    **{bytes((0x30, der[1] - 2)) + der[2:-2]: SCHEMES[der] for der in (RSA_SHA256, RSA_SHA384, RSA_SHA512)},
    **{
        bytes((0x30, der[1] + 2)) + der[2:] + b"\x05\x00": SCHEMES[der]
        for der in (ECDSA_SHA256, ECDSA_SHA384, ECDSA_SHA512)
    },
}

_READABLE = SCHEMES | _READ_ONLY
_ECDSA = {name: ec.ECDSA(algorithm) for name, algorithm in ((h.name, h) for h in (_SHA1, _SHA256, _SHA384, _SHA512))}


def find_scheme(algorithm: bytes) -> Scheme | None:
    """The scheme of an AlgorithmIdentifier on something that is read; None if nobody here knows it."""
    return _READABLE.get(algorithm)


def default_algorithm(key: KeyInfo) -> bytes:
    """The AlgorithmIdentifier a key of ours signs with. Raises `ValueError` for a key that cannot sign."""
    if key.kind == "EC":
        return {"P-384": ECDSA_SHA384, "P-521": ECDSA_SHA512}.get(key.curve, ECDSA_SHA256)
    if key.kind == "RSA":
        return RSA_SHA256
    if key.kind == "Ed25519":
        return ED25519
    raise ValueError(f"a key of kind {key.kind} cannot sign certificates")


def is_signature_valid(spki: bytes, scheme: Scheme, signature: bytes, signed: bytes) -> bool:
    """Whether the key in `spki` made this signature. False too for a key of another kind, or one that is broken."""
    try:
        key = load_der_public_key(spki)
        if isinstance(key, ec.EllipticCurvePublicKey) and scheme.kind == "EC" and scheme.hash is not None:
            key.verify(signature, signed, _ECDSA[scheme.hash.name])
        elif isinstance(key, rsa.RSAPublicKey) and scheme.kind == "RSA" and scheme.hash is not None:
            key.verify(signature, signed, _rsa_padding(scheme.hash, scheme.pss), scheme.hash)
        elif isinstance(key, ed25519.Ed25519PublicKey) and scheme.kind == "Ed25519":
            key.verify(signature, signed)
        else:
            return False
    except (ValueError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _rsa_padding(algorithm: hashes.HashAlgorithm, pss: bool) -> padding.PKCS1v15 | padding.PSS:
    return padding.PSS(padding.MGF1(algorithm), algorithm.digest_size) if pss else padding.PKCS1v15()
