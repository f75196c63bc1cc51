"""Key files that the real client wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provisor.core.jose.jwe import parse_jwe
from provisor.core.jose.jwk import encode_jwk, parse_jwk
from provisor.core.jose.keyfile import parse_key_file
from provisor.core.keys import PasswordNeeded, WrongPassword, describe_key
from provisor.core.secret import Secret

KEYS = Path(__file__).parent / "keys"
ENCRYPTED = {
    "init_intermediate.key": "ECDSA P-256",
    "keypair_p521.key": "ECDSA P-521",
    "keypair_rsa.key": "RSA 2048",
    "keypair_ed25519.key": "Ed25519",
    "pkcs8_p256.key": "ECDSA P-256",
    "jwk_p256.key": "ECDSA P-256",
    "jwk_rsa.key": "RSA 2048",
}
PLAIN = {"openssh_ed25519.key": "Ed25519", "admin.jwk": "ECDSA P-256", "jwk_p256.pub": "ECDSA P-256"}


@pytest.mark.parametrize(("name", "label"), [*ENCRYPTED.items(), *PLAIN.items()])
def test_a_key_file_is_read_with_its_password(name: str, label: str) -> None:
    jwk = parse_key_file((KEYS / name).read_bytes(), Secret("password"), where=name)
    assert jwk.public_key is not None
    assert describe_key(jwk.public_key).label == label
    assert (jwk.private_key is None) == name.endswith(".pub")
    assert jwk.kid == jwk.thumbprint()


@pytest.mark.parametrize("name", ENCRYPTED)
def test_an_encrypted_file_needs_the_right_password(name: str) -> None:
    data = (KEYS / name).read_bytes()
    with pytest.raises(PasswordNeeded):
        parse_key_file(data, None, where=name)
    with pytest.raises(WrongPassword):
        parse_key_file(data, b"Password", where=name)


def test_a_jwk_is_written_in_the_members_order_of_the_client() -> None:
    text = (KEYS / "admin.jwk").read_bytes()
    assert encode_jwk(parse_jwk(text), private=True) == text


def test_an_encrypted_jwk_becomes_compact() -> None:
    text = (KEYS / "jwk_p256.key").read_text()
    message = parse_jwe(text)
    compact = message.compact()
    assert compact.count(".") == 4
    assert parse_jwe(compact) == message
    assert json.loads(text)["protected"] == compact.split(".")[0]
