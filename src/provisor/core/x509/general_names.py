"""GeneralNames (RFC 5280 section 4.2.1.6): the four kinds of name that Provisor puts into certificates."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Sequence

from cryptography.hazmat import asn1

from provisor.core.der import element, sequence
from provisor.core.names import Name, NameKind, canonical_uri
from provisor.core.x509.der import split_list
from provisor.errors import Unencodable


class Tag(enum.IntEnum):
    """The first octet of a name of each kind: its context tag, primitive."""

    EMAIL = 0x81
    DNS = 0x82
    URI = 0x86
    IP = 0x87


_TAGS = {
    NameKind.DNS: bytes((Tag.DNS,)),
    NameKind.EMAIL: bytes((Tag.EMAIL,)),
    NameKind.IP: bytes((Tag.IP,)),
    NameKind.URI: bytes((Tag.URI,)),
}
"""In the order the kinds are written."""


def encode_general_names(names: Sequence[Name]) -> bytes:
    """The DER of the names in the order dns, email, ip, uri. Raises `Unencodable` for text that is not ASCII."""
    if len(names) == 1:
        return sequence(_encode(names[0]))
    return sequence(*[_encode(name) for kind in _TAGS for name in names if name.kind is kind])


def _encode(name: Name) -> bytes:
    try:
        octets = ipaddress.ip_address(name.value).packed if name.kind is NameKind.IP else name.value.encode("ascii")
    except ValueError as error:
        raise Unencodable(f'x509: "{name.value}" cannot be encoded as an IA5String') from error
    return element(_TAGS[name.kind], octets)


def parse_general_names(der: bytes) -> tuple[Name, ...]:
    """The names of the four kinds in the order they stand; other kinds are passed over.

    Raises `ValueError` if `der` is not a list of names, text is not ASCII, or an address has a wrong length.
    """
    size = len(der) - 4
    if 0 <= size < 0x7E and der.startswith(b"0%c\x82%c" % (size + 2, size)):
        # Most certificates have one short DNS name; those are known by their beginning.
        return (Name(NameKind.DNS, der[4:].decode("ascii")),)
    return tuple(name for element in split_list(der) if (name := _parse(element)) is not None)


def _parse(element: asn1.TLV) -> Name | None:
    match element.tag_bytes[0]:
        case Tag.DNS:
            return Name(NameKind.DNS, str(element.data, "ascii"))
        case Tag.EMAIL:
            return Name(NameKind.EMAIL, str(element.data, "ascii"))
        case Tag.URI:
            uri = str(element.data, "ascii")
            return Name(NameKind.URI, canonical_uri(uri) or uri)
        case Tag.IP:
            return Name(NameKind.IP, address_text(bytes(element.data)))
    return None


def address_text(octets: bytes) -> str:
    """The canonical text of 4 or 16 octets; an IPv4 address in IPv6 form becomes IPv4. Raises `ValueError`."""
    address = ipaddress.ip_address(octets)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(address)
