"""A certificate before it is signed, and putting the signature to it."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from provisor.core.der import BIT_STRING, SEQUENCE, element, encode_integer, is_sequence, sequence
from provisor.core.names import Name
from provisor.core.x509.der import encode_extension, encode_validity
from provisor.core.x509.extensions import Extension
from provisor.errors import Unencodable

_VERSION_3 = bytes.fromhex("a003020102")
_EXTENSIONS = b"\xa3"


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
    if not is_sequence(draft.subject) or not is_sequence(draft.spki):
        raise Unencodable("the certificate cannot be encoded: subject or key is not DER")
    try:
        extensions = b"".join([encode_extension(e.oid, e.critical, e.value) for e in draft.extensions])
        return sequence(
            _VERSION_3,
            encode_integer(draft.serial),
            draft.signature_algorithm,
            draft.issuer,
            encode_validity(draft.not_before, draft.not_after),
            draft.subject,
            draft.spki,
            element(_EXTENSIONS, element(SEQUENCE, extensions)) if extensions else b"",
        )
    except ValueError as error:
        raise Unencodable(f"the certificate cannot be encoded: {error}") from error


def assemble(tbs: bytes, signature_algorithm: bytes, signature: bytes) -> bytes:
    """The DER of the certificate, or of the list of revoked ones: what was signed, how, and the signature."""
    return sequence(tbs, signature_algorithm, element(BIT_STRING, b"\x00" + signature))
