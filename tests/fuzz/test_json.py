"""Bodies: every one is read or is `error decoding json`, on the fast path and on the tolerant one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisor.errors import BadRequest
from provisor.server.handlers.x509 import _serial
from provisor.wire.api import (
    ErrorResponse,
    HealthResponse,
    ProvisionersResponse,
    RekeyRequest,
    RevokeRequest,
    RootsResponse,
    SignRequest,
    SignResponse,
)
from provisor.wire.gojson import decode_json, decode_value, encode_config, encode_json
from support.fuzzing import HOSTILE_JSON, brief, fuzz, hostile_object, mutated, mutated_text

SIGN: dict[str, object] = {
    "csr": "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
    "ott": "a.b.c",
    "notAfter": "24h",
    "notBefore": "2026-06-01T00:00:00Z",
    "templateData": {"a": [1, 2.5, None, "é", True]},
}
REVOKE: dict[str, object] = {"serial": "4711", "ott": "a.b.c", "reasonCode": 1, "reason": "é", "passive": True}
BODIES: list[tuple[type, dict[str, object]]] = [
    (SignRequest, SIGN),
    (RekeyRequest, {"csr": SIGN["csr"]}),
    (RevokeRequest, REVOKE),
    (SignResponse, {"crt": "a", "ca": "b", "certChain": ["a", "b"], "tlsOptions": {"minVersion": 1.2}}),
    (ProvisionersResponse, {"provisioners": [{"type": "JWK", "name": "a"}], "nextCursor": ""}),
    (RootsResponse, {"crts": ["a"]}),
    (HealthResponse, {"status": "ok"}),
    (ErrorResponse, {"status": 400, "message": "x"}),
]
SEEDS = [json.dumps(body).encode() for _, body in BODIES]


def read(data: bytes, shape: type) -> object:
    with brief():
        try:
            return decode_json(data, shape)
        except BadRequest as error:
            refusal = error
    assert refusal.public == "error decoding json"
    return None


@pytest.mark.parametrize(("shape", "body"), BODIES)
def test_the_seeds_are_good(shape: type, body: dict[str, object]) -> None:
    assert read(json.dumps(body).encode(), shape) is not None


@fuzz(800)
@given(st.sampled_from(BODIES).flatmap(lambda each: st.tuples(st.just(each[0]), hostile_object(each[1]))))
def test_strange_members_are_read_or_refused(case: tuple[type, bytes]) -> None:
    shape, data = case
    read(data, shape)


@fuzz(800)
@given(mutated(SEEDS), st.sampled_from([shape for shape, _ in BODIES]))
def test_changed_bodies_are_read_or_refused(data: bytes, shape: type) -> None:
    read(data, shape)


@fuzz(400)
@given(mutated([*SEEDS, *(text.encode("utf-8", "surrogatepass") for text in HOSTILE_JSON)]))
def test_a_value_that_is_read_can_be_written_and_read_again(data: bytes) -> None:
    with brief():
        try:
            value = decode_value(data)
        except BadRequest:
            return
        for written in (encode_json(value), encode_config(value)):
            assert decode_value(written) == value


@pytest.mark.parametrize("data", [b"[" * 1_000_000, b'{"a":' * 200_000, b'"' + b"\\" * 1_000_000, b'"' * 1_000_000])
def test_the_deepest_body_takes_no_time(data: bytes) -> None:
    with brief(1), pytest.raises(BadRequest):
        decode_json(data, SignRequest)


def number(text: str) -> int | None:
    with brief():
        try:
            return _serial(text)
        except BadRequest as error:
            refusal = error
    assert refusal.public
    return None


@fuzz(300)
@given(st.integers(-(1 << 160), 1 << 160), st.sampled_from("dxXobB"), st.booleans())
def test_a_serial_in_every_base_is_the_same_number(value: int, base: str, grouped: bool) -> None:
    digits = format(abs(value), ("_" if grouped else "") + base.lower().replace("d", "")) if base != "d" else ""
    prefix = {"x": "0x", "X": "0X", "o": "0o", "b": "0b", "B": "0B", "d": ""}[base]
    text = ("-" if value < 0 else "") + (prefix + digits if base != "d" else str(abs(value)))
    assert number(text) == (value if len(text) <= 256 else None)


@fuzz(600)
@given(mutated_text(["4711", "0x12_67", "-0b1001", "0o17", "0017", "+12", "1" * 60]))
def test_any_text_is_a_serial_or_refused(text: str) -> None:
    value = number(text)
    if value is not None:
        assert len(text) <= 256
        assert text.isascii()
        assert number(hex(value)) == value
