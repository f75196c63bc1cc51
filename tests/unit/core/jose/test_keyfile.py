from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from provisor.core.jose.jwe import encrypt_pbes2
from provisor.core.jose.jwk import encode_jwk, make_jwk
from provisor.core.jose.keyfile import is_jwe, parse_key_file
from provisor.core.keys import PasswordNeeded, WrongPassword
from provisor.core.pem import encode_private_key, encode_public_key
from provisor.errors import BadKey

KEY = ec.generate_private_key(ec.SECP256R1())
JWK = make_jwk(KEY)
ENCRYPTED = encrypt_pbes2(encode_jwk(JWK, private=True), b"password", os.urandom, iterations=10).encode()


@pytest.mark.parametrize(
    "data",
    [
        encode_private_key(KEY, random=os.urandom),
        encode_private_key(KEY, password=b"password", random=os.urandom),
        encode_public_key(KEY.public_key()).encode(),
        encode_jwk(JWK),
        encode_jwk(JWK, private=True),
        ENCRYPTED,
        b"\n" + ENCRYPTED + b"\n",
    ],
)
def test_every_form_of_a_key_is_the_same_key(data: bytes) -> None:
    found = parse_key_file(data, b"password")
    assert (found.kid, found.alg, found.public_key) == (JWK.kid, "ES256", KEY.public_key())


def test_an_encrypted_key_needs_its_password() -> None:
    with pytest.raises(PasswordNeeded):
        parse_key_file(ENCRYPTED, None)
    with pytest.raises(WrongPassword):
        parse_key_file(ENCRYPTED, b"x")


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"{}", b"-----BEGIN CERTIFICATE-----\n", b" " * 70_000, b"a.b.c"])
def test_what_is_no_key_is_refused(data: bytes) -> None:
    with pytest.raises(BadKey):
        parse_key_file(data, b"x")


def test_an_encrypted_message_is_recognised() -> None:
    assert is_jwe(ENCRYPTED)
    assert not is_jwe(encode_jwk(JWK))
    assert not is_jwe(b"\xff")
