"""A certificate or signing request taken apart for showing, more leniently than for trusting.

Any version, any key and any extension will do; what cannot be decoded further is kept as octets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1
from msgspec import Struct

from provisor.core.pem import encode_pem
from provisor.core.x509 import oids
from provisor.core.x509.algorithms import find_scheme, is_signature_valid
from provisor.core.x509.der import (
    LenientExtension,
    Signed,
    SubjectPublicKeyInfo,
    Validity,
    frame,
    split_list,
)
from provisor.core.x509.extensions import Extension, parse_basic_constraints
from provisor.core.x509.name import EMPTY_NAME, parse_name
from provisor.errors import Malformed

Attributes = Sequence[tuple[str, str | None]]
"""Object identifier and text of each attribute of a name; None for a value that is no string."""


@asn1.sequence
class _TBSCertificate:
    version: Annotated[int, asn1.Explicit(0), asn1.Default(0)]
    serial: int
    signature: asn1.TLV
    issuer: asn1.TLV
    validity: Validity
    subject: asn1.TLV
    spki: asn1.TLV
    issuer_id: Annotated[asn1.BitString | None, asn1.Implicit(1)]
    subject_id: Annotated[asn1.BitString | None, asn1.Implicit(2)]
    extensions: Annotated[list[LenientExtension] | None, asn1.Explicit(3)]


@asn1.sequence
class _RequestInfo:
    version: int
    subject: asn1.TLV
    spki: asn1.TLV
    attributes: Annotated[list[asn1.TLV] | None, asn1.Implicit(0)]


@asn1.sequence
class _Attribute:
    type: asn1.TLV
    values: asn1.SetOf[asn1.TLV]


@asn1.sequence
class _Extensions:
    extensions: list[LenientExtension]


class Document(Struct, frozen=True):
    """Either kind. A request has no serial number, issuer and window; `version` is the number in the DER."""

    der: bytes
    tbs: bytes
    version: int
    subject: bytes
    spki: bytes
    extensions: tuple[Extension, ...]
    signature_algorithm: bytes
    signature: bytes
    serial: int | None = None
    issuer: bytes = EMPTY_NAME
    not_before: datetime | None = None
    not_after: datetime | None = None

    @property
    def is_request(self) -> bool:
        return self.serial is None

    @property
    def pem(self) -> str:
        return encode_pem("CERTIFICATE REQUEST" if self.is_request else "CERTIFICATE", self.der)

    @property
    def is_self_signed(self) -> bool:
        """The key inside made the signature."""
        scheme = find_scheme(self.signature_algorithm)
        return scheme is not None and is_signature_valid(self.spki, scheme, self.signature, self.tbs)

    @property
    def is_authority(self) -> bool:
        value = self.extension(oids.BASIC_CONSTRAINTS)
        try:
            return value is not None and parse_basic_constraints(value).is_ca
        except ValueError:
            return False

    def extension(self, oid: str) -> bytes | None:
        """The value of the first extension of that kind."""
        return next((extension.value for extension in self.extensions if extension.oid == oid), None)

    def digest(self, algorithm: str = "sha256") -> bytes:
        """The fingerprint: a digest of the whole DER."""
        return hashlib.new(algorithm, self.der, usedforsecurity=False).digest()


def parse_document(der: bytes) -> Document:
    """A certificate, else a signing request. Raises `Malformed`."""
    try:
        return parse_certificate(der)
    except Malformed:
        return parse_request(der)


def parse_certificate(der: bytes) -> Document:
    """Raises `Malformed`."""
    try:
        signed = asn1.decode_der(Signed, der)
        tbs = signed.content.parse(_TBSCertificate)
        return Document(
            der=der,
            tbs=asn1.encode_der(signed.content),
            version=tbs.version,
            serial=tbs.serial,
            issuer=_name(tbs.issuer),
            subject=_name(tbs.subject),
            not_before=tbs.validity.not_before.as_datetime(),
            not_after=tbs.validity.not_after.as_datetime(),
            spki=asn1.encode_der(tbs.spki),
            extensions=_extensions(tbs.extensions or []),
            signature_algorithm=asn1.encode_der(signed.algorithm),
            signature=signed.signature.as_bytes(),
        )
    except ValueError as error:
        raise Malformed(f"not a certificate: {error}") from error


def parse_request(der: bytes) -> Document:
    """Raises `Malformed`."""
    try:
        signed = asn1.decode_der(Signed, der)
        info = signed.content.parse(_RequestInfo)
        return Document(
            der=der,
            tbs=asn1.encode_der(signed.content),
            version=info.version,
            subject=_name(info.subject),
            spki=asn1.encode_der(info.spki),
            extensions=_extensions(_requested(info.attributes or [])),
            signature_algorithm=asn1.encode_der(signed.algorithm),
            signature=signed.signature.as_bytes(),
        )
    except ValueError as error:
        raise Malformed(f"not a certificate request: {error}") from error


def _name(name: asn1.TLV) -> bytes:
    der = asn1.encode_der(name)
    parse_name(der)
    return der


def _requested(attributes: Sequence[asn1.TLV]) -> list[LenientExtension]:
    """What a request asks for in its attribute `extensionRequest` (RFC 2985 section 5.4.2)."""
    for element in attributes:
        attribute = element.parse(_Attribute)
        if identifier(asn1.encode_der(attribute.type)) == oids.EXTENSION_REQUEST:
            values = attribute.values.as_list()
            return asn1.decode_der(_Extensions, frame(asn1.encode_der(values[0]))).extensions if values else []
    return []


def _extensions(found: Sequence[LenientExtension]) -> tuple[Extension, ...]:
    return tuple(Extension(e.oid.dotted_string, bool(e.critical), e.value) for e in found)


def identifier(der: bytes) -> str:
    """The dotted text of an OBJECT IDENTIFIER. Raises `ValueError`."""
    return asn1.decode_der(x509.ObjectIdentifier, der).dotted_string


def algorithm_name(algorithm: bytes) -> str:
    """The dotted text of an AlgorithmIdentifier's algorithm. Raises `ValueError`."""
    parts = split_list(algorithm)
    if not parts:
        raise ValueError("an algorithm without an identifier")
    return identifier(asn1.encode_der(parts[0]))


def key_parts(spki: bytes) -> tuple[str, bytes, bytes]:
    """Algorithm, its parameters (DER, may be empty) and the octets of a public key. Raises `ValueError`."""
    info = asn1.decode_der(SubjectPublicKeyInfo, spki)
    parts = split_list(asn1.encode_der(info.algorithm))
    oid = identifier(asn1.encode_der(parts[0]))
    return oid, asn1.encode_der(parts[1]) if len(parts) > 1 else b"", info.key.as_bytes()
