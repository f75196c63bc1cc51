"""Kinds of keys, their sizes and their digests."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from msgspec import Struct

from provisor.errors import BadKey

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
AnyPublicKey = PublicKeyTypes
"""Whatever a CSR or a certificate may hold, also what nothing here verifies with."""

_P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
_P256_SIZE = len(_P256) + 65
"""The beginning of most keys: what follows are the bits of an uncompressed point, nothing else fits there."""

_CURVES = {"secp224r1": "P-224", "secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


class WrongPassword(BadKey):
    """The key is encrypted, and not under this password."""


class PasswordNeeded(BadKey):
    """The key is encrypted and no password was given."""


class KeyInfo(Struct, frozen=True):
    """What rules and logs say of a public key.

    `kind` is EC, RSA, Ed25519, Ed448 or the name of another algorithm; `bits` the size of the field
    or of the modulus, 0 when that says nothing; `curve` is P-224 to P-521, empty unless EC.
    """

    kind: str
    bits: int = 0
    curve: str = ""

    @property
    def label(self) -> str:
        """As the request log writes it: `ECDSA P-256`, `RSA 2048`, `Ed25519`."""
        if self.kind == "EC":
            return f"ECDSA {self.curve}"
        return f"RSA {self.bits}" if self.kind == "RSA" else self.kind


def describe_key(key: AnyPublicKey) -> KeyInfo:
    """Kind and size of any public key."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return KeyInfo("EC", key.curve.key_size, _CURVES.get(key.curve.name, key.curve.name))
    if isinstance(key, rsa.RSAPublicKey):
        return KeyInfo("RSA", key.key_size)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return KeyInfo("Ed25519", 256)
    if isinstance(key, ed448.Ed448PublicKey):
        return KeyInfo("Ed448", 456)
    return KeyInfo(type(key).__name__.removesuffix("PublicKey"))


def spki_der(key: AnyPublicKey) -> bytes:
    """The SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7) of a public key."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def parse_spki(der: bytes) -> AnyPublicKey:
    """The public key in a SubjectPublicKeyInfo, of any kind the library knows. Raises `BadKey`."""
    try:
        return load_der_public_key(der)
    except (ValueError, TypeError, UnsupportedAlgorithm) as problem:
        raise BadKey(f"public key cannot be read: {problem}") from problem


def parse_public_spki(der: bytes) -> PublicKey:
    """The same for the kinds that signatures are verified with; others are `BadKey`."""
    key = parse_spki(der)
    if isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        return key
    raise BadKey(f"public key of kind {describe_key(key).kind} is not supported")


def subject_key_id(spki: bytes) -> bytes:
    """SHA-1 of the public key's bits, method 1 of RFC 5280 section 4.2.1.2: an identifier, not a protection.

    Raises `BadKey` if `spki` is not a SubjectPublicKeyInfo.
    """
    if len(spki) == _P256_SIZE and spki.startswith(_P256):
        return hashlib.sha1(spki[len(_P256) :], usedforsecurity=False).digest()
    body, end = _element(spki, 0, 0x30)
    _, after_algorithm = _element(spki, body, 0x30)
    bits, bits_end = _element(spki, after_algorithm, 0x03)
    if end != len(spki) or bits_end != end or bits >= bits_end or spki[bits] != 0:
        raise BadKey("public key information is not DER of RFC 5280")
    return hashlib.sha1(spki[bits + 1 : bits_end], usedforsecurity=False).digest()


def fingerprint(der: bytes) -> str:
    """SHA-256 in lower-case hex, as `step certificate fingerprint` prints it."""
    return hashlib.sha256(der).hexdigest()


def _element(der: bytes, at: int, tag: int) -> tuple[int, int]:
    """Where the content of the DER element at `at` begins and ends."""
    if len(der) < at + 2 or der[at] != tag:
        raise BadKey("public key information is not DER of RFC 5280")
    start, length = at + 2, der[at + 1]
    if length >= 0x80:
        count = length & 0x7F
        length = int.from_bytes(der[start : start + count], "big")
        start += count
    if start + length > len(der):
        raise BadKey("public key information is cut off")
    return start, start + length


@lru_cache(maxsize=64)
def curve_for(name: str) -> ec.EllipticCurve:
    """P-256, P-384 or P-521 by its JOSE name. Raises `BadKey`."""
    match name:
        case "P-256":
            return ec.SECP256R1()
        case "P-384":
            return ec.SECP384R1()
        case "P-521":
            return ec.SECP521R1()
    raise BadKey(f"unsupported elliptic curve {name!r}")
