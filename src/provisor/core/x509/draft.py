"""A certificate before it is signed, and putting the signature to it."""

from __future__ import annotations

from datetime import datetime

from cryptography.hazmat import asn1
from msgspec import Struct

from provisor.core.names import Name
from provisor.core.x509.der import (
    ExtensionSyntax,
    Signed,
    TBSCertificate,
    Validity,
    embed,
    embed_constant,
    encode_time,
    object_id,
)
from provisor.core.x509.extensions import Extension
from provisor.errors import Unencodable

_VERSION_3 = 2


class Draft(Struct, frozen=True):
    """What a certificate will say. Names of issuer and subject, the algorithm and the key are DER.

    The ends of the window are whole seconds. `names` are those in the subject alternative name, once
    more in the clear, for the checks.
    """

    serial: int
    issuer: bytes
    signature_algorithm: bytes
    subject: bytes
    not_before: datetime
    not_after: datetime
    spki: bytes
    extensions: tuple[Extension, ...]
    names: tuple[Name, ...]


class CheckedDraft(Struct, frozen=True):
    """A draft that `check.check_draft` let pass, and the exact bytes to sign. Nothing else makes one."""

    draft: Draft
    tbs: bytes


def encode_tbs(draft: Draft) -> bytes:
    """The DER of the TBSCertificate (RFC 5280 section 4.1). Raises `Unencodable`."""
    try:
        return asn1.encode_der(
            TBSCertificate(
                version=_VERSION_3,
                serial=draft.serial,
                signature=embed_constant(draft.signature_algorithm),
                issuer=embed_constant(draft.issuer),
                validity=Validity(not_before=encode_time(draft.not_before), not_after=encode_time(draft.not_after)),
                subject=embed(draft.subject),
                spki=embed(draft.spki),
                extensions=[
                    ExtensionSyntax(oid=object_id(e.oid), critical=e.critical, value=e.value) for e in draft.extensions
                ]
                or None,
            )
        )
    except ValueError as error:
        raise Unencodable(f"the certificate cannot be encoded: {error}") from error


def assemble(tbs: bytes, signature_algorithm: bytes, signature: bytes) -> bytes:
    """The DER of the certificate, or of the list of revoked ones: what was signed, how, and the signature."""
    return asn1.encode_der(
        Signed(
            content=embed(tbs),
            algorithm=embed_constant(signature_algorithm),
            signature=asn1.BitString(signature, 0),
        )
    )
