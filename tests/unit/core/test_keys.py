from __future__ import annotations

import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from provisor.core.keys import (
    KeyInfo,
    curve_for,
    describe_key,
    fingerprint,
    parse_public_spki,
    parse_spki,
    spki_der,
    subject_key_id,
)
from provisor.errors import BadKey

RSA_KEY = rsa.generate_private_key(65537, 2048).public_key()
EC_KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
ED_KEY = ed25519.Ed25519PrivateKey.generate().public_key()


@pytest.mark.parametrize(
    ("key", "info", "label"),
    [
        (EC_KEY, KeyInfo("EC", 256, "P-256"), "ECDSA P-256"),
        (ec.generate_private_key(ec.SECP521R1()).public_key(), KeyInfo("EC", 521, "P-521"), "ECDSA P-521"),
        (ec.generate_private_key(ec.SECP224R1()).public_key(), KeyInfo("EC", 224, "P-224"), "ECDSA P-224"),
        (RSA_KEY, KeyInfo("RSA", 2048), "RSA 2048"),
        (ED_KEY, KeyInfo("Ed25519", 256), "Ed25519"),
        (ed448.Ed448PrivateKey.generate().public_key(), KeyInfo("Ed448", 456), "Ed448"),
        (x25519.X25519PrivateKey.generate().public_key(), KeyInfo("X25519"), "X25519"),
    ],
)
def test_a_key_is_described_by_kind_size_and_curve(key: PublicKeyTypes, info: KeyInfo, label: str) -> None:
    assert describe_key(key) == info
    assert info.label == label


@pytest.mark.parametrize("key", [RSA_KEY, EC_KEY, ED_KEY])
def test_the_subject_key_id_is_the_one_of_the_library(
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey,
) -> None:
    assert subject_key_id(spki_der(key)) == x509.SubjectKeyIdentifier.from_public_key(key).digest


@pytest.mark.parametrize(
    "damage", [b"", b"\x30", b"\x30\x00", b"\x30\x02\x30\x00", b"\x31\x00", b"\x30\x84\xff\xff\xff\xff"]
)
def test_what_is_no_public_key_has_no_key_id(damage: bytes) -> None:
    with pytest.raises(BadKey):
        subject_key_id(damage)
    with pytest.raises(BadKey):
        parse_spki(damage)


def test_every_cut_of_a_public_key_is_refused() -> None:
    der = spki_der(EC_KEY)
    for cut in range(len(der)):
        with pytest.raises(BadKey):
            subject_key_id(der[:cut])
    with pytest.raises(BadKey):
        subject_key_id(der + b"\x00")


def test_a_public_key_that_does_not_sign_is_readable_but_not_to_verify_with() -> None:
    der = spki_der(x25519.X25519PrivateKey.generate().public_key())
    assert describe_key(parse_spki(der)).kind == "X25519"
    with pytest.raises(BadKey):
        parse_public_spki(der)
    assert parse_public_spki(spki_der(ED_KEY)) == ED_KEY


def test_a_fingerprint_is_lower_case_hex_of_sha_256() -> None:
    assert fingerprint(b"abc") == hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize("name", ["P-224", "p-256", "secp256k1", "P-256 ", ""])
def test_only_three_curves_have_a_name_in_jose(name: str) -> None:
    with pytest.raises(BadKey):
        curve_for(name)
