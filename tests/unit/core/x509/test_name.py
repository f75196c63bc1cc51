from __future__ import annotations

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from provisor.core.x509 import oids
from provisor.core.x509.name import (
    EMPTY_NAME,
    Subject,
    encode_common_name,
    encode_name,
    parse_common_name,
    parse_name,
)
from provisor.errors import Unencodable

PRINTABLE, UTF8 = b"\x13", b"\x0c"


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("a.example.test", PRINTABLE),
        ("Max Mustermann", PRINTABLE),
        ("A-Z '()+,-./:=?", PRINTABLE),
        ("localhost:8443", PRINTABLE),
        ("*.example.test", UTF8),
        ("max@example.test", UTF8),
        ("a_b", UTF8),
        ("a&b", UTF8),
        ("a\tb", UTF8),
        ("a;b", UTF8),
        ("Jürgen", UTF8),
        ("a\n", UTF8),
    ],
)
def test_a_text_is_printable_only_with_the_characters_for_it(text: str, tag: bytes) -> None:
    encoded = text.encode()
    assert encode_common_name(text).endswith(tag + bytes((len(encoded),)) + encoded)
    assert parse_common_name(encode_common_name(text)) == text


def test_no_common_name_is_the_empty_name() -> None:
    assert encode_common_name("") == EMPTY_NAME == encode_name([])
    assert parse_common_name(EMPTY_NAME) == ""


@given(st.text(min_size=1, max_size=400).filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text)))
def test_another_reader_reads_the_same_text(text: str) -> None:
    der = encode_common_name(text)
    assert parse_name(der) == [(oids.COMMON_NAME, text)]


def test_another_library_reads_the_same_name() -> None:
    der = encode_name(Subject(country="DE", organization="Lab", common_name="a_b").attributes())
    assert der == x509.Name.from_rfc4514_string("CN=a_b,O=Lab,C=DE").public_bytes().replace(
        b"\x0c\x03Lab", b"\x13\x03Lab"
    )


def test_empty_attributes_are_left_out() -> None:
    assert Subject().attributes() == []
    assert Subject(serial_number="7", country="DE").attributes() == [(oids.COUNTRY, "DE"), (oids.SERIAL_NUMBER, "7")]


def test_half_a_surrogate_cannot_be_encoded() -> None:
    with pytest.raises(Unencodable):
        encode_common_name("\ud800")


def test_the_last_common_name_counts() -> None:
    assert parse_common_name(encode_name([(oids.COMMON_NAME, "a"), (oids.COMMON_NAME, "b")])) == "b"


@pytest.mark.parametrize(
    ("value", "text"),
    [("1e0400610062", "ab"), ("1402e9e8", "éè"), ("16026162", "ab"), ("1c0400000061", "a"), ("020105", "")],
)
def test_other_types_of_string_are_read(value: str, text: str) -> None:
    inner = bytes.fromhex("0603550403") + bytes.fromhex(value)
    attribute = b"\x30" + bytes((len(inner),)) + inner
    rdn = b"\x31" + bytes((len(attribute),)) + attribute
    assert parse_common_name(b"\x30" + bytes((len(rdn),)) + rdn) == text


@pytest.mark.parametrize("value", ["", "3100", "30023100ff", "300d310b30090603550403" + "0c02c328", "3003310130"])
def test_what_is_no_name_is_refused(value: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_name(bytes.fromhex(value))
