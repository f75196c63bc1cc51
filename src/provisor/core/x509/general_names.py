"""GeneralNames (RFC 5280 section 4.2.1.6): the four kinds of name that Provisor puts into certificates."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Sequence
from typing import Annotated, Literal

from cryptography.hazmat import asn1

from provisor.core.names import Name, NameKind, canonical_uri
from provisor.core.x509.der import split_list, unframe
from provisor.errors import Unencodable

_GeneralName = (
    Annotated[asn1.Variant[asn1.IA5String, Literal["email"]], asn1.Implicit(1)]
    | Annotated[asn1.Variant[asn1.IA5String, Literal["dns"]], asn1.Implicit(2)]
    | Annotated[asn1.Variant[asn1.IA5String, Literal["uri"]], asn1.Implicit(6)]
    | Annotated[asn1.Variant[bytes, Literal["ip"]], asn1.Implicit(7)]
)

_ORDER = (NameKind.DNS, NameKind.EMAIL, NameKind.IP, NameKind.URI)


class Tag(enum.IntEnum):
    """The first octet of a name of each kind: its context tag, primitive."""

    EMAIL = 0x81
    DNS = 0x82
    URI = 0x86
    IP = 0x87


@asn1.sequence
class _GeneralNames:
    names: list[_GeneralName]


def encode_general_names(names: Sequence[Name]) -> bytes:
    """The DER of the names in the order dns, email, ip, uri. Raises `Unencodable` for text that is not ASCII."""
    variants = [_encode(name) for kind in _ORDER for name in names if name.kind is kind]
    return unframe(asn1.encode_der(_GeneralNames(names=variants)))


def _encode(name: Name) -> _GeneralName:
    try:
        match name.kind:
            case NameKind.IP:
                return asn1.Variant(ipaddress.ip_address(name.value).packed, "ip")
            case NameKind.DNS:
                return asn1.Variant(asn1.IA5String(name.value), "dns")
            case NameKind.EMAIL:
                return asn1.Variant(asn1.IA5String(name.value), "email")
            case NameKind.URI:
                return asn1.Variant(asn1.IA5String(name.value), "uri")
    except ValueError as error:
        raise Unencodable(f'x509: "{name.value}" cannot be encoded as an IA5String') from error


def parse_general_names(der: bytes) -> tuple[Name, ...]:
    """The names of the four kinds in the order they stand; other kinds are passed over.

    Raises `ValueError` if `der` is not a list of names, text is not ASCII, or an address has a wrong length.
    """
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
