"""A key in each of the forms that `crypto key format` and `crypto change-pass` write."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from provisor.cli.crypto.reading import Key, public_half
from provisor.cli.exits import CommandError
from provisor.core.jose.jwe import encrypt_pbes2
from provisor.core.jose.jwk import encode_jwk, make_jwk
from provisor.core.keys import PrivateKey, PublicKey, describe_key, spki_der
from provisor.core.pem import (
    PBKDF2_ITERATIONS,
    encode_pem,
    encode_private_key,
    encode_public_key,
    encrypt_pkcs8,
)
from provisor.core.secret import Secret
from provisor.errors import BadKey

PEM: Final = "pem"
DER: Final = "der"
SSH: Final = "ssh"
JWK: Final = "jwk"
JWE_PARTS: Final = ("protected", "encrypted_key", "iv", "ciphertext", "tag")


def encode_key(key: Key, form: str, *, pkcs8: bool = False, password: Secret | None = None) -> bytes:
    """`form` is PEM, DER, SSH or JWK; `password` encrypts a private key, except as DER. Raises `CommandError`."""
    if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        return _encode_private(key, form, pkcs8=pkcs8, password=password or None)
    return _encode_public(key, form)


def _encode_private(key: PrivateKey, form: str, *, pkcs8: bool, password: Secret | None) -> bytes:
    if form == DER:
        return private_der(key, pkcs8=pkcs8)
    if form == SSH:
        return _openssh(key, password)
    if form == JWK:
        content = _jwk(key)
        return flattened(content, password) if password else content
    if not pkcs8:
        return encode_private_key(key, password=password, random=secrets.token_bytes)
    der = private_der(key, pkcs8=True)
    if not password:
        return encode_pem("PRIVATE KEY", der).encode()
    sealed = encrypt_pkcs8(der, password.reveal(), secrets.token_bytes, PBKDF2_ITERATIONS)
    return encode_pem("ENCRYPTED PRIVATE KEY", sealed).encode()


def _encode_public(key: PublicKey, form: str) -> bytes:
    if form == DER:
        return spki_der(key)
    if form == SSH:
        return ssh_line(key) + b"\n"
    return _jwk(key) if form == JWK else encode_public_key(key).encode()


def private_der(key: PrivateKey, *, pkcs8: bool) -> bytes:
    """SEC 1, PKCS#1, or with `pkcs8` and for Ed25519 PKCS#8."""
    plain = pkcs8 or isinstance(key, ed25519.Ed25519PrivateKey)
    form = PrivateFormat.PKCS8 if plain else PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(Encoding.DER, form, NoEncryption())


def ssh_line(key: PublicKey) -> bytes:
    """`ssh-ed25519 AAAA...`, without a comment. Raises `CommandError` for a curve that OpenSSH does not know."""
    try:
        return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CommandError(
            "error creating ssh public key: ssh: only P-256, P-384 and P-521 EC keys are supported"
        ) from error


def _openssh(key: PrivateKey, password: Secret | None) -> bytes:
    encryption = BestAvailableEncryption(password.reveal()) if password else NoEncryption()
    try:
        return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, encryption)
    except (ValueError, UnsupportedAlgorithm) as error:
        curve = describe_key(public_half(key)).curve
        raise CommandError(f"error serializing key: unsupported curve {curve}") from error


def _jwk(key: Key) -> bytes:
    """Only the key itself: no `kid`, `alg` or `use`."""
    private = isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey)
    info = describe_key(public_half(key))
    if info.curve == "P-224":
        raise CommandError("error serializing key: a JWK has no curve P-224")
    try:
        return encode_jwk(make_jwk(key, kid="", alg="", use=""), private=private)
    except BadKey as error:
        raise CommandError(f"error serializing key: {error.detail}") from error


def flattened(content: bytes, password: Secret, *, content_type: str = "jwk+json", indent: int | None = None) -> bytes:
    """A JWE in the flattened JSON serialization (RFC 7516 section 7.2.2)."""
    compact = encrypt_pbes2(content, password, secrets.token_bytes, content_type=content_type)
    return _json(dict(zip(JWE_PARTS, compact.split("."), strict=True)), indent)


def pretty(members: Mapping[str, object]) -> bytes:
    """JSON with two spaces, as JWK files have it."""
    return _json(members, 2)


def _json(members: Mapping[str, object], indent: int | None) -> bytes:
    return json.dumps(members, indent=indent, separators=None if indent else (",", ":"), ensure_ascii=False).encode()
