"""Texts for files that are not JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisor.core.json_text import find_syntax_error, line_and_column
from provisor.errors import BadRequest
from provisor.wire.gojson import decode_value


@pytest.mark.parametrize(
    ("data", "text", "position"),
    [
        (b"", "EOF", 0),
        (b" \n", "EOF", 2),
        (b"{", "unexpected EOF", 1),
        (b'{"a"', "unexpected EOF", 4),
        (b'"abc', "unexpected EOF", 4),
        (b"nope", "invalid character 'o' in literal null (expecting 'u')", 1),
        (b"tru", "unexpected EOF", 3),
        (b"{'a'}", r"invalid character '\'' looking for beginning of object key string", 1),
        (b'{"a" 1}', "invalid character '1' after object key", 5),
        (b'{"a":1 "b"}', "invalid character '\"' after object key:value pair", 7),
        (b'{"a":1,}', "invalid character '}' looking for beginning of object key string", 7),
        (b"[1,]", "invalid character ']' looking for beginning of value", 3),
        (b"[1 2]", "invalid character '2' after array element", 3),
        (b'"a\nb"', r"invalid character '\n' in string literal", 2),
        (b'"\x01"', r"invalid character '\x01' in string literal", 1),
        (b'"\\x"', "invalid character 'x' in string escape code", 2),
        (b'"\\u00g0"', "invalid character 'g' in \\u hexadecimal character escape", 5),
        (b"-a", "invalid character 'a' in numeric literal", 1),
        (b"1.x", "invalid character 'x' after decimal point in numeric literal", 2),
        (b"1e+x", "invalid character 'x' in exponent of numeric literal", 3),
        (b"[01]", "invalid character '1' after array element", 2),
        (b"[" * 100_000, "exceeded max depth", 0),
    ],
)
def test_the_first_fault_is_named_as_the_reference_names_it(data: bytes, text: str, position: int) -> None:
    error = find_syntax_error(data)
    assert error is not None
    assert (str(error), error.position) == (text, position)


@pytest.mark.parametrize("data", [b"{} x", b"null", b' {"a":[1,-0.5e3,"\\u00e9\\n",true,false,{}]} ', b'"\xff"'])
def test_well_formed_values_have_none(data: bytes) -> None:
    assert find_syntax_error(data) is None


def test_lines_and_columns_count_from_one() -> None:
    assert [line_and_column(b"a\nbc\n", at) for at in (0, 2, 3, 5)] == [(1, 1), (2, 1), (2, 2), (3, 1)]


@given(st.text(alphabet='{}[]",:\\truefalsn0123456789.-+eE \n').map(str.encode))
def test_what_has_no_fault_is_decoded_and_the_other_way_round(inside: bytes) -> None:
    data = b"[" + inside
    try:
        decode_value(data)
    except BadRequest as error:
        too_large = "too large" in error.detail or "digits" in error.detail or "deeper" in error.detail
        assert too_large or find_syntax_error(data) is not None
    else:
        assert find_syntax_error(data) is None


@given(st.recursive(st.none() | st.text() | st.floats(allow_nan=False, allow_infinity=False), st.lists))
def test_what_a_library_writes_is_well_formed(value: object) -> None:
    assert find_syntax_error(json.dumps({"a": value}, indent=1).encode()) is None
