"""Requests and certificates put together by the element: right lengths and signatures around whatever is inside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ECDSA_SHA256: Final = bytes.fromhex("300a06082a8648ce3d040302")
SAN_OID: Final = bytes.fromhex("0603551d11")
EXTENSION_REQUEST_OID: Final = bytes.fromhex("06092a864886f70d01090e")
PROVISIONER_OID: Final = bytes.fromhex("060c2b0601040182a464c6284001")


def tlv(tag: int, *parts: bytes) -> bytes:
    """One DER element around these."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def integer(value: int) -> bytes:
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def spki_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def sign(content: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Content, algorithm and signature in one SEQUENCE."""
    signature = key.sign(content, ec.ECDSA(hashes.SHA256()))
    return tlv(0x30, content, ECDSA_SHA256, tlv(0x03, b"\x00", signature))


def extension(oid: bytes, value: bytes) -> bytes:
    return tlv(0x30, oid, tlv(0x04, value))


def make_raw_request(
    key: ec.EllipticCurvePrivateKey, *, subject: bytes, attributes: bytes = b"", spki: bytes | None = None
) -> bytes:
    """A request with a good signature; `subject` is an element, `attributes` any number of them."""
    return sign(tlv(0x30, integer(0), subject, spki_of(key) if spki is None else spki, tlv(0xA0, attributes)), key)


def san_attribute(value: bytes) -> bytes:
    """The request for a subject alternative name extension with this value."""
    return tlv(0x30, EXTENSION_REQUEST_OID, tlv(0x31, tlv(0x30, extension(SAN_OID, value))))


def make_raw_certificate(
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    subject: bytes,
    validity: bytes,
    extensions: Sequence[bytes],
    serial: bytes | None = None,
) -> bytes:
    """A certificate that its issuer signed, whatever it says."""
    tbs = tlv(
        0x30,
        tlv(0xA0, integer(2)),
        integer(4711) if serial is None else serial,
        ECDSA_SHA256,
        issuer.subject.public_bytes(),
        validity,
        subject,
        spki_of(key),
        tlv(0xA3, tlv(0x30, *extensions)) if extensions else b"",
    )
    return sign(tbs, issuer_key)


def validity(start: datetime, end: datetime) -> bytes:
    """Both as UTCTime."""
    return tlv(0x30, *(tlv(0x17, f"{at:%y%m%d%H%M%S}Z".encode()) for at in (start, end)))


def common_name(value: bytes, tag: int = 0x0C) -> bytes:
    """A Name of one attribute."""
    return tlv(0x30, tlv(0x31, tlv(0x30, bytes.fromhex("0603550403"), tlv(tag, value))))
