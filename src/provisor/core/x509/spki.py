"""Public keys as they stand in requests and certificates (RFC 5280 section 4.1.2.7).

A key is told by its exact AlgorithmIdentifier, so that nothing has to be loaded to know its kind and
size; whether a point is on its curve is found out when the key is used.
"""

from __future__ import annotations

from cryptography.hazmat import asn1

from provisor.core.der import BIT_STRING, element, sequence
from provisor.core.keys import KeyInfo
from provisor.core.x509 import oids
from provisor.core.x509.der import AlgorithmWithParameters, RSAPublicKey, SubjectPublicKeyInfo, encoded

_EC_KEYS = {
    bytes.fromhex("301006072a8648ce3d020106052b81040021"): KeyInfo("EC", 224, "P-224"),
    bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107"): KeyInfo("EC", 256, "P-256"),
    bytes.fromhex("301006072a8648ce3d020106052b81040022"): KeyInfo("EC", 384, "P-384"),
    bytes.fromhex("301006072a8648ce3d020106052b81040023"): KeyInfo("EC", 521, "P-521"),
}
_RSA_KEY = bytes.fromhex("300d06092a864886f70d0101010500")
_ED25519_KEY = bytes.fromhex("300506032b6570")
_ED25519 = KeyInfo("Ed25519", 256)
_NOT_FOR_US = {
    bytes.fromhex("300506032b6571"): KeyInfo("Ed448", 456),
    bytes.fromhex("300506032b656e"): KeyInfo("X25519"),
    bytes.fromhex("300506032b656f"): KeyInfo("X448"),
}
_UNKNOWN = KeyInfo("unknown")
_UNCOMPRESSED_POINT = 4


_LARGEST_EXPONENT = 1 << 63


def _beginning(algorithm: bytes, first: bytes, octets: int) -> tuple[int, bytes]:
    """Size of a key whose bits are `first` and so many octets that differ, and all of it before those."""
    whole = sequence(algorithm, element(BIT_STRING, b"\x00" + first + bytes(octets)))
    return len(whole), whole[: len(whole) - octets]


_POINT = bytes((_UNCOMPRESSED_POINT,))
_USUAL = {_beginning(der, _POINT, 2 * ((info.bits + 7) // 8)): info for der, info in _EC_KEYS.items()}
_USUAL[_beginning(_ED25519_KEY, b"", 32)] = _ED25519
_USUAL_BY_SIZE = {size: (beginning, info) for (size, beginning), info in _USUAL.items()}
"""Most keys are told by how long they are and how they begin, without being taken apart."""


def describe_spki(der: bytes) -> KeyInfo:
    """Kind and size of the key in a SubjectPublicKeyInfo.

    Raises `ValueError` for DER that is none, an elliptic curve other than the four of NIST, and a key of
    the wrong length. Kinds of key that nobody here signs with are described, not refused.
    """
    usual = _USUAL_BY_SIZE.get(len(der))
    if usual is not None and der.startswith(usual[0]):
        return usual[1]
    spki = asn1.decode_der(SubjectPublicKeyInfo, der)
    if spki.key.padding_bits():
        raise ValueError("a public key is not a whole number of octets")
    bits = spki.key.as_bytes()
    algorithm = encoded(spki.algorithm)
    if (curve := _EC_KEYS.get(algorithm)) is not None:
        if len(bits) != 1 + 2 * ((curve.bits + 7) // 8) or bits[0] != _UNCOMPRESSED_POINT:
            raise ValueError("not an uncompressed point of its curve")
        return curve
    if algorithm == _RSA_KEY:
        return _describe_rsa(bits)
    if algorithm == _ED25519_KEY:
        if len(bits) != 32:
            raise ValueError("an Ed25519 key has 32 octets")
        return _ED25519
    return _NOT_FOR_US.get(algorithm) or _describe_other(algorithm)


def _describe_rsa(bits: bytes) -> KeyInfo:
    key = asn1.decode_der(RSAPublicKey, bits)
    if key.modulus <= 0 or key.modulus % 2 == 0:
        raise ValueError("an RSA modulus is positive and odd")
    if not 3 <= key.exponent < _LARGEST_EXPONENT or key.exponent % 2 == 0:
        raise ValueError("an RSA exponent is odd, at least 3 and of at most 63 bits")
    return KeyInfo("RSA", key.modulus.bit_length())


def _describe_other(algorithm: bytes) -> KeyInfo:
    try:
        named = asn1.decode_der(AlgorithmWithParameters, algorithm).algorithm.dotted_string
    except ValueError:
        return _UNKNOWN
    if named == oids.EC_PUBLIC_KEY:
        raise ValueError("unsupported elliptic curve")
    return KeyInfo("DSA") if named == oids.DSA_PUBLIC_KEY else _UNKNOWN
