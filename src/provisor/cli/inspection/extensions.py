"""The extensions of a certificate or request as lines of text."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence

from cryptography.hazmat import asn1

from provisor.cli.inspection.document import identifier
from provisor.cli.inspection.words import PROVISIONERS, PURPOSES, USAGES, integer, name_text, octets_text
from provisor.core.names import NameKind
from provisor.core.x509 import oids
from provisor.core.x509.der import split_list
from provisor.core.x509.extensions import (
    Extension,
    parse_authority_key_id,
    parse_basic_constraints,
    parse_ext_key_usage,
    parse_key_usage,
    parse_provisioner,
    parse_subject_alt_name,
    parse_subject_key_id,
)
from provisor.errors import Malformed

ISSUER_ALT_NAME = "2.5.29.18"
CRL_DISTRIBUTION_POINTS = "2.5.29.31"
AUTHORITY_INFO_ACCESS = "1.3.6.1.5.5.7.1.1"
NETSCAPE_COMMENT = "2.16.840.1.113730.1.13"

_KINDS = {NameKind.DNS: "DNS", NameKind.EMAIL: "email", NameKind.IP: "IP Address", NameKind.URI: "URI"}
_CONSTRAINED = {0x82: "DNS", 0x81: "Email", 0x86: "URI", 0x87: "IP Range"}
_ACCESS = {"1.3.6.1.5.5.7.48.1": "OCSP", "1.3.6.1.5.5.7.48.2": "CA Issuers"}


def extension_lines(extension: Extension) -> Iterator[str]:
    """The title and, indented by four blanks, what the extension says; octets if that cannot be read."""
    title, show = _KNOWN.get(extension.oid, (extension.oid, None))
    yield f"{title}:{' critical' if extension.critical else ''}"
    try:
        lines = [octets_text(extension.value)] if show is None else show(extension.value)
    except (ValueError, Malformed):
        lines = [octets_text(extension.value)]
    for line in lines:
        yield f"    {line}" if line else ""


def elements(content: bytes) -> list[asn1.TLV]:
    """The elements in the content of a constructed element with any tag. Raises `ValueError`."""
    size = len(content)
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    length = bytes((size,)) if size < 0x80 else bytes((0x80 | len(octets),)) + octets
    return split_list(b"\x30" + length + content)


def _basic_constraints(value: bytes) -> list[str]:
    constraints = parse_basic_constraints(value)
    limit = "" if constraints.path_length is None else f", pathlen:{constraints.path_length}"
    return [f"CA:{str(constraints.is_ca).upper()}{limit}"]


def _key_usage(value: bytes) -> list[str]:
    usage = parse_key_usage(value)
    return [", ".join(word for bit, word in enumerate(USAGES) if usage & (1 << bit))]


def _purposes(value: bytes) -> list[str]:
    """The ones with a word first."""
    purposes = sorted(parse_ext_key_usage(value), key=lambda oid: oid not in PURPOSES)
    return [", ".join(PURPOSES.get(oid, oid) for oid in purposes)]


def _subject_key_id(value: bytes) -> list[str]:
    return [_colons(parse_subject_key_id(value))]


def _authority_key_id(value: bytes) -> list[str]:
    return [_colons(parse_authority_key_id(value))]


def _colons(octets: bytes) -> str:
    return octets.hex(":").upper()


def _alternative_names(value: bytes) -> list[str]:
    names = parse_subject_alt_name(value)
    lines = []
    for kind, word in _KINDS.items():
        if of_kind := [f"{word}:{name.value}" for name in names if name.kind is kind]:
            lines.append(", ".join(of_kind))
    return [*lines, *_other_names(value)]


def _other_names(value: bytes) -> Iterator[str]:
    for element in split_list(value):
        if element.tag_bytes == b"\xa0":
            kind, held = elements(bytes(element.data))
            oid = identifier(asn1.encode_der(kind))
            yield f"OtherName: Type: {oid}, Value: 0x{bytes(held.data).hex()}"
        elif element.tag_bytes == b"\xa4":
            yield f"DirName:{name_text(bytes(element.data))}"


def _name_constraints(value: bytes) -> list[str]:
    lines = []
    for part in split_list(value):
        lines.append("Permitted:" if part.tag_bytes == b"\xa0" else "Excluded:")
        bases = [elements(bytes(subtree.data))[0] for subtree in elements(bytes(part.data))]
        for tag, word in _CONSTRAINED.items():
            of_kind = [_constraint(base) for base in bases if base.tag_bytes[0] == tag]
            lines += [f"  {word}: {', '.join(of_kind)}"] if of_kind else []
    return lines


def _constraint(base: asn1.TLV) -> str:
    octets = bytes(base.data)
    if base.tag_bytes[0] != 0x87:
        return octets.decode("ascii")
    half = len(octets) // 2
    mask = int.from_bytes(octets[half:], "big")
    return f"{ipaddress.ip_address(octets[:half])}/{mask.bit_count()}"


def _crl_points(value: bytes) -> list[str]:
    return ["Full Name:", "  " + ", ".join(f"URI:{uri}" for uri in crl_urls(value))]


def crl_urls(value: bytes) -> list[str]:
    """The URIs of the distribution points (RFC 5280 section 4.2.1.13). Raises `ValueError`."""
    found = []
    for point in split_list(value):
        for place in (part for part in elements(bytes(point.data)) if part.tag_bytes == b"\xa0"):
            for name in (full for full in elements(bytes(place.data)) if full.tag_bytes == b"\xa0"):
                found += [_ascii(uri) for uri in elements(bytes(name.data)) if uri.tag_bytes == b"\x86"]
    return found


def _information_access(value: bytes) -> list[str]:
    urls = access_urls(value)
    return [f"{word} - {','.join(f'URI:{uri}' for uri in urls[word])}" for word in _ACCESS.values() if urls[word]]


def access_urls(value: bytes) -> dict[str, list[str]]:
    """URIs by `OCSP` and `CA Issuers` (RFC 5280 section 4.2.2.1). Raises `ValueError`."""
    found: dict[str, list[str]] = {word: [] for word in _ACCESS.values()}
    for description in split_list(value):
        method, location = elements(bytes(description.data))
        word = _ACCESS.get(identifier(asn1.encode_der(method)))
        if word and location.tag_bytes == b"\x86":
            found[word].append(_ascii(location))
    return found


def _ascii(element: asn1.TLV) -> str:
    return bytes(element.data).decode("ascii")


def _policies(value: bytes) -> list[str]:
    return [f"Policy: {oid}" for oid in policy_ids(value)]


def policy_ids(value: bytes) -> list[str]:
    """RFC 5280 section 4.2.1.4. Raises `ValueError`."""
    return [identifier(asn1.encode_der(elements(bytes(policy.data))[0])) for policy in split_list(value)]


def _provisioner(value: bytes) -> list[str]:
    provisioner = parse_provisioner(value)
    number = provisioner.type
    kind = PROVISIONERS[number] if 0 <= number < len(PROVISIONERS) else f"{number} (unknown)"
    lines = [f"Type: {kind}", f"Name: {provisioner.name}"]
    if provisioner.credential_id:
        lines.append(f"CredentialID: {provisioner.credential_id}")
    pairs = provisioner.pairs
    return lines + [f"{key}: {text}" for key, text in zip(pairs[::2], pairs[1::2], strict=False)]


def _comment(value: bytes) -> list[str]:
    return [asn1.decode_der(asn1.IA5String, value).as_str()]


def _number(value: bytes) -> list[str]:
    return [str(integer(value))]


_KNOWN: dict[str, tuple[str, Callable[[bytes], Sequence[str]]]] = {
    oids.KEY_USAGE: ("X509v3 Key Usage", _key_usage),
    oids.EXT_KEY_USAGE: ("X509v3 Extended Key Usage", _purposes),
    oids.BASIC_CONSTRAINTS: ("X509v3 Basic Constraints", _basic_constraints),
    oids.SUBJECT_KEY_ID: ("X509v3 Subject Key Identifier", _subject_key_id),
    oids.AUTHORITY_KEY_ID: ("X509v3 Authority Key Identifier", _authority_key_id),
    oids.SUBJECT_ALT_NAME: ("X509v3 Subject Alternative Name", _alternative_names),
    ISSUER_ALT_NAME: ("X509v3 Issuer Alternative Name", _alternative_names),
    oids.NAME_CONSTRAINTS: ("X509v3 Name Constraints", _name_constraints),
    CRL_DISTRIBUTION_POINTS: ("X509v3 CRL Distribution Points", _crl_points),
    AUTHORITY_INFO_ACCESS: ("Authority Information Access", _information_access),
    oids.CERTIFICATE_POLICIES: ("X509v3 Certificate Policies", _policies),
    oids.PROVISIONER: ("X509v3 Step Provisioner", _provisioner),
    "2.5.29.54": ("X509v3 Inhibit Any Policy", _number),
    NETSCAPE_COMMENT: ("Netscape Comment", _comment),
}
