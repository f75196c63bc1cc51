"""Whatever a stranger sends is answered: with a status below 500, in JSON, and without leaving anything behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.authority import MemoryCA
from support.credentials import b64url, make_csr, make_key

PATHS: Final = ["/sign", "/renew", "/rekey", "/revoke"]
CSR: Final = make_csr(make_key())

VALUES: Final[st.SearchStrategy[Any]] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MEMBERS: Final = st.sampled_from(
    ["csr", "CSR", "ott", "notBefore", "notAfter", "templateData", "serial", "reasonCode", "reason", "passive", "x"]
)
LIKELY: Final = st.sampled_from([CSR, "x", "x.y.z", "1h", "-1h", "2026-06-01T12:00:00Z", "0x5", True, 5, "", "\ud800"])
BODIES: Final = st.dictionaries(MEMBERS, LIKELY | VALUES, max_size=6)

QUICK: Final = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def ca() -> Iterator[MemoryCA]:
    with MemoryCA() as made:
        yield made


@pytest.fixture(scope="module")
def leaf(ca: MemoryCA) -> bytes:
    return ca.issue().der


def _is_answered(ca: MemoryCA, path: str, body: bytes, *headers: tuple[str, str]) -> None:
    before = ca.books()
    answer = ca.call("POST", path, body, headers)
    assert answer.status in (400, 401, 403, 413, 501), answer.body
    assert answer.json["status"] == answer.status
    assert answer.header("content-type") == "application/json"
    assert ca.books().since(before).nothing


@pytest.mark.parametrize("path", PATHS)
@given(body=st.binary(max_size=200))
@QUICK
def test_bytes_are_answered(ca: MemoryCA, path: str, body: bytes) -> None:
    _is_answered(ca, path, body)


@pytest.mark.parametrize("path", PATHS)
@given(body=BODIES | VALUES)
@QUICK
def test_json_of_any_shape_is_answered(ca: MemoryCA, path: str, body: object) -> None:
    _is_answered(ca, path, json.dumps(body).encode())


@pytest.mark.parametrize("member", ["ott", "bearer"])
@given(data=st.data())
@QUICK
def test_a_token_with_any_header_and_claims_is_answered(ca: MemoryCA, member: str, data: st.DataObject) -> None:
    names = st.sampled_from(
        ["alg", "kid", "typ", "crit", "jwk", "x5c", "x5cInsecure", "b64", "iss", "aud", "sub", "exp"]
    )
    parts = [json.dumps(data.draw(st.dictionaries(names, VALUES, max_size=5))).encode() for _ in range(2)]
    token = ".".join(b64url(part) for part in (*parts, data.draw(st.binary(max_size=64))))
    if member == "ott":
        _is_answered(ca, "/sign", json.dumps({"csr": CSR, "ott": token}).encode())
    else:
        _is_answered(ca, "/renew", b"", ("Authorization", f"Bearer {token}"))


@given(der=st.binary(max_size=300))
@QUICK
def test_a_client_certificate_of_any_bytes_is_answered(ca: MemoryCA, der: bytes) -> None:
    answer = ca.call("POST", "/renew", client_certificate=der)
    assert answer.status == 401


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
@QUICK
def test_no_bit_of_a_client_certificate_can_be_changed(ca: MemoryCA, leaf: bytes, at: int, bit: int) -> None:
    at %= len(leaf)
    changed = leaf[:at] + bytes((leaf[at] ^ (1 << bit),)) + leaf[at + 1 :]
    before = ca.books()
    assert ca.call("POST", "/renew", client_certificate=changed).status == 401
    assert ca.books().since(before).nothing


@pytest.mark.parametrize(
    "target",
    [
        "/root/%ED%A0%80%FF",
        "/root/" + "0" * 10_000,
        "/provisioners?limit=%ED%A0%80",
        "/provisioners?cursor=%ED%A0%80",
        "/provisioners?cursor=" + "f" * 10_000,
        "/provisioners?" + "limit=1&" * 200,
        "/provisioners/%FF/encrypted-key",
        "/crl?pem",
    ],
)
def test_odd_paths_and_queries_are_answered(ca: MemoryCA, target: str) -> None:
    answer = ca.call("GET", target)
    assert answer.status in (200, 400, 404)
    assert isinstance(answer.json, dict)


@pytest.mark.parametrize(
    "reason", ["\ud800", "\0", "x" * 100_000, "\u202e\U0001f511"], ids=["half", "null", "long", "odd"]
)
def test_a_reason_of_any_text_is_recorded(ca: MemoryCA, reason: str) -> None:
    serial = len(reason) + ord(reason[0])
    body = {"serial": str(serial), "passive": True, "reason": reason, "ott": ca.revoke_token(serial)}
    assert ca.call("POST", "/revoke", body).status == 200
