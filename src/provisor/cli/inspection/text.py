"""A certificate or request as people read it: at length, in the manner of OpenSSL, or short."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from provisor.cli.inspection.document import Document, key_parts
from provisor.cli.inspection.extensions import extension_lines
from provisor.cli.inspection.words import common_name, name_text, signature_name
from provisor.core.durations import format_rfc3339
from provisor.core.keys import describe_key, parse_spki
from provisor.core.names import Name, NameKind
from provisor.core.x509 import oids
from provisor.core.x509.extensions import parse_provisioner, parse_subject_alt_name
from provisor.errors import BadKey, Malformed

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SHORT_KINDS = (NameKind.DNS, NameKind.IP, NameKind.EMAIL, NameKind.URI)
_KEY_OCTETS, _SIGNATURE_OCTETS = 15, 18
_UNSHORTENED = 8


def full_text(document: Document) -> str:
    """Everything, one fact a line, with a newline at the end."""
    return "\n".join(_full_lines(document)) + "\n"


def _full_lines(document: Document) -> Iterator[str]:
    algorithm = signature_name(document.signature_algorithm)
    if document.serial is None:
        yield "Certificate Request:"
        yield "    Data:"
        yield f"        Version: {document.version} ({document.version:#x})"
    else:
        yield "Certificate:"
        yield "    Data:"
        yield f"        Version: {document.version + 1} ({document.version:#x})"
        yield f"        Serial Number: {document.serial} ({_whole_octets(document.serial)})"
        yield f"        Signature Algorithm: {algorithm}"
        yield f"        Issuer: {name_text(document.issuer)}".rstrip()
    if document.not_before and document.not_after:
        yield "        Validity"
        yield f"            Not Before: {_time(document.not_before)}"
        yield f"            Not After : {_time(document.not_after)}"
    yield f"        Subject: {name_text(document.subject)}".rstrip()
    yield "        Subject Public Key Info:"
    yield from _key_lines(document.spki)
    if document.extensions:
        yield "        Requested Extensions:" if document.is_request else "        X509v3 extensions:"
    for extension in document.extensions:
        for line in extension_lines(extension):
            yield f"            {line}" if line else ""
    yield f"    Signature Algorithm: {algorithm}"
    yield from _hex_lines(document.signature, _SIGNATURE_OCTETS, 9)


def _whole_octets(number: int) -> str:
    digits = f"{abs(number):x}"
    return f"{'-' if number < 0 else ''}0x{'0' * (len(digits) % 2)}{digits}"


def _time(instant: datetime) -> str:
    return f"{_MONTHS[instant.month - 1]} {instant.day:>2} {instant:%H:%M:%S} {instant.year} UTC"


def _key_lines(spki: bytes) -> Iterator[str]:
    key = _load(spki)
    if isinstance(key, ec.EllipticCurvePublicKey):
        point = key.public_numbers()
        yield from _key_head("ECDSA", key.key_size)
        yield "                X:"
        yield from _hex_lines(_octets(point.x), _KEY_OCTETS, 20)
        yield "                Y:"
        yield from _hex_lines(_octets(point.y), _KEY_OCTETS, 20)
        yield f"                Curve: {describe_key(key).curve}"
    elif isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        yield from _key_head("RSA", key.key_size)
        yield "                Modulus:"
        yield from _hex_lines(_octets(numbers.n), _KEY_OCTETS, 20)
        yield f"                Exponent: {numbers.e} ({numbers.e:#x})"
    elif isinstance(key, ed25519.Ed25519PublicKey):
        # step-ca: counts octets here and calls them bits.
        yield from _key_head("Ed25519", 32)
        yield from _hex_lines(key.public_bytes_raw(), _KEY_OCTETS, 20)
    else:
        yield from _unknown_key_lines(spki)


def _key_head(algorithm: str, bits: int) -> Iterator[str]:
    yield f"            Public Key Algorithm: {algorithm}"
    yield f"                Public-Key: ({bits} bit)"


def _unknown_key_lines(spki: bytes) -> Iterator[str]:
    try:
        algorithm, _, octets = key_parts(spki)
    except ValueError:
        algorithm, octets = "unknown", spki
    yield f"            Public Key Algorithm: {algorithm}"
    yield "                Public-Key:"
    yield "                Raw Bytes:"
    yield from _hex_lines(octets, _KEY_OCTETS, 20)


def _load(spki: bytes) -> PublicKeyTypes | None:
    try:
        return parse_spki(spki)
    except BadKey:
        return None


def _octets(number: int) -> bytes:
    """Without leading zeros."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _hex_lines(octets: bytes, width: int, indent: int) -> Iterator[str]:
    """Lines of `width` octets; every line but the last ends with a colon."""
    for at in range(0, len(octets), width):
        more = ":" if at + width < len(octets) else ""
        yield f"{' ' * indent}{octets[at : at + width].hex(':')}{more}"


# -- the short form -----------------------------------------------------------------------------


def short_text(document: Document) -> str:
    """What, for whom, from whom, from when to when; with a newline at the end."""
    return "\n".join(_short_lines(document)) + "\n"


def _short_lines(document: Document) -> Iterator[str]:
    key = key_label(document.spki)
    if document.is_request:
        yield f"X.509v3 Certificate Signing Request ({key})"
    else:
        yield f"X.509v3 {_kind(document)} Certificate ({key}) [Serial: {_shortened(str(document.serial))}]"
    subject = _subject_lines(document)
    yield f"  Subject:     {subject[0]}" if subject else "  Subject: "
    for line in subject[1:]:
        yield f"               {line}"
    if document.is_request:
        return
    yield f"  Issuer:      {common_name(document.issuer)}"
    yield from _provisioner_line(document)
    if document.not_before and document.not_after:
        yield f"  Valid from:  {format_rfc3339(document.not_before)}"
        yield f"          to:  {format_rfc3339(document.not_after)}"


def key_label(spki: bytes) -> str:
    """`ECDSA P-256`, `RSA 2048`, `Ed25519 256`, or the identifier of another algorithm."""
    key = _load(spki)
    if isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        return describe_key(key).label
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "Ed25519 256"
    try:
        return key_parts(spki)[0]
    except ValueError:
        return "unknown"


def _kind(document: Document) -> str:
    if not document.is_authority:
        return "TLS"
    return "Root CA" if document.subject == document.issuer else "Intermediate CA"


def _subject_lines(document: Document) -> list[str]:
    """The common name, then the other names by kind."""
    name = common_name(document.subject)
    names = [other.value for kind in _SHORT_KINDS for other in names_of(document) if other.kind is kind]
    return ([name] if name else []) + [other for other in names if other != name]


def names_of(document: Document) -> tuple[Name, ...]:
    """The subject's alternative names of the four kinds, as far as they can be read."""
    value = document.extension(oids.SUBJECT_ALT_NAME)
    try:
        return () if value is None else parse_subject_alt_name(value)
    except ValueError:
        return ()


def _provisioner_line(document: Document) -> Iterator[str]:
    value = document.extension(oids.PROVISIONER)
    if value is None:
        return
    try:
        provisioner = parse_provisioner(value)
    except Malformed:
        return
    credential = provisioner.credential_id
    yield f"  Provisioner: {provisioner.name}{f' [ID: {_shortened(credential)}]' if credential else ''}"


def _shortened(text: str) -> str:
    return f"{text[:4]}...{text[-4:]}" if len(text) > _UNSHORTENED else text
