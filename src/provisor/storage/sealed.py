"""Columns that hold secrets which must be read again: sealed under a key, bound to their place.

A value moved to another row, column or table does not open. The data key is itself such a value, in
table `sealing_keys`, sealed under a key that the database does not hold.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from provisor.core.secret import Secret
from provisor.errors import Malformed

NONCE_BYTES: Final = 12
KEY_BYTES: Final = 32
_VERSION_1: Final = b"\x01"


def seal(key: Secret, plaintext: Secret, *, table: str, row: str, column: str, nonce: bytes) -> bytes:
    """The sealed value: version, nonce, AES-256-GCM ciphertext and tag.

    `nonce` is 12 octets that this key has not seen before: random. `row` is the primary key as text.
    Raises `ValueError` for a key or a nonce of another length.
    """
    if len(nonce) != NONCE_BYTES:
        raise ValueError("a nonce has 12 octets")
    return _VERSION_1 + nonce + _cipher(key).encrypt(nonce, plaintext.reveal(), _place(table, row, column))


def open_sealed(key: Secret, sealed: bytes, *, table: str, row: str, column: str) -> Secret:
    """The secret again. Raises `Malformed` if it was sealed otherwise: by another key, in another place, altered."""
    if not sealed.startswith(_VERSION_1):
        raise Malformed("sealed value of an unknown version")
    cipher = _cipher(key)
    nonce, ciphertext = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
    try:
        return Secret(cipher.decrypt(nonce, ciphertext, _place(table, row, column)))
    except (InvalidTag, ValueError) as error:
        raise Malformed(f"sealed value of {table}.{column} does not open") from error


def _cipher(key: Secret) -> AESGCM:
    if len(key.reveal()) != KEY_BYTES:
        raise ValueError("a sealing key has 32 octets")
    return AESGCM(key.reveal())


def _place(*parts: str) -> bytes:
    """The associated data. Each part with its length, so that no two places read alike."""
    octets = [part.encode() for part in parts]
    return _VERSION_1 + b"".join(len(part).to_bytes(4, "big") + part for part in octets)
