"""Tokens: whatever comes, it is read or it is `BadToken`, and nothing verifies that was not signed."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st

from provisor.core.identity import Operation
from provisor.core.jose.audience import audiences_match
from provisor.core.jose.jwk import jwk_members, make_jwk, parse_jwk
from provisor.core.jose.jws import UnverifiedToken, parse_token, verify_signature
from provisor.core.jose.jwt import check_times, parse_claims, parse_confirmation, parse_step, token_key
from provisor.errors import BadKey, BadToken, TokenExpired, TokenInvalid
from support.credentials import algorithm_of, b64url, make_jws, make_key, rsa_key
from support.fuzzing import brief, fuzz, hostile_object, mutated, mutated_text

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEYS = (make_key(), rsa_key(), ed25519.Ed25519PrivateKey.generate())
HEADER = {"alg": "ES256", "kid": "a", "typ": "JWT"}
CLAIMS = {
    "aud": ["https://ca.test/1.0/sign"],
    "exp": 1780272300,
    "nbf": 1780272000,
    "iat": 1780272000.5,
    "iss": "ci",
    "jti": "0123",
    "sans": ["a.test", "10.0.0.1"],
    "sha": "ab",
    "sub": "a.test",
    "cnf": {"x5rt#S256": "AAAA"},
    "step": {"ra": {}},
    "email": "a@b.test",
}
PUBLIC = jwk_members(make_jwk(KEYS[0]))
CHAIN = [base64.b64encode(b"\x30\x03\x02\x01\x01").decode()]
RICH = {**HEADER, "crit": ["b64"], "b64": True, "x5c": CHAIN, "x5cInsecure": CHAIN, "jwk": PUBLIC, "nonce": "n"}
COMPACT = [make_jws({**HEADER, "alg": algorithm_of(key)}, CLAIMS, key) for key in KEYS]
COMPACT.append(make_jws(RICH, CLAIMS, KEYS[0]))
JSON = [
    json.dumps(dict(zip(("protected", "payload", "signature"), COMPACT[0].split("."), strict=True))),
    json.dumps(
        {
            "payload": COMPACT[0].split(".")[1],
            "signatures": [{"protected": COMPACT[0].split(".")[0], "signature": COMPACT[0].split(".")[2]}],
        }
    ),
]
SEEDS = [*COMPACT, *JSON]
SAID = {parse_token(seed).payload for seed in SEEDS}


def examine(text: str) -> UnverifiedToken | None:
    """All that happens to a token before a provisioner sees it."""
    with brief():
        try:
            token = parse_token(text)
            claims = parse_claims(token)
        except BadToken:
            return None
        assert token_key(token, claims)
        for check in (parse_confirmation, parse_step):
            with suppress(TokenInvalid):
                check(claims)
        with suppress(TokenExpired):
            check_times(claims, NOW)
        audiences_match(claims.aud, ("https://ca.test/1.0/" + Operation.SIGN.value,))
        return token


def proven(token: UnverifiedToken) -> bool:
    for key in KEYS:
        try:
            verify_signature(token, key.public_key())
        except TokenInvalid:
            continue
        return True
    return False


def test_the_seeds_are_good() -> None:
    for seed in SEEDS:
        token = examine(seed)
        assert token is not None
        assert proven(token)


@fuzz(600)
@given(mutated_text(SEEDS))
def test_a_changed_token_is_no_token_or_not_proven_or_says_the_same(text: str) -> None:
    token = examine(text)
    if token is not None and proven(token):
        assert token.payload in SAID


@fuzz(600)
@given(
    hostile_object(RICH, strange_names=("x5c", "jwk", "crit", "KID", "b64")),
    hostile_object(CLAIMS, strange_names=("scope", "AUD")),
    st.binary(max_size=70),
)
def test_strange_members_make_no_token_or_none_that_is_proven(header: bytes, payload: bytes, signature: bytes) -> None:
    token = examine(f"{b64url(header)}.{b64url(payload)}.{b64url(signature)}")
    assert token is None or not proven(token)


@fuzz(400)
@given(mutated([json.dumps(RICH).encode(), b"{}"]), mutated([json.dumps(CLAIMS).encode(), b"{}"]))
def test_octets_that_are_nearly_json_are_a_token_or_are_not(header: bytes, payload: bytes) -> None:
    token = examine(f"{b64url(header)}.{b64url(payload)}.AAAA")
    assert token is None or not proven(token)


@fuzz(300)
@given(
    hostile_object({**jwk_members(make_jwk(KEYS[0])), "kid": "k", "alg": "ES256"}, strange_names=("d", "n", "e", "k"))
    | hostile_object(jwk_members(make_jwk(KEYS[1])), strange_names=("d", "p", "x", "crv"))
    | mutated([json.dumps(jwk_members(make_jwk(key))).encode() for key in KEYS])
)
def test_a_key_is_a_key_or_bad(data: bytes) -> None:
    with brief():
        try:
            key = parse_jwk(data)
        except BadKey:
            return
        assert key.thumbprint()


@pytest.mark.parametrize("sign", "[{")
def test_the_deepest_and_longest_token_takes_no_time(sign: str) -> None:
    for payload in (sign * 49_000, '{"a":"' + "\\u0041" * 8_000 + '"}', "[" + "1," * 20_000 + "1]", '{"a":' * 8_000):
        examine(f"{b64url(json.dumps(HEADER).encode())}.{b64url(payload.encode())}.AAAA")
    examine("." * 65_536)
    examine("=" * 65_536)
    examine(" " * 65_536)
