"""Reading certificates (RFC 5280)."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated

from cryptography.hazmat import asn1
from msgspec import Struct

from provisor.core.keys import KeyInfo
from provisor.core.names import Name
from provisor.core.x509 import oids
from provisor.core.x509.der import LenientExtension, Signed, Validity, encoded, read
from provisor.core.x509.extensions import (
    BasicConstraints,
    Extension,
    KeyUsage,
    parse_authority_key_id,
    parse_basic_constraints,
    parse_ext_key_usage,
    parse_key_usage,
    parse_subject_alt_name,
    parse_subject_key_id,
)
from provisor.core.x509.name import parse_common_name
from provisor.core.x509.spki import describe_spki
from provisor.errors import Malformed

_VERSION_3 = 2


@asn1.sequence
class _TBSCertificate:
    """Like the one that is written, but the default `critical` FALSE may be written out."""

    version: Annotated[int, asn1.Explicit(0), asn1.Default(0)]
    serial: int
    signature: asn1.TLV
    issuer: asn1.TLV
    validity: Validity
    subject: asn1.TLV
    spki: asn1.TLV
    extensions: Annotated[list[LenientExtension] | None, asn1.Explicit(3)]


class Certificate(Struct, frozen=True):
    """A certificate that was read; nothing is said about its being genuine.

    `issuer` and `subject` are DER Names, `signature_algorithm` a DER AlgorithmIdentifier. `names` are
    those of the four kinds, in their order. `key_usage` and `ext_key_usage` are None when the extension
    is absent. The key identifiers are empty when absent. `fingerprint` is the SHA-256 of the DER in hex.
    """

    der: bytes
    serial: int
    issuer: bytes
    subject: bytes
    common_name: str
    not_before: datetime
    not_after: datetime
    spki: bytes
    key: KeyInfo
    signature_algorithm: bytes
    extensions: tuple[Extension, ...]
    names: tuple[Name, ...]
    key_usage: KeyUsage | None
    ext_key_usage: tuple[str, ...] | None
    basic_constraints: BasicConstraints | None
    skid: bytes
    akid: bytes
    fingerprint: str

    @property
    def is_ca(self) -> bool:
        return self.basic_constraints is not None and self.basic_constraints.is_ca

    @property
    def path_length(self) -> int | None:
        """How many CA certificates may follow below this one; None: any number."""
        return None if self.basic_constraints is None else self.basic_constraints.path_length

    def extension(self, oid: str) -> bytes | None:
        """The value of an extension, None if it is not there."""
        return next((extension.value for extension in self.extensions if extension.oid == oid), None)


def parse_certificate(der: bytes) -> Certificate:
    """Read a version 3 certificate. Raises `Malformed`, also for an extension that is there twice."""
    try:
        return _parse(der)
    except ValueError as error:
        raise Malformed(f"certificate: {error}") from error


def _parse(der: bytes) -> Certificate:
    signed = asn1.decode_der(Signed, der)
    tbs = read(signed.content, _TBSCertificate)
    if tbs.version != _VERSION_3:
        raise ValueError("not of version 3")
    algorithm = encoded(signed.algorithm)
    if encoded(tbs.signature) != algorithm:
        raise ValueError("two different signature algorithms")
    extensions = tuple(Extension(e.oid.dotted_string, bool(e.critical), e.value) for e in tbs.extensions or ())
    values = {extension.oid: extension.value for extension in extensions}
    if len(values) != len(extensions):
        raise ValueError("an extension is there twice")
    subject, spki = encoded(tbs.subject), encoded(tbs.spki)
    usage, purposes = values.get(oids.KEY_USAGE), values.get(oids.EXT_KEY_USAGE)
    constraints, names = values.get(oids.BASIC_CONSTRAINTS), values.get(oids.SUBJECT_ALT_NAME)
    skid, akid = values.get(oids.SUBJECT_KEY_ID), values.get(oids.AUTHORITY_KEY_ID)
    return Certificate(
        der=der,
        serial=tbs.serial,
        issuer=encoded(tbs.issuer),
        subject=subject,
        common_name=parse_common_name(subject),
        not_before=tbs.validity.not_before.as_datetime(),
        not_after=tbs.validity.not_after.as_datetime(),
        spki=spki,
        key=describe_spki(spki),
        signature_algorithm=algorithm,
        extensions=extensions,
        names=() if names is None else parse_subject_alt_name(names),
        key_usage=None if usage is None else parse_key_usage(usage),
        ext_key_usage=None if purposes is None else parse_ext_key_usage(purposes),
        basic_constraints=None if constraints is None else parse_basic_constraints(constraints),
        skid=b"" if skid is None else parse_subject_key_id(skid),
        akid=b"" if akid is None else parse_authority_key_id(akid),
        fingerprint=hashlib.sha256(der).hexdigest(),
    )
