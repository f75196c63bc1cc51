"""The two checks before a signature: of the draft, and of the exact bytes once more.

`check_draft` is step 6 of issuance. `check_invariants` is the notary's: it believes nothing of what the
workers say and reads the bytes again, by another parser than the one that the drafts are built with.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1
from msgspec import Struct

from provisor.core.der import encode_integer, header_size
from provisor.core.durations import Duration, elapsed, format_duration, format_go_time
from provisor.core.keys import KeyInfo
from provisor.core.names import Name, NameKind, canonical_uri
from provisor.core.x509.algorithms import SCHEMES
from provisor.core.x509.der import TBSCertificate, Validity, encoded
from provisor.core.x509.draft import CheckedDraft, Draft, assemble, encode_tbs
from provisor.core.x509.issuer import Issuer
from provisor.core.x509.spki import describe_spki
from provisor.errors import Forbidden, KeyNotAllowed, ValidityNotAllowed

_VERSION_3 = 2
_VERSION = bytes.fromhex("a003020102")
"""The same in DER."""

MAX_SERIAL = (1 << 159) - 1
"""The largest serial of 20 octets (RFC 5280 section 4.1.2.2)."""

HEAD_START = timedelta(hours=48)
"""How much earlier than its issuer a certificate may begin.

Backdating makes the first certificates of a new issuer do so. It is harmless, because a chain is
judged at one moment (RFC 5280 section 6.1.3), but it is not to become a way to claim years of history.
"""

PATIENCE = timedelta(minutes=5)
"""How long after its own end a certificate may still be signed: it may have waited, and clocks differ."""

CURVES = frozenset({"P-224", "P-256", "P-384", "P-521"})


def check_draft(draft: Draft, *, issuer: Issuer, not_beyond_issuer: bool) -> CheckedDraft:
    """Let a draft pass to the notary.

    Raises `ValidityNotAllowed` for a window that is none, begins long before the issuer's or, with
    `not_beyond_issuer`, outlives it; `NameConstrained` for a name that the issuing chain forbids; `Unencodable`.
    """
    _check_order(draft.not_before, draft.not_after)
    _check_start(draft.not_before, issuer)
    if not_beyond_issuer:
        _check_end(draft.not_after, issuer)
    issuer.constraints.check_names(draft.names)
    return CheckedDraft(draft, encode_tbs(draft))


class ParsedTBS(Struct, frozen=True):
    """What the bytes that are about to be signed say. `subject` and `spki` are DER."""

    serial: int
    subject: bytes
    not_before: datetime
    not_after: datetime
    spki: bytes
    key: KeyInfo
    is_ca: bool
    names: tuple[Name, ...]
    signature_algorithm: bytes


def check_invariants(
    tbs: bytes,
    *,
    issuer: Issuer,
    max_validity: Duration,
    allow_ca: bool,
    now: datetime,
    not_beyond_issuer: bool = True,
    min_rsa_bits: int = 2048,
    curves: frozenset[str] = CURVES,
) -> ParsedTBS:
    """Raises unless the bytes are a certificate that `issuer` may sign now.

    That is: version 3; the issuer's own name and algorithm; a positive serial of at most 20 octets; a
    window that is one, no longer than `max_validity`, and within the issuer's, whose end counts only
    with `not_beyond_issuer`; a key that is not weak; extensions that can be read, none twice; names that
    the chain permits; and unless `allow_ca`, no authority of any kind. A path length of zero does not keep a
    certificate from saying that it is an authority: no verifier will believe it. Raises `Forbidden` or one of its
    kinds, `Unencodable` for an email address that cannot be compared with the constraints.
    """
    parsed = _decode(tbs)
    algorithm = _check_frame(tbs, parsed, issuer)
    validity = parsed.validity
    not_before, not_after = _instant(validity.not_before), _instant(validity.not_after)
    _check_window(not_before, not_after, max_validity, now)
    _check_start(not_before, issuer)
    if not_beyond_issuer:
        _check_end(not_after, issuer)
    spki = encoded(parsed.spki)
    key = _check_key(spki, min_rsa_bits, curves)
    values = {type(extension.value): extension.value for extension in _read_again(tbs, issuer)}
    is_ca = _check_authority(values, allow_ca=allow_ca)
    names = _names(values)
    issuer.constraints.check_names(names)
    return ParsedTBS(
        serial=parsed.serial,
        subject=encoded(parsed.subject),
        not_before=not_before,
        not_after=not_after,
        spki=spki,
        key=key,
        is_ca=is_ca,
        names=names,
        signature_algorithm=algorithm,
    )


_Values = dict[type[x509.ExtensionType], x509.ExtensionType]
"""What the extensions that the parser knows hold, none of them twice; the others are of no concern here."""


@asn1.sequence
class _Outline:
    """A TBSCertificate whose extensions are left to the other parser, which is as strict about them."""

    version: Annotated[int, asn1.Explicit(0), asn1.Default(0)]
    serial: int
    signature: asn1.TLV
    issuer: asn1.TLV
    validity: Validity
    subject: asn1.TLV
    spki: asn1.TLV
    extensions: Annotated[asn1.TLV, asn1.Explicit(3)]


def _decode(tbs: bytes) -> TBSCertificate | _Outline:
    try:
        return asn1.decode_der(_Outline, tbs)
    except ValueError:
        pass  # without extensions it has another shape
    try:
        return asn1.decode_der(TBSCertificate, tbs)
    except ValueError as error:
        raise Forbidden(f"not a certificate to be signed: {error}") from error


def _check_frame(tbs: bytes, parsed: TBSCertificate | _Outline, issuer: Issuer) -> bytes:
    """The algorithm to sign with: the issuer's own, or another one of its kind of key."""
    if parsed.version != _VERSION_3:
        raise Forbidden(f"certificate of version {parsed.version + 1}")
    if not 0 < parsed.serial <= MAX_SERIAL:
        raise Forbidden("serial number is not positive, or longer than 20 octets")
    own = _VERSION + encode_integer(parsed.serial) + issuer.signature_algorithm + issuer.certificate.subject
    if tbs.startswith(own, header_size(len(tbs))):
        return issuer.signature_algorithm  # DER has one way to write what stands before the window
    if encoded(parsed.issuer) != issuer.certificate.subject:
        raise Forbidden("issuer name is not the issuer's")
    algorithm = encoded(parsed.signature)
    if algorithm != issuer.signature_algorithm:
        scheme = SCHEMES.get(algorithm)
        if scheme is None or scheme.kind != issuer.certificate.key.kind:
            raise Forbidden("signature algorithm is not the issuer's")
    return algorithm


