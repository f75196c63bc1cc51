from __future__ import annotations

import pytest
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x448, x25519

from provisor.core.keys import AnyPublicKey, KeyInfo, describe_key, spki_der
from provisor.core.x509.der import RSAPublicKey, SubjectPublicKeyInfo, embed
from provisor.core.x509.spki import describe_spki


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP224R1()).public_key(),
        ec.generate_private_key(ec.SECP256R1()).public_key(),
        ec.generate_private_key(ec.SECP384R1()).public_key(),
        ec.generate_private_key(ec.SECP521R1()).public_key(),
        rsa.generate_private_key(65537, 2048).public_key(),
        rsa.generate_private_key(3, 1024).public_key(),
        ed25519.Ed25519PrivateKey.generate().public_key(),
        ed448.Ed448PrivateKey.generate().public_key(),
        x25519.X25519PrivateKey.generate().public_key(),
        x448.X448PrivateKey.generate().public_key(),
        dsa.generate_private_key(1024).public_key(),
    ],
    ids=lambda key: type(key).__name__,
)
def test_octets_are_described_as_the_loaded_key_is(key: AnyPublicKey) -> None:
    assert describe_spki(spki_der(key)) == describe_key(key)


def test_an_unknown_algorithm_is_unknown() -> None:
    assert describe_spki(bytes.fromhex("300a300506032a0304" + "0301" + "00")) == KeyInfo("unknown")


P256 = spki_der(ec.generate_private_key(ec.SECP256R1()).public_key())
ED = spki_der(ed25519.Ed25519PrivateKey.generate().public_key())


@pytest.mark.parametrize(
    "der",
    [
        b"",
        P256[:-1],
        P256 + b"\x00",
        P256.replace(b"\x03\x42\x00\x04", b"\x03\x42\x00\x05"),
        P256.replace(b"\x03\x42\x00\x04", b"\x03\x42\x04\x04"),
        spki_der(ec.generate_private_key(ec.SECP256K1()).public_key()),
        spki_der(ec.generate_private_key(ec.BrainpoolP384R1()).public_key()),
        ED[:1] + bytes((ED[1] - 1,)) + ED[2:9] + b"\x03\x20\x00" + ED[13:],
        bytes.fromhex("3018300d06092a864886f70d01010105000307003004020100020103")[:26],
        bytes.fromhex("301a300d06092a864886f70d0101010500030900" + "3006" + "0201ff" + "020103"),
    ],
    ids=[
        "none",
        "cut",
        "trailing",
        "form",
        "bits",
        "secp256k1",
        "brainpool",
        "short Ed25519",
        "RSA cut",
        "RSA negative",
    ],
)
def test_a_key_that_cannot_be_read_is_refused(der: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        describe_spki(der)


def rsa_spki(modulus: int, exponent: int) -> bytes:
    bits = asn1.BitString(asn1.encode_der(RSAPublicKey(modulus=modulus, exponent=exponent)), 0)
    algorithm = embed(bytes.fromhex("300d06092a864886f70d0101010500"))
    return asn1.encode_der(SubjectPublicKeyInfo(algorithm=algorithm, key=bits))


ODD = (1 << 2047) + 1


def test_an_rsa_key_has_the_size_of_its_modulus() -> None:
    assert describe_spki(rsa_spki(ODD, 3)) == KeyInfo("RSA", 2048)
    assert describe_spki(rsa_spki(ODD // 2 | 1, 65537)) == KeyInfo("RSA", 2047)


@pytest.mark.parametrize(
    ("modulus", "exponent"),
    [(ODD + 1, 3), (-ODD, 3), (0, 3), (ODD, 0), (ODD, 1), (ODD, 2), (ODD, -3), (ODD, 65536), (ODD, (1 << 63) + 1)],
)
def test_an_rsa_key_that_is_none_is_refused(modulus: int, exponent: int) -> None:
    with pytest.raises(ValueError, match="RSA"):
        describe_spki(rsa_spki(modulus, exponent))
