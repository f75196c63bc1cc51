"""Writing DER by joining what is encoded already (X.690 sections 8 and 10). Reading is the library's affair.

The library encodes an element in a microsecond, a certificate has fifty of them, and most are the same
in every certificate. So what does not change is encoded once, and a certificate is joined from it.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography import x509
from cryptography.hazmat import asn1

INTEGER = b"\x02"
BIT_STRING = b"\x03"
OCTET_STRING = b"\x04"
UTF8_STRING = b"\x0c"
PRINTABLE_STRING = b"\x13"
SEQUENCE = b"\x30"
SET = b"\x31"


def _length(size: int) -> bytes:
    if size < 0x80:
        return bytes((size,))
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(octets),)) + octets


_LENGTHS = tuple(map(_length, range(1024)))


def encode_length(size: int) -> bytes:
    """The length octets before a content of `size` octets (X.690 sections 8.1.3 and 10.1)."""
    return _LENGTHS[size] if size < 1024 else _length(size)


def element(tag: bytes, content: bytes) -> bytes:
    """One element of any length."""
    return tag + encode_length(len(content)) + content


def header_size(size: int) -> int:
    """How many octets stand before the content of an element that has `size` octets in all, below 16 MiB."""
    return 2 if size < 0x82 else 3 if size < 0x103 else 4 if size < 0x10004 else 5


def is_sequence(der: bytes) -> bool:
    """Whether `der` is one SEQUENCE from end to end; its content is not looked at."""
    size = len(der)
    return size >= 2 and der.startswith(SEQUENCE + encode_length(size - header_size(size)))


def sequence(*elements: bytes) -> bytes:
    """A SEQUENCE of elements that are encoded already."""
    return element(SEQUENCE, b"".join(elements))


def encode_integer(number: int) -> bytes:
    """In as few octets of two's complement as there can be (X.690 section 8.3)."""
    magnitude = number if number >= 0 else ~number
    return element(INTEGER, number.to_bytes(magnitude.bit_length() // 8 + 1, "big", signed=True))


@lru_cache(maxsize=512)
def encode_object_id(dotted: str) -> bytes:
    """Raises `ValueError` for a text that is not an object identifier."""
    return asn1.encode_der(x509.ObjectIdentifier(dotted))
