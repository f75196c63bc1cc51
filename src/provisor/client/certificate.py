"""A certificate as a program holds it: the chain, and the private key where it has that."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Self, final

from provisor.client.errors import BadAnswer
from provisor.client.files import FileName, replace_file, replace_pair
from provisor.client.transport import Identity, load_identity
from provisor.core.keys import PrivateKey, spki_der
from provisor.core.pem import encode_pem, encode_private_key, parse_certificates, parse_private_key
from provisor.core.secret import Password, Secret
from provisor.core.x509 import certificate as x509
from provisor.errors import BadKey


@final
class Certificate:
    """A certificate chain, leaf first, and the key of the leaf if this is the program that has it. Immutable.

    ::

        certificate = ca.issue("web.internal", key)
        certificate.save("web.crt", "web.key")
        certificate.use_in(ssl_context)
    """

    __slots__ = ("_key", "chain", "leaf")

    def __init__(self, chain: Sequence[bytes], private_key: PrivateKey | None = None) -> None:
        """`chain` is DER, leaf first. Raises `Malformed`, and `BadKey` if the key is that of another certificate."""
        self.chain = tuple(chain)
        self.leaf = x509.parse_certificate(self.chain[0])
        self._key = private_key
        if private_key is not None and spki_der(private_key.public_key()) != self.leaf.spki:
            raise BadKey("the private key is not that of the certificate")

    @classmethod
    def parse(
        cls, pem: str | bytes, key_pem: str | bytes | None = None, password: Password | str | None = None
    ) -> Self:
        """From PEM; `pem` and `key_pem` may be one and the same text. Raises `Malformed`, `BadKey`."""
        key = None if key_pem is None else parse_private_key(_key_blocks(_octets(key_pem)), _secret(password))
        return cls(parse_certificates(_octets(pem)), key)

    @classmethod
    def load(
        cls, cert_file: FileName, key_file: FileName | None = None, password: Password | str | None = None
    ) -> Self:
        """What `save`, `step` or `provisor` wrote. Raises `OSError`, `Malformed`, `BadKey`."""
        key = None if key_file is None else Path(key_file).read_bytes()
        return cls.parse(Path(cert_file).read_bytes(), key, password)

    def save(self, cert_file: FileName, key_file: FileName | None = None) -> None:
        """Write the chain, and the key into `key_file`, or both into one file if that is the same name.

        New files have mode 0600. Either the old files stay or the new ones are there whole. Raises `OSError`, and
        `BadKey` when there is no key to write.
        """
        if key_file is None:
            replace_file(cert_file, self.pem.encode())
        elif Path(key_file) == Path(cert_file):
            replace_file(cert_file, self.key_pem.encode() + self.pem.encode())
        else:
            replace_pair((key_file, self.key_pem.encode()), (cert_file, self.pem.encode()))

    def use_in(self, context: ssl.SSLContext) -> None:
        """Have `context` show this certificate. Raises `BadKey`, `BadAnswer` if OpenSSL takes it not."""
        try:
            load_identity(context, self.identity)
        except ssl.SSLError as error:
            raise BadAnswer(f"the certificate cannot be used for TLS: {error.reason or error}") from error

    @property
    def identity(self) -> Identity:
        """For mutual TLS. Raises `BadKey` without a key."""
        return Identity(self.pem.encode(), self.key_pem.encode())

    @property
    def private_key(self) -> PrivateKey:
        """A key of the package `cryptography`. Raises `BadKey` if this program does not have it."""
        if self._key is None:
            raise BadKey("the private key of this certificate is not here")
        return self._key

    @property
    def has_key(self) -> bool:
        return self._key is not None

    @property
    def pem(self) -> str:
        """The whole chain, leaf first."""
        return "".join(encode_pem("CERTIFICATE", der) for der in self.chain)

    @property
    def key_pem(self) -> str:
        """The private key, not encrypted. Raises `BadKey` if this program does not have it."""
        return encode_private_key(self.private_key, random=secrets.token_bytes).decode()

    @property
    def common_name(self) -> str:
        return self.leaf.common_name

    @property
    def names(self) -> tuple[str, ...]:
        """The subject alternative names: in the order in which they are in it."""
        return tuple(name.value for name in self.leaf.names)

    @property
    def serial(self) -> int:
        return self.leaf.serial

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the leaf in hex."""
        return self.leaf.fingerprint

    @property
    def not_before(self) -> datetime:
        return self.leaf.not_before

    @property
    def not_after(self) -> datetime:
        return self.leaf.not_after

    def __eq__(self, other: object) -> bool:
        return self.chain == other.chain if isinstance(other, Certificate) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.chain)

    def __repr__(self) -> str:
        return f"Certificate({self.common_name!r}, serial={self.serial}, not_after={self.not_after:%Y-%m-%dT%H:%M:%SZ})"


def _octets(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _secret(password: Password | str | None) -> Secret | None:
    """Text or octets as a secret; None stays None."""
    return Secret(password) if isinstance(password, str | bytes) else password


def _key_blocks(pem: bytes) -> bytes:
    """The text without its certificates: a file may hold both."""
    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    while begin in pem and end in pem:
        head, _, rest = pem.partition(begin)
        pem = head + rest.partition(end)[2]
    return pem
