"""JSON as the reference reads and writes it."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Struct

from provisor.core.durations import MINUTE, TimeDuration
from provisor.errors import BadRequest
from provisor.wire.api import RevokeRequest, SignRequest
from provisor.wire.gojson import canonical_members, decode_json, decode_value, encode_config, encode_json


class Inner(Struct, frozen=True, forbid_unknown_fields=True):
    names: tuple[str, ...] = ()


class Outer(Struct, frozen=True, forbid_unknown_fields=True):
    inner: Inner | None = None
    many: list[Inner] = []
    by_name: dict[str, Inner] = {}
    plain: dict[str, object] = {}


@pytest.mark.parametrize(
    ("body", "request_"),
    [
        (b"{}", RevokeRequest()),
        (b"null", RevokeRequest()),
        (b" \n\t{} ", RevokeRequest()),
        (b'{"serial":"1","ott":"t"}', RevokeRequest("1", "t")),
        (b'{"SERIAL":"1","Ott":"t","reasoncode":3}', RevokeRequest("1", "t", 3)),
        ('{"ſerial":"1","reaſon":"r"}'.encode(), RevokeRequest("1", reason="r")),
        (b'{"serial":"1","Serial":"2"}', RevokeRequest("2")),
        (b'{"Serial":"2","serial":"1"}', RevokeRequest("1")),
        (b'{"serial":"1","serial":null}', RevokeRequest("1")),
        (b'{"serial":null,"passive":null,"reasonCode":null}', RevokeRequest()),
        (b'{"unknown":[1,{"x":null}],"serial":"1"}', RevokeRequest("1")),
        (b'{"serial":"1"} trailing', RevokeRequest("1")),
        (b'{"serial":"1"}{"serial":"2"}', RevokeRequest("1")),
        (b'{"serial":"\xff"}', RevokeRequest("\ufffd")),
        (b'{"serial":"\xe2\x82"}', RevokeRequest("\ufffd\ufffd")),
        (b'{"serial":"\\ud800x"}', RevokeRequest("\ufffdx")),
        (b'{"serial":"\\ud83d\\ude00"}', RevokeRequest("\U0001f600")),
        (b'{"\\u0073erial":"1"}', RevokeRequest("1")),
    ],
)
def test_what_the_reference_accepts_is_accepted(body: bytes, request_: RevokeRequest) -> None:
    assert decode_json(body, RevokeRequest) == request_


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"[]",
        b'"x"',
        b"7",
        b"nope",
        b'{"serial":',
        b'{"serial":"1",}',
        b"{'serial':'1'}",
        b'{"serial":1}',
        b'{"serial":1,"serial":"1"}',
        b'{"serial":"1","SERIAL":1}',
        b'{"reasonCode":1.0}',
        b'{"reasonCode":"1"}',
        b'{"reasonCode":true}',
        b'{"passive":1}',
        b'{"passive":"true"}',
        b'{"serial":"\n"}',
        b'{"serial":"\\x"}',
        b'{"x":NaN}',
        b'{"x":Infinity}',
        b'{"x":1e999}',
        b'{"x":01}',
        b'{"x":' + b"9" * 10_000 + b"}",
        b"\xef\xbb\xbf{}",
        b"\x00",
    ],
)
def test_what_the_reference_refuses_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest) as raised:
        decode_json(body, RevokeRequest)
    assert raised.value.public == "error decoding json"


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_nesting_is_bounded(opening: bytes) -> None:
    closing = opening.replace(b'"a":', b"")[::-1].translate(bytes.maketrans(b"[{", b"]}"))
    levels = 64 // len(closing)
    assert decode_value(opening * levels + b"1" + closing * levels) is not None
    for count in (levels + 1, 100_000):
        with pytest.raises(BadRequest):
            decode_value(opening * count + b"1" + closing * count)
        with pytest.raises(BadRequest):
            decode_json(b'{"templateData":' + opening * count + b"1" + closing * count + b"}", SignRequest)


def test_brackets_in_strings_and_side_by_side_are_not_nesting() -> None:
    assert decode_value(b'["' + b"[" * 1000 + rb"\"{[" + b'"]') == ["[" * 1000 + '"{[']
    assert decode_value(b"[" + b"[]," * 1000 + b"{}]") == [[]] * 1000 + [{}]


def test_template_data_is_kept_as_json() -> None:
    fast = decode_json(b'{"templateData": {"a":[1,2.5,"<"]}}', SignRequest)
    slow = decode_json(b'{"TemplateData": {"a":[1,2.5,"<"]}}', SignRequest)
    for request in (fast, slow):
        assert request.template_data is not UNSET
        assert json.loads(bytes(request.template_data)) == {"a": [1, 2.5, "<"]}
    assert decode_json(b"{}", SignRequest).template_data is UNSET


def test_template_data_that_is_not_utf8_is_repaired() -> None:
    request = decode_json(b'{"templateData":"\xff"}', SignRequest)
    assert request.template_data is not UNSET
    assert json.loads(bytes(request.template_data)) == "\ufffd"


def test_objects_inside_are_folded_too() -> None:
    body = (
        b'{"INNER":{"NAMES":["a"]},"Many":[{"Names":["b"],"x":1}],"by_NAME":{"K":{"naMes":[]}},"plain":{"A":1,"a":2}}'
    )
    outer = decode_json(body, Outer)
    assert outer == Outer(Inner(("a",)), [Inner(("b",))], {"K": Inner()}, {"A": 1, "a": 2})


def test_members_keep_order_and_spelling_and_the_last_of_a_name_its_own_place() -> None:
    value = decode_value(b'{"b":1,"A":2,"b":3,"a":4}')
    assert isinstance(value, dict)
    assert list(value.items()) == [("A", 2), ("b", 3), ("a", 4)]
    assert canonical_members(value, ("a", "B", "c")) == {"a": 4, "B": 3}


def test_what_is_written_is_html_safe_and_ends_with_a_newline() -> None:
    assert encode_json({"a": "<&>\u2028\u2029é"}) == '{"a":"\\u003c\\u0026\\u003e\\u2028\\u2029é"}\n'.encode()
    assert encode_json(SignRequest("c", "o", TimeDuration(after=MINUTE))) == (
        b'{"csr":"c","ott":"o","notAfter":"1m0s","notBefore":""}\n'
    )


def test_a_configuration_is_indented_by_tabs_without_a_newline_at_the_end() -> None:
    written = encode_config({"a": [], "b": {}, "c": [1.0, 1.2, "<"], "d": None})
    assert written == b'{\n\t"a": [],\n\t"b": {},\n\t"c": [\n\t\t1,\n\t\t1.2,\n\t\t"\\u003c"\n\t],\n\t"d": null\n}'


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_a_value_survives_being_written(value: object) -> None:
    assert decode_value(encode_json(value)) == value
    assert decode_value(encode_config(value)) == value


def test_lone_surrogates_cannot_be_written_and_do_not_come_in() -> None:
    with pytest.raises(UnicodeEncodeError):
        encode_json("\ud800")


FRAGMENTS = st.sampled_from(
    [
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b",",
        b":",
        b"\\",
        b"null",
        b'"serial"',
        b'"SERIAL"',
        b"1",
        b"1.5",
        b"\xff",
        b"\\ud800",
        b" ",
    ]
)


@given(st.lists(FRAGMENTS, max_size=30).map(b"".join) | st.binary())
def test_decoding_raises_nothing_but_bad_request(body: bytes) -> None:
    for wanted in (RevokeRequest, SignRequest, Outer):
        with contextlib.suppress(BadRequest):
            decode_json(body, wanted)
    with contextlib.suppress(BadRequest):
        decode_value(body)


@given(
    st.dictionaries(
        st.sampled_from(["serial", "ott", "reasonCode", "reason", "passive", "x"]),
        st.text() | st.integers(-5, 20) | st.booleans() | st.none(),
    )
)
def test_both_paths_agree(members: dict[str, Any]) -> None:
    body = json.dumps(members).encode()
    upper = json.dumps({name.upper(): value for name, value in members.items()}).encode()
    outcomes = []
    for data in (body, upper, body + b" ~"):
        try:
            outcomes.append(msgspec.json.encode(decode_json(data, RevokeRequest)))
        except BadRequest:
            outcomes.append(b"refused")
    assert len(set(outcomes)) == 1
