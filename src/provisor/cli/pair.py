"""A certificate and its key in two files: what renews, rekeys and revokes itself."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime

import msgspec

from provisor.cli import files, keys
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call
from provisor.client.transport import Identity
from provisor.core.keys import PrivateKey, spki_der
from provisor.core.pem import encode_pem, encode_private_key, parse_certificates
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.errors import BadKey, Malformed


class Pair(msgspec.Struct, frozen=True):
    """The chain in DER, leaf first, its leaf, and the leaf's key."""

    chain: Sequence[bytes]
    leaf: Certificate
    key: PrivateKey

    def is_expired(self, now: datetime) -> bool:
        return now > self.leaf.not_after

    def identity(self) -> Identity:
        """For mutual TLS."""
        chain = "".join(encode_pem("CERTIFICATE", der) for der in self.chain)
        return Identity(chain.encode(), encode_private_key(self.key, random=secrets.token_bytes))


def make_pair(chain: Sequence[bytes], key: PrivateKey) -> Pair:
    """Raises `CommandError` if the key is another's, `Malformed` for a leaf that cannot be read."""
    leaf = parse_certificate(chain[0])
    if leaf.spki != spki_der(key.public_key()):
        raise CommandError("error loading certificate key pair: tls: private key does not match public key")
    return Pair(tuple(chain), leaf, key)


def load_pair(call: Call, crt_file: str, key_file: str) -> Pair:
    """Read both; `--password-file` opens an encrypted key, or a question does. Raises `CommandError`."""
    try:
        chain = parse_certificates(files.read_pem_file(crt_file))
    except (CommandError, Malformed) as error:
        raise CommandError(f"error reading certificate chain: {_text_of(error)}") from error
    password, flag = keys.password_from(call, "password-file")
    try:
        return make_pair(chain, keys.load_key(key_file, password, flag=flag))
    except BadKey as error:
        raise CommandError(f"error loading private key: {error.detail}") from error
    except Malformed as error:
        raise CommandError(f"error reading certificate chain: {error.detail}") from error


def _text_of(error: CommandError | Malformed) -> str:
    return error.message if isinstance(error, CommandError) else error.detail
