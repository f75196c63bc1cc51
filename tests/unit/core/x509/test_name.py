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


@pytest.mark.parametrize("size", [1, 115, 116, 117, 118, 127, 128, 255, 256])
@pytest.mark.parametrize("letter", ["a", "*", "ü"])
def test_a_common_name_of_any_length(letter: str, size: int) -> None:
    text = letter * size
    der = encode_common_name(text)
    assert der == encode_name([(oids.COMMON_NAME, text)])
    assert parse_common_name(der) == parse_name(der)[0][1] == text


@pytest.mark.parametrize(
    ("der", "text"),
    [
        ("300f310d300b0603550403160461407a62", "a@zb"),
        ("300f310d300b0603550403140461c3bc62", "aÃ¼b"),
        ("300f310d300b06035504031e0400610062", "ab"),
        ("300f310d300b0603550403040461626364", ""),
        ("300f310d300b0603550404130461626364", ""),
    ],
)
def test_a_common_name_of_another_type_of_string(der: str, text: str) -> None:
    assert parse_common_name(bytes.fromhex(der)) == text


@pytest.mark.parametrize(
    "der",
    [
        "300f310d300b0603550403130461c3bc62",
        "300f310d300b06035504030c0461c3c362",
        "300f310d300b0603550403130561626364",
        "300f310d300b0603550403130361626364",
        "300f310d300c0603550403130461626364",
        "300f310e300b0603550403130461626364",
        "3010310d300b0603550403130461626364",
        "300f310d300b060355040313046162636400",
        "30",
        "",
    ],
)
def test_a_common_name_that_is_nearly_right_is_not_read(der: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text is the library's or the codec's
        parse_common_name(bytes.fromhex(der))


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
