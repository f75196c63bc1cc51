"""The key of a JWK provisioner: with it a program makes its own tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Self, final

from provisor.client.files import FileName
from provisor.core.jose.jwe import decrypt_pbes2
from provisor.core.jose.jwk import make_jwk, parse_jwk
from provisor.core.keys import PasswordNeeded, PrivateKey
from provisor.core.pem import parse_private_key
from provisor.core.secret import Password, Secret
from provisor.errors import BadKey


@final
class ProvisionerKey:
    """`name` is that of the provisioner, as the CA knows it; `key_id` its `kid`, the key's thumbprint if not given."""

    __slots__ = ("key_id", "name", "private_key")

    def __init__(self, name: str, private_key: PrivateKey, key_id: str = "") -> None:
        self.name = name
        self.private_key = private_key
        self.key_id = key_id or make_jwk(private_key).kid

    @classmethod
    def parse(cls, name: str, content: str | bytes, password: Password | str | None = None) -> Self:
        """From a JWK, a JWK encrypted as JWE (compact, as `encryptedKey` in ca.json, or JSON), or PEM.

        Raises `PasswordNeeded`, `WrongPassword` or another `BadKey`.
        """
        data = content.encode() if isinstance(content, str) else content
        secret = Secret(password) if isinstance(password, str | bytes) else password
        if b"-----BEGIN " in data:
            return cls(name, parse_private_key(data, secret))
        text = data.strip()
        if not text.startswith(b"{") or b'"ciphertext"' in text:
            text = decrypt_pbes2(text.decode(errors="replace"), _needed(secret))
        jwk = parse_jwk(text)
        if jwk.private_key is None:
            raise BadKey("this is not the private key of a provisioner: it has no private half")
        return cls(name, jwk.private_key, jwk.kid)

    @classmethod
    def load(cls, name: str, file: FileName, password: Password | str | None = None) -> Self:
        """As `parse`, from a file. Raises `OSError`, `BadKey`."""
        return cls.parse(name, Path(file).read_bytes(), password)

    def __repr__(self) -> str:
        return f"ProvisionerKey({self.name!r}, key_id={self.key_id!r})"


def _needed(password: Secret | None) -> Secret:
    if not password:
        raise PasswordNeeded("the key of the provisioner is encrypted and no password was given")
    return password


Credential = ProvisionerKey | str
"""Who may have a certificate: a key that tokens are made with, or one token."""
