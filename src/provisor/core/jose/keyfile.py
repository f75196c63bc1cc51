"""A key from a file of any of the kinds a token may be made with: PEM, JWK, or JWK inside a JWE."""

from __future__ import annotations

from provisor.core.jose.encoding import MAX_BYTES
from provisor.core.jose.jwe import decrypt_pbes2, parse_jwe
from provisor.core.jose.jwk import JWK, make_jwk, parse_jwk
from provisor.core.keys import PasswordNeeded
from provisor.core.pem import parse_private_key, parse_public_key
from provisor.core.secret import Password
from provisor.errors import BadKey


def parse_key_file(data: bytes, password: Password | None, *, where: str = "") -> JWK:
    """The key of a file; a PEM key gets its thumbprint as `kid`.

    Raises `PasswordNeeded`, `WrongPassword` or another `BadKey`.
    """
    if len(data) > MAX_BYTES:
        raise BadKey(f"error reading {where or 'key'}: more than {MAX_BYTES} octets")
    text = data.strip()
    if b"-----BEGIN " in text:
        if b"-----BEGIN PUBLIC KEY-----" in text:
            return make_jwk(parse_public_key(text, where=where))
        return make_jwk(parse_private_key(text, password, where=where))
    if not is_jwe(text):
        return parse_jwk(text)
    if not password:
        raise PasswordNeeded(f"error reading {where or 'key'}: the key is encrypted and no password was given")
    return parse_jwk(decrypt_pbes2(text.decode(), password))


def is_jwe(data: bytes) -> bool:
    """Whether a text can be read as an encrypted message, whatever opens it."""
    try:
        return bool(parse_jwe(data.decode()).ciphertext)
    except (BadKey, UnicodeDecodeError):
        return False
