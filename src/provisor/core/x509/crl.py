"""Lists of revoked certificates (RFC 5280 section 5).

An entry is encoded once, when the revocation is recorded or read; a list joins what is encoded already,
so that a million entries take a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

from cryptography.hazmat import asn1

from provisor.core.x509 import oids
from provisor.core.x509.der import ExtensionSyntax, embed, embed_constant, encode_time, object_id
from provisor.core.x509.draft import assemble
from provisor.core.x509.issuer import Issuer
from provisor.errors import NotSupported, Unencodable

_VERSION_2 = 1
_UNSPECIFIED = 0
_SEQUENCE, _ENUMERATED = 0x30, 0x0A


@asn1.sequence
class _Entry:
    serial: int
    revoked_at: asn1.UTCTime | asn1.GeneralizedTime
    extensions: list[ExtensionSyntax] | None


@asn1.sequence
class _EmptyList:
    """TBSCertList without revokedCertificates, which must be absent when there are none (section 5.1.2.6)."""

    version: int
    signature: asn1.TLV
    issuer: asn1.TLV
    this_update: asn1.UTCTime | asn1.GeneralizedTime
    next_update: asn1.UTCTime | asn1.GeneralizedTime
    extensions: Annotated[list[ExtensionSyntax], asn1.Explicit(0)]


@asn1.sequence
class _FullList:
    version: int
    signature: asn1.TLV
    issuer: asn1.TLV
    this_update: asn1.UTCTime | asn1.GeneralizedTime
    next_update: asn1.UTCTime | asn1.GeneralizedTime
    revoked: asn1.TLV
    extensions: Annotated[list[ExtensionSyntax], asn1.Explicit(0)]


@asn1.sequence
class _Uri:
    uri: Annotated[asn1.IA5String, asn1.Implicit(6)]


@asn1.sequence
class _FullName:
    full_name: Annotated[_Uri, asn1.Implicit(0)]


@asn1.sequence
class _IssuingDistributionPoint:
    """One URI, no flags (section 5.2.5). The name is a CHOICE, so its tag stands outside that of the choice."""

    point: Annotated[_FullName, asn1.Implicit(0)]


def encode_revoked(serial: int, revoked_at: datetime, reason_code: int) -> bytes:
    """One entry. The reason 0, unspecified, is left out, as RFC 5280 section 5.3.1 wishes.

    step-ca: any serial that was ever sent is recorded: zero, negative and very long ones too.
    """
    reason = None
    if reason_code != _UNSPECIFIED:
        value = _retag(asn1.encode_der(reason_code), _ENUMERATED)
        reason = [ExtensionSyntax(oid=object_id(oids.CRL_REASON), critical=False, value=value)]
    return asn1.encode_der(_Entry(serial=serial, revoked_at=encode_time(revoked_at), extensions=reason))


def encode_tbs_crl(
    issuer: Issuer,
    *,
    number: int,
    this_update: datetime,
    next_update: datetime,
    entries: Iterable[bytes],
    idp_url: str,
) -> bytes:
    """The bytes of the list for `issuer` to sign. `entries` are those of `encode_revoked`, in the order they get.

    Both instants have whole seconds. Raises `NotSupported` if the issuer may not sign lists,
    `Unencodable` for a URL that is not ASCII.
    """
    if not issuer.crl_sign:
        raise NotSupported("the issuer's certificate lacks the key usage cRLSign")
    signature, name = embed_constant(issuer.signature_algorithm), embed_constant(issuer.certificate.subject)
    start, end = encode_time(this_update), encode_time(next_update)
    extensions = _extensions(issuer, number, idp_url)
    revoked = b"".join(entries)
    if not revoked:
        return asn1.encode_der(
            _EmptyList(
                version=_VERSION_2,
                signature=signature,
                issuer=name,
                this_update=start,
                next_update=end,
                extensions=extensions,
            )
        )
    return asn1.encode_der(
        _FullList(
            version=_VERSION_2,
            signature=signature,
            issuer=name,
            this_update=start,
            next_update=end,
            revoked=embed(_retag(asn1.encode_der(revoked), _SEQUENCE)),
            extensions=extensions,
        )
    )


def _extensions(issuer: Issuer, number: int, idp_url: str) -> list[ExtensionSyntax]:
    try:
        point = _IssuingDistributionPoint(point=_FullName(full_name=_Uri(uri=asn1.IA5String(idp_url))))
    except ValueError as error:
        raise Unencodable(f'"{idp_url}" cannot be encoded as an IA5String') from error
    extensions = []
    if (key_id := issuer.authority_key_id) is not None:
        extensions.append(ExtensionSyntax(oid=object_id(key_id.oid), critical=False, value=key_id.value))
    extensions.append(
        ExtensionSyntax(oid=object_id(oids.CRL_NUMBER), critical=False, value=asn1.encode_der(number)),
    )
    extensions.append(
        ExtensionSyntax(oid=object_id(oids.ISSUING_DISTRIBUTION_POINT), critical=True, value=asn1.encode_der(point)),
    )
    return extensions


def _retag(der: bytes, tag: int) -> bytes:
    """The same content as another type: octets that are entries become a sequence, an integer an enumeration."""
    return bytes((tag,)) + der[1:]


def assemble_crl(tbs: bytes, issuer: Issuer, signature: bytes) -> bytes:
    """The DER of the signed list."""
    return assemble(tbs, issuer.signature_algorithm, signature)


def next_number(previous: int | None) -> int:
    """The first list has the number 0, each later one the next."""
    return 0 if previous is None else previous + 1
