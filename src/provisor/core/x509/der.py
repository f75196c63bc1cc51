"""The shapes of RFC 5280 for `cryptography.hazmat.asn1`, and carrying DER that is encoded already.

Nothing here writes or reads a tag: the shapes are declared and the library does the rest. What the
library refuses to read it refuses with `ValueError`; the callers turn that into a word of the domain.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Annotated, TypeVar, cast

from cryptography import x509
from cryptography.hazmat import asn1

from provisor.core.der import OCTET_STRING, element, encode_length, encode_object_id, sequence

_TRUE = b"\x01\x01\xff"

T = TypeVar("T")


@asn1.sequence
class AlgorithmWithParameters:
    """An AlgorithmIdentifier with parameters of any kind (RFC 5280 section 4.1.1.2)."""

    algorithm: x509.ObjectIdentifier
    parameters: asn1.TLV


@asn1.sequence
class SubjectPublicKeyInfo:
    algorithm: asn1.TLV
    key: asn1.BitString


@asn1.sequence
class RSAPublicKey:
    """RFC 8017 appendix A.1.1."""

    modulus: int
    exponent: int


@asn1.sequence
class Attribute:
    """One type and value of a distinguished name. The value keeps its own string type."""

    type: x509.ObjectIdentifier
    value: asn1.TLV


@asn1.sequence
class ExtensionSyntax:
    oid: x509.ObjectIdentifier
    critical: Annotated[bool, asn1.Default(False)]
    value: bytes


@asn1.sequence
class LenientExtension:
    """An extension that others wrote: some encoders write out the default `critical` FALSE."""

    oid: x509.ObjectIdentifier
    critical: bool | None
    value: bytes


@asn1.sequence
class Validity:
    not_before: asn1.UTCTime | asn1.GeneralizedTime
    not_after: asn1.UTCTime | asn1.GeneralizedTime


@asn1.sequence
class TBSCertificate:
    """RFC 5280 section 4.1, version 3 without the unique identifiers."""

    version: Annotated[int, asn1.Explicit(0), asn1.Default(0)]
    serial: int
    signature: asn1.TLV
    issuer: asn1.TLV
    validity: Validity
    subject: asn1.TLV
    spki: asn1.TLV
    extensions: Annotated[list[ExtensionSyntax] | None, asn1.Explicit(3)]


@asn1.sequence
class Signed:
    """The frame that certificates, requests and CRLs share: what is signed, how, and the signature."""

    content: asn1.TLV
    algorithm: asn1.TLV
    signature: asn1.BitString


@asn1.sequence
class Items:
    items: list[asn1.TLV]


def embed(der: bytes) -> asn1.TLV:
    """`der`, one whole element, as a value that a shape can hold. Raises `ValueError` if it is not one."""
    return asn1.decode_der(asn1.TLV, der)


@lru_cache(maxsize=64)
def embed_constant(der: bytes) -> asn1.TLV:
    """Like `embed`, remembered: for issuer names and algorithms, which every certificate repeats."""
    return asn1.decode_der(asn1.TLV, der)


def encoded(element: asn1.TLV) -> bytes:
    """The element as it stood where it was read. The library would need half as long again."""
    content = element.data
    return element.tag_bytes + encode_length(len(content)) + content


def read(element: asn1.TLV, shape: type[T]) -> T:
    """An element as one of the shapes. Raises `ValueError` if it is not."""
    return cast(T, element.parse(shape))


def frame(der: bytes) -> bytes:
    """`der` inside a SEQUENCE of its own.

    The library decodes shapes, not bare lists; a list is read as the only member of a shape.
    """
    return sequence(der)


def unframe(der: bytes) -> bytes:
    """What the outermost element of `der` holds: the opposite of `frame`."""
    return bytes(embed(der).data)


def split_list(der: bytes) -> list[asn1.TLV]:
    """The elements of a SEQUENCE OF. Raises `ValueError` if `der` is not one."""
    return asn1.decode_der(Items, frame(der)).items


@lru_cache(maxsize=512)
def object_id(dotted: str) -> x509.ObjectIdentifier:
    """Raises `ValueError` for a text that is not an object identifier."""
    return x509.ObjectIdentifier(dotted)


def encode_time(at: datetime) -> asn1.UTCTime | asn1.GeneralizedTime:
    """UTCTime for 1950 to 2049, GeneralizedTime otherwise (RFC 5280 section 4.1.2.5). `at` has whole seconds."""
    return asn1.UTCTime(at) if 1950 <= at.year < 2050 else asn1.GeneralizedTime(at)


@lru_cache(maxsize=256)
def encode_validity(not_before: datetime, not_after: datetime) -> bytes:
    """The Validity of a certificate. Remembered: of the certificates of one second most have the same.

    Raises `ValueError` for instants that are not whole seconds.
    """
    return asn1.encode_der(Validity(not_before=encode_time(not_before), not_after=encode_time(not_after)))


def encode_extension(oid: str, critical: bool, value: bytes) -> bytes:
    """One Extension around the DER of its value. Raises `ValueError` for what is no object identifier."""
    head, size = _extension_head(oid, critical), len(value)
    if size + len(head) < 0x7E:
        return b"0%c%b\x04%c%b" % (len(head) + size + 2, head, size, value)
    return sequence(head, element(OCTET_STRING, value))


@lru_cache(maxsize=512)
def _extension_head(oid: str, critical: bool) -> bytes:
    return encode_object_id(oid) + (_TRUE if critical else b"")
