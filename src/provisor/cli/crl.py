"""Certificate revocation lists: where they come from, whether they are good, and how they look."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, cast

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from provisor.cli.exits import CommandError
from provisor.cli.files import system_text
from provisor.cli.inspection.words import attributes, name_text, octets_text, signature_name
from provisor.core.durations import format_go_time, format_rfc3339
from provisor.core.x509 import oids
from provisor.core.x509.der import encoded, split_list
from provisor.errors import Malformed

TIMEOUT_SECONDS: Final = 15.0
LARGEST: Final = 256 * 1024 * 1024
_LABEL: Final = b"-----BEGIN X509 CRL-----"
_SIGNATURE_OCTETS: Final = 16
_INTEGER: Final = 0x02
_MALFORMED: Final = "error parsing crl: error parsing crl: x509: malformed crl"

_REASONS = {
    x509.ReasonFlags.unspecified: "Unspecified",
    x509.ReasonFlags.key_compromise: "Key Compromise",
    x509.ReasonFlags.ca_compromise: "CA Compromise",
    x509.ReasonFlags.affiliation_changed: "Affiliation Changed",
    x509.ReasonFlags.superseded: "Superseded",
    x509.ReasonFlags.cessation_of_operation: "Cessation Of Operation",
    x509.ReasonFlags.certificate_hold: "Certificate Hold",
    x509.ReasonFlags.remove_from_crl: "Remove From CRL",
    x509.ReasonFlags.privilege_withdrawn: "Privilege Withdrawn",
    x509.ReasonFlags.aa_compromise: "AA Compromise",
}
_REASON_BITS = (
    x509.ReasonFlags.unspecified,
    x509.ReasonFlags.key_compromise,
    x509.ReasonFlags.ca_compromise,
    x509.ReasonFlags.affiliation_changed,
    x509.ReasonFlags.superseded,
    x509.ReasonFlags.cessation_of_operation,
    x509.ReasonFlags.certificate_hold,
    x509.ReasonFlags.privilege_withdrawn,
    x509.ReasonFlags.aa_compromise,
)
_NAMES = {
    oids.COUNTRY: "country",
    oids.ORGANIZATION: "organization",
    oids.ORGANIZATIONAL_UNIT: "organizational_unit",
    oids.LOCALITY: "locality",
    oids.PROVINCE: "province",
    oids.STREET_ADDRESS: "street_address",
    oids.POSTAL_CODE: "postal_code",
    oids.SERIAL_NUMBER: "serial_number",
    oids.COMMON_NAME: "common_name",
}
_SINGLE = frozenset({"serial_number", "common_name"})


class RevocationList(msgspec.Struct, frozen=True):
    """`version` is 1 or 2; `issuer` and `algorithm` are DER."""

    content: x509.CertificateRevocationList
    version: int
    issuer: bytes
    algorithm: bytes

    @property
    def der(self) -> bytes:
        return self.content.public_bytes(Encoding.DER)


# -- reading ------------------------------------------------------------------------------------


def parse_crl(data: bytes) -> RevocationList:
    """PEM or DER. Raises `CommandError`."""
    try:
        load = x509.load_pem_x509_crl if _LABEL in data else x509.load_der_x509_crl
        content = load(data)
        content.extensions  # noqa: B018 - reading them is what fails
        parts = split_list(content.tbs_certlist_bytes)
        has_version = encoded(parts[0])[0] == _INTEGER
        algorithm, issuer = parts[has_version], parts[has_version + 1]
    except (ValueError, Malformed, IndexError) as error:
        raise CommandError(_MALFORMED) from error
    return RevocationList(content, 2 if has_version else 1, encoded(issuer), encoded(algorithm))


def read_crl(place: str, trusted: Sequence[bytes] | None) -> bytes:
    """The content of a file, of stdin (`-`), or what a URL answers. Raises `CommandError`.

    `trusted` are the DER roots for https; None verifies nobody: the list has a signature of its own.
    """
    scheme = place.partition("://")[0].lower()
    if "://" in place:
        if scheme not in ("http", "https"):
            raise CommandError(f'error downloading crl: Get "{place}": unsupported protocol scheme "{scheme}"')
        return _download(place, trusted)
    try:
        return sys.stdin.buffer.read() if place == "-" else Path(place).read_bytes()
    except OSError as error:
        raise CommandError(f"open {place} failed: {system_text(error)}") from error


def _download(url: str, trusted: Sequence[bytes] | None) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trusted is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    elif trusted:
        context.load_verify_locations(cadata="".join(map(ssl.DER_cert_to_PEM_cert, trusted)))
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS, context=context) as answer:
            content: bytes = answer.read(LARGEST + 1)
    except urllib.error.HTTPError as error:
        raise CommandError(f"error downloading crl: failed with status code {error.code}") from error
    except urllib.error.URLError as error:
        raise CommandError(f'error downloading crl: Get "{url}": {_reason(error.reason)}') from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise CommandError(f'error downloading crl: Get "{url}": {_reason(error)}') from error
    if len(content) > LARGEST:
        raise CommandError(f"error downloading crl: the answer of {url} is larger than {LARGEST} bytes")
    return content


def _reason(error: object) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: x509: {error.verify_message}"
    return system_text(error) if isinstance(error, OSError) else str(error)


# -- judging ------------------------------------------------------------------------------------


class Verdict(msgspec.Struct, frozen=True):
    """`reason` why a list is not valid; empty when nobody looked."""

    valid: bool
    reason: str = ""


UNJUDGED: Final = Verdict(valid=False)


def judge(found: RevocationList, ca: x509.Certificate, now: datetime) -> Verdict:
    """Valid: `ca` signed it and has not expired, and the next list is not due yet."""
    content = found.content
    if not _is_signed_by(content, ca):
        return Verdict(valid=False, reason="Signature does not match")
    if content.issuer != ca.subject:
        return Verdict(valid=False, reason="CA is not the issuer of the CRL")
    if not _may_sign(ca):
        return Verdict(valid=False, reason="CA may not sign a CRL")
    if not ca.not_valid_before_utc <= now <= ca.not_valid_after_utc:
        return Verdict(valid=False, reason="CA has expired or is not yet valid")
    if content.next_update_utc is None or now >= content.next_update_utc:
        return Verdict(valid=False, reason="CRL has expired")
    return Verdict(valid=True)


def _is_signed_by(content: x509.CertificateRevocationList, ca: x509.Certificate) -> bool:
    try:
        # a key of a kind that signs nothing is a TypeError
        return content.is_signature_valid(cast(CertificateIssuerPublicKeyTypes, ca.public_key()))
    except (TypeError, ValueError):
        return False


def _may_sign(ca: x509.Certificate) -> bool:
    """By its key usage, if it has one (RFC 5280 section 6.3.3)."""
    try:
        return ca.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True
    except ValueError:
        return False


# -- as text ------------------------------------------------------------------------------------


def text_of(found: RevocationList, verdict: Verdict) -> Iterator[str]:
    """One line after another: a list may be long."""
    content = found.content
    # step-ca: shows the number of the list as its version, and no issuer
    yield "Certificate Revocation List (CRL):"
    yield "    Data:"
    yield f"        Valid: {str(verdict.valid).lower()}"
    if verdict.reason:
        yield f"        Reason: {verdict.reason}"
    yield f"        Version: {found.version} ({found.version - 1:#x})"
    yield f"    Signature algorithm: {signature_name(found.algorithm)}"
    yield f"        Issuer: {name_text(found.issuer)}"
    yield f"        Last Update: {format_go_time(content.last_update_utc)}"
    yield f"        Next Update: {format_go_time(content.next_update_utc) if content.next_update_utc else 'none'}"
    if len(content.extensions):
        yield "        CRL Extensions:"
        yield from _indented(12, _extension_lines(content.extensions))
    if not len(content):
        yield "        No Revoked Certificates."
    else:
        yield "        Revoked Certificates:"
    for entry in content:
        digits = f"{abs(entry.serial_number):X}"
        yield f"            Serial Number: {entry.serial_number} (0x{'0' * (len(digits) % 2)}{digits})"
        yield f"                Revocation Date: {format_go_time(entry.revocation_date_utc)}"
        if len(entry.extensions):
            yield "                CRL Entry Extensions:"
            yield from _indented(20, _extension_lines(entry.extensions))
    yield f"    Signature Algorithm: {signature_name(found.algorithm)}"
    yield from _indented(8, _hex_lines(content.signature))


def _indented(by: int, lines: Iterator[str]) -> Iterator[str]:
    return (" " * by + line for line in lines)


def _hex_lines(octets: bytes) -> Iterator[str]:
    for at in range(0, len(octets), _SIGNATURE_OCTETS):
        part = octets[at : at + _SIGNATURE_OCTETS]
        yield part.hex(":") + (":" if at + _SIGNATURE_OCTETS < len(octets) else "")


def _extension_lines(extensions: x509.Extensions) -> Iterator[str]:
    for one in extensions:
        critical = " critical" if one.critical else ""
        match one.value:
            case x509.CRLNumber():
                yield f"X509v3 CRL Number:{critical}"
                yield f"    {one.value.crl_number}"
            case x509.AuthorityKeyIdentifier():
                yield f"X509v3 Authority Key Identifier:{critical}"
                yield f"    keyid:{(one.value.key_identifier or b'').hex(':').upper()}"
            case x509.IssuingDistributionPoint():
                yield f"X509v3 Issuing Distribution Point:{critical}"
                yield from _indented(4, _point_lines(one.value))
            case x509.CRLReason():
                yield f"X509v3 CRL Reason Code:{critical}"
                yield f"    {_REASONS[one.value.reason]}"
            case _:
                yield f"{one.oid.dotted_string}{critical}"
                yield f"    {octets_text(_value_of(one))}"


def _point_lines(point: x509.IssuingDistributionPoint) -> Iterator[str]:
    if point.full_name:
        yield "Full Name:"
        yield from (f"    {_general_name(name)}" for name in point.full_name)
    for is_set, text in (
        (point.only_contains_user_certs, "Only User Certificates"),
        (point.only_contains_ca_certs, "Only CA Certificates"),
        (point.only_contains_attribute_certs, "Only Attribute Certificates"),
        (point.indirect_crl, "Indirect CRL"),
    ):
        if is_set:
            yield text
    if point.only_some_reasons:
        yield f"Reasons: {_reason_bits(point.only_some_reasons).hex().upper()}"


def _general_name(name: x509.GeneralName) -> str:
    match name:
        case x509.UniformResourceIdentifier():
            return f"URI:{name.value}"
        case x509.DNSName():
            return f"DNS:{name.value}"
        case x509.DirectoryName():
            return f"DirName:{name_text(name.value.public_bytes())}"
        case _:
            return f"{type(name).__name__}:{name.value}"


def _reason_bits(reasons: frozenset[x509.ReasonFlags]) -> bytes:
    """ReasonFlags without the octets at its end that are nothing (RFC 5280 section 4.2.1.13)."""
    value = sum(0x8000 >> bit for bit, reason in enumerate(_REASON_BITS) if reason in reasons)
    return value.to_bytes(2, "big").rstrip(b"\0")


def _value_of(extension: x509.Extension[x509.ExtensionType]) -> bytes:
    return extension.value.public_bytes()


# -- as JSON and PEM ----------------------------------------------------------------------------


def json_of(found: RevocationList, verdict: Verdict) -> str:
    content = found.content
    algorithm = {
        "name": signature_name(found.algorithm),
        "oid": content.signature_algorithm_oid.dotted_string,
    }
    signature: dict[str, object] = {
        "signature_algorithm": algorithm,
        "value": _base64(content.signature),
        "valid": verdict.valid,
    }
    if verdict.reason:
        signature["reason"] = verdict.reason
    members = {
        "version": found.version,
        "signature_algorithm": algorithm,
        "issuer": _name_members(found.issuer),
        "this_update": format_rfc3339(content.last_update_utc),
        "next_update": format_rfc3339(content.next_update_utc) if content.next_update_utc else None,
        "revoked_certificates": [_entry_members(entry) for entry in content],
        "extensions": _extension_members(content.extensions),
        "signature": signature,
        "AuthorityKeyID": _authority_key_id(content.extensions),
        "Raw": _base64(content.tbs_certlist_bytes),
    }
    text = json.dumps(members, indent=2, ensure_ascii=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _name_members(name: bytes) -> dict[str, object]:
    members: dict[str, object] = {}
    found = attributes(name)
    for oid, label in _NAMES.items():
        values = [text or "" for one, text in found if one == oid]
        if values:
            members[label] = values[-1] if label in _SINGLE else values
    return members


def _entry_members(entry: x509.RevokedCertificate) -> dict[str, object]:
    members: dict[str, object] = {
        "serial_number": str(entry.serial_number),
        "revocation_time": format_rfc3339(entry.revocation_date_utc),
    }
    if len(entry.extensions):
        members["extensions"] = _extension_members(entry.extensions)
    return members


def _extension_members(extensions: x509.Extensions) -> list[dict[str, object]]:
    found = []
    for one in extensions:
        members: dict[str, object] = {"critical": True} if one.critical else {}
        match one.value:
            case x509.CRLNumber():
                members["crl_number"] = str(one.value.crl_number)
            case x509.AuthorityKeyIdentifier():
                members["authority_key_id"] = _value_of(one).hex()
            case x509.IssuingDistributionPoint():
                members["issuing_distribution_point"] = _point_members(one.value)
            case x509.CRLReason():
                members["crl_reason_code"] = _REASONS[one.value.reason]
            case _:
                members[one.oid.dotted_string] = _base64(_value_of(one))
        found.append(dict(sorted(members.items())))
    return found


def _point_members(point: x509.IssuingDistributionPoint) -> dict[str, object]:
    members: dict[str, object] = {
        "full_names": [_general_name(name) for name in point.full_name] if point.full_name else None
    }
    for is_set, label in (
        (point.only_contains_user_certs, "only_user_certificates"),
        (point.only_contains_ca_certs, "only_ca_certificates"),
        (point.only_contains_attribute_certs, "only_attribute_certificates"),
        (point.indirect_crl, "indirect_crl"),
    ):
        if is_set:
            members[label] = True
    if point.only_some_reasons:
        members["only_some_reasons"] = _base64(_reason_bits(point.only_some_reasons))
    return members


def _authority_key_id(extensions: x509.Extensions) -> str | None:
    try:
        value = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return None
    return _base64(value.key_identifier or b"")


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def now() -> datetime:
    return datetime.now(UTC)
