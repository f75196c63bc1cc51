"""How values that a database has no type for become keys."""

from __future__ import annotations

import hashlib
from typing import Final

_ZERO: Final = 0x80
_LONGEST_SHORT: Final = 0x3F


def encode_serial(serial: int) -> bytes:
    """A key for any integer, whose order as bytes is the order of the integers.

    First an octet that holds sign and length, then the magnitude; a negative one is the complement
    of its opposite. A serial number should be positive (RFC 5280 section 4.1.2.2), but a revocation
    may name any.
    """
    if serial < 0:
        return bytes(0xFF - octet for octet in encode_serial(-serial))
    if serial == 0:
        return bytes((_ZERO,))
    length = (serial.bit_length() + 7) // 8
    magnitude = serial.to_bytes(length, "big")
    if length <= _LONGEST_SHORT:
        return bytes((_ZERO + length,)) + magnitude
    prefix = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((_ZERO + _LONGEST_SHORT + len(prefix),)) + prefix + magnitude


def decode_serial(key: bytes) -> int:
    """The integer of a key. Raises `ValueError` if it is not one that `encode_serial` makes."""
    if key and key[0] < _ZERO:
        return -decode_serial(bytes(0xFF - octet for octet in key))
    if key == bytes((_ZERO,)):
        return 0
    length = key[0] - _ZERO if key else 0
    rest = key[1:]
    if length > _LONGEST_SHORT:
        width = length - _LONGEST_SHORT
        length, rest = int.from_bytes(rest[:width], "big"), rest[width:]
    serial = int.from_bytes(rest, "big")
    if len(rest) != length or encode_serial(serial) != key:
        raise ValueError("not the key of a serial number")
    return serial


def hash_token_key(key: str) -> bytes:
    """What stands for a token key in the store: 32 octets, however long a stranger made the key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
