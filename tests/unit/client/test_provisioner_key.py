"""The key of a provisioner in each of its forms."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from provisor import BadKey, PasswordNeeded, ProvisionerKey, WrongPassword
from provisor.core.jose.jwe import encrypt_pbes2
from provisor.core.jose.jwk import encode_jwk, jwk_members, make_jwk
from provisor.core.keys import PrivateKey, spki_der
from provisor.core.pem import encode_private_key
from provisor.testing import CA

EC = ec.generate_private_key(ec.SECP256R1())
JWK = encode_jwk(make_jwk(EC), private=True)
JWE = encrypt_pbes2(JWK, b"secret", os.urandom, iterations=1000)
KEYS: list[PrivateKey] = [EC, rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()]


def same(one: PrivateKey, other: PrivateKey) -> bool:
    return spki_der(one.public_key()) == spki_der(other.public_key())


def jwe_object() -> str:
    protected, encrypted_key, iv, ciphertext, tag = JWE.split(".")
    return json.dumps(
        {"protected": protected, "encrypted_key": encrypted_key, "iv": iv, "ciphertext": ciphertext, "tag": tag}
    )


@pytest.mark.parametrize(
    ("content", "password"),
    [
        (JWK, None),
        (JWK.decode(), "ignored"),
        (JWE, "secret"),
        (JWE, b"secret"),
        (f"{JWE}\n", "secret"),
        (jwe_object(), "secret"),
        (encode_private_key(EC, random=os.urandom), None),
        (encode_private_key(EC, password=b"secret", random=os.urandom), "secret"),
    ],
    ids=["jwk", "jwk-text", "jwe", "jwe-octets", "jwe-line", "jwe-json", "pem", "pem-encrypted"],
)
def test_each_form_is_read(content: str | bytes, password: str | bytes | None) -> None:
    key = ProvisionerKey.parse("admin", content, password)
    assert (key.name, key.key_id) == ("admin", make_jwk(EC).kid)
    assert same(key.private_key, EC)


def test_the_id_of_the_key_is_its_own_or_its_thumbprint() -> None:
    named = jwk_members(make_jwk(EC), private=True) | {"kid": "mine"}
    assert ProvisionerKey.parse("admin", json.dumps(named)).key_id == "mine"
    assert ProvisionerKey("admin", EC).key_id == make_jwk(EC).kid


@pytest.mark.parametrize("content", [JWE, encode_private_key(EC, password=b"secret", random=os.urandom)])
def test_a_wrong_password_is_told_from_none(content: str | bytes) -> None:
    with pytest.raises(WrongPassword):
        ProvisionerKey.parse("admin", content, "other")
    with pytest.raises(PasswordNeeded):
        ProvisionerKey.parse("admin", content)
    with pytest.raises(PasswordNeeded):
        ProvisionerKey.parse("admin", content, "")


@pytest.mark.parametrize("content", [encode_jwk(make_jwk(EC)), b"{}", b"{", b"a.b.c.d.e", b"", b"\xff\xfe"])
def test_what_is_no_private_key_is_refused(content: bytes) -> None:
    with pytest.raises(BadKey):
        ProvisionerKey.parse("admin", content, "secret")


def test_it_is_loaded_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(JWK)
    assert same(ProvisionerKey.load("admin", tmp_path / "key").private_key, EC)
    with pytest.raises(FileNotFoundError):
        ProvisionerKey.load("admin", tmp_path / "absent")


def test_it_does_not_print_the_key() -> None:
    assert repr(ProvisionerKey("admin", EC, "id")) == "ProvisionerKey('admin', key_id='id')"


@pytest.mark.parametrize("key", KEYS, ids=lambda key: type(key).__name__)
def test_tokens_of_every_kind_of_key_are_accepted(key: PrivateKey) -> None:
    provisioner = {"type": "JWK", "name": "other", "key": jwk_members(make_jwk(key.public_key()))}
    with CA(settings={"authority": {"provisioners": [provisioner]}}) as ca:
        assert ca.client().issue("a.test", ProvisionerKey("other", key)).names == ("a.test",)
