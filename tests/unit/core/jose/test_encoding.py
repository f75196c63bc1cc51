from __future__ import annotations

import base64
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisor.core.jose.encoding import (
    MAX_BYTES,
    MAX_DEPTH,
    NotJOSE,
    decode_base64url,
    encode_base64url,
    json_kind,
    parse_members,
)


@given(st.binary())
def test_base64url_goes_both_ways_and_agrees_with_the_standard_library(data: bytes) -> None:
    text = encode_base64url(data)
    assert text == base64.urlsafe_b64encode(data).rstrip(b"=")
    assert decode_base64url(text) == decode_base64url(text + b"=") == decode_base64url(text + b"===") == data


members = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


@given(members, st.sampled_from([(",", ":"), (", ", ": ")]), st.booleans())
def test_members_are_those_that_the_standard_library_reads_however_they_are_written(
    value: dict[str, object], separators: tuple[str, str], ascii_only: bool
) -> None:
    data = json.dumps(value, separators=separators, ensure_ascii=ascii_only).encode("utf-8", "replace")
    read = parse_members(data)
    again = json.loads(data)
    assert read == again
    assert repr(read) == repr(again), "the same types, the same order"


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":1}}',
        b'{"a":[{"b":1,"b":2}]}',
        b'{"a":1,"\\u0061":1}',
        b'{"a":1}x',
        b'{"a":1}{}',
        b'{"a":NaN}',
        b'{"a":"\xff"}',
        b'{"a":' + b"1" * 5000 + b"}",
    ],
)
def test_members_that_two_readers_could_read_differently_are_refused(data: bytes) -> None:
    with pytest.raises(NotJOSE):
        parse_members(data)


@pytest.mark.parametrize("text", [b"A", b"AAAAA", b"AA+A", b"AA/A", b"A=AA", b"AA A", b"AA\nA", b"\xff\xff", b"AA.A"])
def test_what_is_no_base64url_is_refused(text: bytes) -> None:
    with pytest.raises(NotJOSE):
        decode_base64url(text)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"1",
        b"{",
        b"{}{}",
        b"{} x",
        b"{}\x00",
        b'{"a":1,}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":01}',
        b'{"a":1,"a":1}',
        b'{"b":{"a":1,"a":2}}',
        b'{"b":[{"a":1,"\\u0061":2}]}',
        b"{'a':1}",
        b'{"a":"\n"}',
        b'{"a":"\\ud800"}',
        b'{"\\udc00":1}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b"\xef\xbb\xbf{}",
        b'{"a":' + b"9" * 5000 + b"}",
        b"{}".ljust(MAX_BYTES + 1),
    ],
)
def test_what_is_not_one_object_without_duplicates_is_refused(text: bytes) -> None:
    with pytest.raises(NotJOSE):
        parse_members(text)


def test_members_keep_their_case_and_white_space_around_is_fine() -> None:
    assert parse_members(b' {"A":1,"a":"\\ud83d\\ude00\\u00e9"}\r\n\t') == {"A": 1, "a": "😀é"}


def test_nesting_is_counted_outside_of_strings_only() -> None:
    def nested(levels: int) -> bytes:
        return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"

    assert parse_members(nested(MAX_DEPTH))
    with pytest.raises(NotJOSE, match="levels"):
        parse_members(nested(MAX_DEPTH + 1))
    with pytest.raises(NotJOSE):
        parse_members(b'{"a":' * 10_000)
    wide = {"a": [[]] * 200, "b": "[{" * 200, "c": '\\"[' * 100}
    assert parse_members(json.dumps(wide).encode()) == wide


def test_a_text_made_to_be_slow_is_not() -> None:
    start = time.process_time()
    for text in (b'{"' * 30_000, b'"\\' * 30_000, b"[" * 60_000, b'{"a":"' + b"\\\\" * 20_000 + b"[" * 100):
        with pytest.raises(NotJOSE):
            parse_members(text)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("value", "kind"),
    [(None, "null"), (True, "bool"), (1, "number"), (1.5, "number"), ("", "string"), ({}, "object"), ([], "array")],
)
def test_values_have_the_names_json_gives_them(value: object, kind: str) -> None:
    assert json_kind(value) == kind
