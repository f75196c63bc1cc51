"""What is joined by hand is what the library encodes: octet for octet, at every length where the form changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from hypothesis import given
from hypothesis import strategies as st

from provisor.core.der import (
    INTEGER,
    OCTET_STRING,
    SEQUENCE,
    element,
    encode_integer,
    encode_object_id,
    header_size,
    is_sequence,
    sequence,
)
from provisor.core.x509.der import ExtensionSyntax, TBSCertificate, Validity, embed, encode_extension, encode_time
from provisor.core.x509.draft import Draft, encode_tbs
from provisor.core.x509.extensions import Extension

EDGES = (0, 1, 0x7E, 0x7F, 0x80, 0x81, 0xFF, 0x100, 1023, 1024, 0xFFFF, 0x10000, 0x10001)


@pytest.mark.parametrize("size", EDGES)
def test_an_element_of_any_length(size: int) -> None:
    content = bytes(size)
    assert element(OCTET_STRING, content) == asn1.encode_der(content)
    whole = element(SEQUENCE, content)
    assert whole[header_size(len(whole)) :] == content
    assert is_sequence(whole)


@given(st.integers(-(2**200), 2**200))
def test_an_integer(number: int) -> None:
    assert encode_integer(number) == asn1.encode_der(number)


@pytest.mark.parametrize("edge", [0, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 1 << 127, 1 << 159])
def test_an_integer_at_the_ends_of_octets(edge: int) -> None:
    for number in (edge, -edge, edge - 1, -edge - 1):
        assert encode_integer(number) == asn1.encode_der(number)


def test_an_object_identifier_is_one() -> None:
    assert encode_object_id("2.5.29.17") == bytes.fromhex("0603551d11")
    with pytest.raises(ValueError):  # noqa: PT011 - the text is the library's
        encode_object_id("a.b")


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x30",
        b"\x30\x01",
        b"\x30\x00\x00",
        b"\x31\x00",
        b"\x30\x81\x01\x00",
        b"\x30\x80\x00\x00",
        element(SEQUENCE, bytes(0x80))[:-1],
        element(SEQUENCE, bytes(0x80)) + b"\x00",
        b"\x30\x82\x00\x80" + bytes(0x80),
        element(SEQUENCE, b"") * 2,
    ],
)
def test_what_is_no_sequence_from_end_to_end_is_none(der: bytes) -> None:
    assert not is_sequence(der)


@pytest.mark.parametrize("size", [0, 0x50, 0x70, 0x74, 0x75, 0x76, 0x77, 0x78, 0x7D, 0x7E, 0x80, 0x100, 0x10000])
@pytest.mark.parametrize("critical", [False, True])
@pytest.mark.parametrize("oid", ["2.5.29.17", "1.3.6.1.4.1.37476.9000.64.1", "2.5." + ".".join(["99999"] * 15)])
def test_an_extension(oid: str, critical: bool, size: int) -> None:
    shape = ExtensionSyntax(oid=x509.ObjectIdentifier(oid), critical=critical, value=bytes(size))
    assert encode_extension(oid, critical, bytes(size)) == asn1.encode_der(shape)


@given(
    serial=st.integers(-(2**64), 2**160),
    year=st.integers(1951, 2200),
    length=st.integers(0, 10**9),
    extensions=st.lists(
        st.tuples(st.sampled_from(["2.5.29.15", "2.5.29.17"]), st.booleans(), st.binary(max_size=300)), max_size=8
    ),
    subject=st.binary(max_size=300),
)
def test_a_certificate_before_it_is_signed(
    serial: int, year: int, length: int, extensions: list[tuple[str, bool, bytes]], subject: bytes
) -> None:
    start = datetime(year, 2, 28, 23, 59, 59, tzinfo=UTC)
    draft = Draft(
        serial=serial,
        issuer=sequence(element(OCTET_STRING, b"issuer")),
        signature_algorithm=sequence(encode_object_id("1.2.3")),
        subject=sequence(element(OCTET_STRING, subject)),
        not_before=start,
        not_after=start + timedelta(seconds=length),
        spki=sequence(element(INTEGER, b"\x01")),
        extensions=tuple(Extension(*each) for each in extensions),
        names=(),
    )
    assert encode_tbs(draft) == asn1.encode_der(
        TBSCertificate(
            version=2,
            serial=serial,
            signature=embed(draft.signature_algorithm),
            issuer=embed(draft.issuer),
            validity=Validity(not_before=encode_time(draft.not_before), not_after=encode_time(draft.not_after)),
            subject=embed(draft.subject),
            spki=embed(draft.spki),
            extensions=[
                ExtensionSyntax(oid=x509.ObjectIdentifier(oid), critical=critical, value=value)
                for oid, critical, value in extensions
            ]
            or None,
        )
    )
