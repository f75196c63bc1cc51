"""A certificate and its key in two files: what renews, rekeys and revokes itself."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec

from provisor.cli import files, keys
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call
from provisor.client.transport import Identity
from provisor.core.keys import PrivateKey, spki_der
from provisor.core.pem import encode_pem, encode_private_key, parse_certificates, parse_private_key
from provisor.core.secret import Secret
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.errors import BadKey, Malformed, ProvisorError


class Pair(msgspec.Struct, frozen=True):
    """The chain in DER, leaf first, its leaf, and the leaf's key."""

    chain: Sequence[bytes]
    leaf: Certificate
    key: PrivateKey

    def is_expired(self, now: datetime) -> bool:
        return now > self.leaf.not_after

    def identity(self) -> Identity:
        """For mutual TLS."""
        return Identity(self.pem(), encode_private_key(self.key, random=secrets.token_bytes))

    def pem(self) -> bytes:
        """The chain as a file has it."""
        return "".join(encode_pem("CERTIFICATE", der) for der in self.chain).encode()


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
        key = keys.load_key(key_file, password, flag=flag)
        return make_pair(chain, _left_behind(chain[0], key, key_file) or key)
    except BadKey as error:
        raise CommandError(f"error loading private key: {error.detail}") from error
    except Malformed as error:
        raise CommandError(f"error reading certificate chain: {error.detail}") from error


def _left_behind(leaf: bytes, key: PrivateKey, key_file: str) -> PrivateKey | None:
    """The key of `leaf` that a machine which lost its power wrote, but could not move to its place any more.

    A new certificate changes places before its new key: with the other one the old key is of no use, so that it is
    replaced here. None if nothing of the kind is there. Raises `Malformed`.
    """
    wanted = parse_certificate(leaf).spki
    if spki_der(key.public_key()) == wanted:
        return None
    for path in files.neighbours_of(key_file):
        with suppress(OSError, ProvisorError):
            found = parse_private_key(path.read_bytes(), None, where=str(path))
            if spki_der(found.public_key()) == wanted:
                path.replace(os.path.realpath(key_file))
                return found
    return None


def reload_pair(crt_file: str, key_file: str, password: Secret) -> Pair | None:
    """Both files again, nobody asked; None if they are not a certificate and its key now."""
    try:
        chain = parse_certificates(Path(crt_file).read_bytes())
        return make_pair(chain, parse_private_key(Path(key_file).read_bytes(), password or None, where=key_file))
    except (OSError, ProvisorError, CommandError):
        return None


def _text_of(error: CommandError | Malformed) -> str:
    return error.message if isinstance(error, CommandError) else error.detail