def _instant(time: asn1.UTCTime | asn1.GeneralizedTime) -> datetime:
    at = time.as_datetime()
    if at.microsecond or isinstance(time, asn1.UTCTime) != (1950 <= at.year < 2050):
        raise Forbidden("a time is not encoded as RFC 5280 section 4.1.2.5 has it")
    return at


def _check_order(not_before: datetime, not_after: datetime) -> None:
    if not_after <= not_before:
        raise ValidityNotAllowed(
            f"certificate ends {format_go_time(not_after)}, before it begins {format_go_time(not_before)}"
        )


def _check_start(not_before: datetime, issuer: Issuer) -> None:
    if not_before < issuer.certificate.not_before - HEAD_START:
        raise ValidityNotAllowed(
            f"certificate begins {format_go_time(not_before)}, long before its issuer: "
            f"{format_go_time(issuer.certificate.not_before)}"
        )


def _check_end(not_after: datetime, issuer: Issuer) -> None:
    if not_after > issuer.certificate.not_after:
        raise ValidityNotAllowed(
            f"certificate ends {format_go_time(not_after)}, after its issuer: "
            f"{format_go_time(issuer.certificate.not_after)}"
        )


def _check_window(not_before: datetime, not_after: datetime, max_validity: Duration, now: datetime) -> None:
    _check_order(not_before, not_after)
    length = elapsed(not_before, not_after)
    if length > max_validity:
        raise ValidityNotAllowed(
            f"certificate lasts {format_duration(length)}, longer than the absolute maximum of "
            f"{format_duration(max_validity)}"
        )
    if not_after < now - PATIENCE:
        raise ValidityNotAllowed(f"certificate has ended already: {format_go_time(not_after)}")


def _check_key(spki: bytes, min_rsa_bits: int, curves: frozenset[str]) -> KeyInfo:
    try:
        key = describe_spki(spki)
    except ValueError as error:
        raise KeyNotAllowed(f"public key cannot be read: {error}") from error
    if key.kind == "RSA":
        # step-ca: the size is counted in octets of the modulus.
        if (key.bits + 7) // 8 * 8 < min_rsa_bits:
            raise KeyNotAllowed(f"RSA key of {key.bits} bits, less than {min_rsa_bits}")
    elif key.kind == "EC":
        if key.curve not in curves:
            raise KeyNotAllowed(f"elliptic curve {key.curve} is not allowed")
    elif key.kind != "Ed25519":
        raise KeyNotAllowed(f"public key of kind {key.kind} is not allowed")
    return key


def _read_again(tbs: bytes, issuer: Issuer) -> x509.Extensions:
    """The extensions as another parser reads them, out of a certificate with an empty signature."""
    try:
        return x509.load_der_x509_certificate(assemble(tbs, issuer.signature_algorithm, b"")).extensions
    except x509.DuplicateExtension as error:
        raise Forbidden(f"extension {error.oid.dotted_string} is there twice") from error
    except (ValueError, x509.UnsupportedGeneralNameType) as error:
        raise Forbidden(f"an extension cannot be read: {error}") from error


def _check_authority(values: _Values, *, allow_ca: bool) -> bool:
    constraints, usage = values.get(x509.BasicConstraints), values.get(x509.KeyUsage)
    is_ca = isinstance(constraints, x509.BasicConstraints) and constraints.ca
    signs = isinstance(usage, x509.KeyUsage) and (usage.key_cert_sign or usage.crl_sign)
    if (is_ca or signs) and not allow_ca:
        raise Forbidden("certificate of an authority" if is_ca else "key usage of an authority")
    return is_ca


def _names(values: _Values) -> tuple[Name, ...]:
    names = values.get(x509.SubjectAlternativeName)
    return tuple(_known_names(names)) if isinstance(names, x509.SubjectAlternativeName) else ()


def _known_names(names: Iterable[x509.GeneralName]) -> Iterable[Name]:
    for name in names:
        match name:
            case x509.DNSName():
                yield Name(NameKind.DNS, name.value)
            case x509.RFC822Name():
                yield Name(NameKind.EMAIL, name.value)
            case x509.UniformResourceIdentifier():
                yield Name(NameKind.URI, canonical_uri(name.value) or name.value)
            case x509.IPAddress(value=ipaddress.IPv4Address() | ipaddress.IPv6Address() as address):
                mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
                yield Name(NameKind.IP, str(mapped or address))
