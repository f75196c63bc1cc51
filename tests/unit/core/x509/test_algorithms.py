from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from provisor.core.keys import KeyInfo, spki_der
from provisor.core.x509.algorithms import (
    ECDSA_SHA256,
    ECDSA_SHA512,
    ED25519,
    PSS_SHA512,
    RSA_SHA256,
    RSA_SHA512,
    SCHEMES,
    default_algorithm,
    find_scheme,
    is_signature_valid,
)

EC = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
ED = ed25519.Ed25519PrivateKey.generate()
DATA = b"signed"


def signature(algorithm: bytes) -> tuple[bytes, bytes]:
    """The SubjectPublicKeyInfo of a key, and its signature over DATA."""
    scheme = SCHEMES[algorithm]
    key: PrivateKeyTypes
    if scheme.hash is None:
        key, made = ED, ED.sign(DATA)
    elif scheme.kind == "EC":
        key, made = EC, EC.sign(DATA, ec.ECDSA(scheme.hash))
    else:
        mask = padding.MGF1(scheme.hash)
        pad = padding.PSS(mask, scheme.hash.digest_size) if scheme.pss else padding.PKCS1v15()
        key, made = RSA, RSA.sign(DATA, pad, scheme.hash)
    return spki_der(key.public_key()), made


@pytest.mark.parametrize("algorithm", SCHEMES, ids=lambda der: der.hex()[:40])
def test_a_signature_is_valid_for_its_own_algorithm_only(algorithm: bytes) -> None:
    spki, made = signature(algorithm)
    for other, scheme in SCHEMES.items():
        assert is_signature_valid(spki, scheme, made, DATA) is (other == algorithm)
    assert not is_signature_valid(spki, SCHEMES[algorithm], made, DATA + b"!")
    assert not is_signature_valid(spki, SCHEMES[algorithm], b"", DATA)
    assert not is_signature_valid(b"\x30\x00", SCHEMES[algorithm], made, DATA)


@pytest.mark.parametrize(
    ("spelt", "meant"),
    [
        ("300b06092a864886f70d01010b", RSA_SHA256),
        ("300b06092a864886f70d01010d", RSA_SHA512),
        ("300c06082a8648ce3d0403020500", ECDSA_SHA256),
        ("300c06082a8648ce3d0403040500", ECDSA_SHA512),
    ],
)
def test_parameters_that_some_encoders_write_otherwise_are_read(spelt: str, meant: bytes) -> None:
    assert find_scheme(bytes.fromhex(spelt)) == SCHEMES[meant]


@pytest.mark.parametrize(
    "der",
    [
        "",
        "3000",
        # MD5 and SHA-224 with RSA, DSA with SHA-256, PSS without parameters, Ed25519 with NULL
        "300d06092a864886f70d0101040500",
        "300d06092a864886f70d01010e0500",
        "300b0609608648016503040302",
        "300b06092a864886f70d01010a",
        "300706032b65700500",
    ],
)
def test_other_algorithms_are_unknown(der: str) -> None:
    assert find_scheme(bytes.fromhex(der)) is None


def test_sha1_is_known_and_marked_but_never_used_to_sign() -> None:
    for der in ("300906072a8648ce3d0401", "300d06092a864886f70d0101050500"):
        scheme = find_scheme(bytes.fromhex(der))
        assert scheme is not None
        assert scheme.is_sha1
        assert bytes.fromhex(der) not in SCHEMES
    assert not SCHEMES[ED25519].is_sha1
    assert isinstance(SCHEMES[PSS_SHA512].hash, hashes.SHA512)


def test_a_key_that_cannot_sign_has_no_algorithm() -> None:
    with pytest.raises(ValueError, match="X25519"):
        default_algorithm(KeyInfo("X25519"))
