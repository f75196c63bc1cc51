"""Distinguished names (RFC 5280 section 4.1.2.4)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cryptography.hazmat import asn1
from msgspec import Struct

from provisor.core.der import PRINTABLE_STRING, SET, UTF8_STRING, element, encode_object_id, sequence
from provisor.core.x509 import oids
from provisor.core.x509.der import Attribute, frame
from provisor.errors import Unencodable

EMPTY_NAME = b"\x30\x00"
"""The name without any attribute."""

_PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]*\Z")


class Subject(Struct, frozen=True):
    """The attributes a subject may be given by configuration. Empty means: not there."""

    country: str = ""
    organization: str = ""
    organizational_unit: str = ""
    locality: str = ""
    province: str = ""
    street_address: str = ""
    postal_code: str = ""
    common_name: str = ""
    serial_number: str = ""

    def attributes(self) -> list[tuple[str, str]]:
        """Object identifier and value of each attribute that is there, in the order of step-ca."""
        every = (
            (oids.COUNTRY, self.country),
            (oids.PROVINCE, self.province),
            (oids.LOCALITY, self.locality),
            (oids.STREET_ADDRESS, self.street_address),
            (oids.POSTAL_CODE, self.postal_code),
            (oids.ORGANIZATION, self.organization),
            (oids.ORGANIZATIONAL_UNIT, self.organizational_unit),
            (oids.COMMON_NAME, self.common_name),
            (oids.SERIAL_NUMBER, self.serial_number),
        )
        return [(oid, value) for oid, value in every if value]


@asn1.sequence
class _AnyName:
    rdns: list[asn1.SetOf[Attribute]]


@asn1.sequence
class _OneSetName:
    """A Name of exactly one set, as most are: read without a detour over a list."""

    rdn: asn1.SetOf[Attribute]


def encode_text(text: str) -> asn1.PrintableString | str:
    """A PrintableString if every character allows it, otherwise a UTF8String."""
    return asn1.PrintableString(text) if _PRINTABLE.match(text) else text


def encode_name(attributes: Iterable[tuple[str, str]]) -> bytes:
    """The DER of a Name with one attribute to a set. Raises `Unencodable` for text that is not Unicode."""
    try:
        return sequence(*[_encode_attribute(encode_object_id(oid), value) for oid, value in attributes])
    except ValueError as error:
        raise Unencodable(f"a subject attribute cannot be encoded: {error}") from error


def _encode_attribute(oid: bytes, text: str) -> bytes:
    tag = PRINTABLE_STRING if _PRINTABLE.match(text) else UTF8_STRING
    return element(SET, sequence(oid, element(tag, text.encode())))


def encode_common_name(text: str) -> bytes:
    """The Name that is only a common name, or the empty one for an empty text."""
    if not text:
        return EMPTY_NAME
    if len(text) < _ONLY_LONGEST and _PRINTABLE.match(text):
        return _only_beginning(PRINTABLE_STRING, len(text)) + text.encode()
    return encode_name([(oids.COMMON_NAME, text)])


def _only_beginning(tag: bytes, size: int) -> bytes:
    """What stands before the text in a Name that is only a common name, shorter than `_ONLY_LONGEST` octets."""
    return b"0%c1%c0%c\x06\x03U\x04\x03%b%c" % (size + 11, size + 9, size + 7, tag, size)


_ONLY_SIZE = len(_only_beginning(PRINTABLE_STRING, 0))
_ONLY_LONGEST = 0x80 - 11


_IA5_STRING, _NUMERIC_STRING, _TELETEX_STRING, _BMP_STRING, _UNIVERSAL_STRING = (
    b"\x16",
    b"\x12",
    b"\x14",
    b"\x1e",
    b"\x1c",
)
_CODECS = {
    UTF8_STRING: "utf-8",
    PRINTABLE_STRING: "ascii",
    _IA5_STRING: "ascii",
    _NUMERIC_STRING: "ascii",
    _TELETEX_STRING: "latin-1",
    _BMP_STRING: "utf-16-be",
    _UNIVERSAL_STRING: "utf-32-be",
}


def parse_name(der: bytes) -> Sequence[tuple[str, str | None]]:
    """Object identifier and text of each attribute; None for a value that is not a string.

    Raises `ValueError` if `der` is not a Name, or a string is not what its type says.
    """
    return [
        (attribute.type.dotted_string, _text(attribute.value))
        for rdn in _parse_rdns(der)
        for attribute in rdn.as_list()
    ]


def _parse_rdns(der: bytes) -> list[asn1.SetOf[Attribute]]:
    try:
        return [asn1.decode_der(_OneSetName, der).rdn]
    except ValueError:
        return asn1.decode_der(_AnyName, frame(der)).rdns


def _text(value: asn1.TLV) -> str | None:
    codec = _CODECS.get(value.tag_bytes)
    return None if codec is None else str(value.data, codec)


def parse_common_name(der: bytes) -> str:
    """The last common name in a Name, empty if there is none. Raises `ValueError` as `parse_name` does."""
    if der == EMPTY_NAME:
        return ""
    size = len(der) - _ONLY_SIZE
    if 0 <= size < _ONLY_LONGEST:
        # Most names are only a common name; those are known by their beginning.
        tag = der[_ONLY_SIZE - 2 : _ONLY_SIZE - 1]
        if tag in _CODECS and der.startswith(_only_beginning(tag, size)):
            return der[_ONLY_SIZE:].decode(_CODECS[tag])
    found = ""
    for oid, text in parse_name(der):
        if oid == oids.COMMON_NAME and text is not None:
            found = text
    return found
