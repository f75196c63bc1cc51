from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from provisor.core.jose.encoding import decode_base64url, encode_base64url
from provisor.core.jose.jws import UnverifiedToken, parse_token, verify_signature
from provisor.core.jose.jwt import (
    check_times,
    encode_jwt,
    parse_claims,
    parse_confirmation,
    parse_step,
    token_key,
)
from provisor.core.keys import PrivateKey
from provisor.errors import BadKey, BadToken, TokenExpired, TokenInvalid

KEY = ec.generate_private_key(ec.SECP256R1())
NOW = datetime(2026, 11, 23, 12, 0, 0, 500_000, tzinfo=UTC)
SECOND = int(NOW.timestamp())


NO_TEXT: list[object] = [1, True, [], {}]
NO_AUDIENCE: list[object] = [1, None, {}, ["a", 1], [["a"]], [None], True]
NO_TEXTS: list[object] = ["a", 1, {}, ["a", 1], [None], False]
NO_DATE: list[object] = ["1", "", True, [], {}, 10**30, -(10**30), 1e30, float("inf"), 2**63]


def with_claims(**claims: object) -> UnverifiedToken:
    return UnverifiedToken({"alg": "ES256"}, b"", b"signed", b"", claims, "")


def from_text(payload: bytes) -> UnverifiedToken:
    return parse_token(f"e30.{encode_base64url(payload).decode()}.")


def test_claims_have_their_types() -> None:
    claims = parse_claims(
        with_claims(
            iss="i",
            sub="s",
            aud=["a", "b"],
            exp=1.9,
            nbf=-1.9,
            iat=3,
            jti="j",
            sans=["x", ""],
            sha="f",
            email="e",
            azp="z",
            tid="t",
            nonce="n",
            cnf={"kid": "k"},
            step={"ssh": {}},
            user={"a": 1},
        )
    )
    assert (claims.iss, claims.sub, claims.aud, claims.jti) == ("i", "s", ("a", "b"), "j")
    assert (claims.exp, claims.nbf, claims.iat) == (1, -1, 3)
    assert (claims.sans, claims.sha, claims.email, claims.azp) == (("x", ""), "f", "e", "z")
    assert (claims.tid, claims.nonce, claims.cnf, claims.step) == ("t", "n", {"kid": "k"}, {"ssh": {}})
    assert claims.raw["user"] == {"a": 1}


def test_absent_and_null_are_the_same() -> None:
    names = ("iss", "sub", "exp", "nbf", "iat", "jti", "sans", "sha", "email", "azp", "tid", "nonce", "cnf", "step")
    absent, null = parse_claims(with_claims()), parse_claims(with_claims(**dict.fromkeys(names)))
    assert absent.sans is None
    assert absent.aud == ()
    for name in names:
        assert getattr(absent, name) == getattr(null, name)


def test_one_audience_is_a_list_of_one_and_names_are_case_sensitive() -> None:
    assert parse_claims(with_claims(aud="a")).aud == ("a",)
    assert parse_claims(with_claims(SUB="s", Sub="t")).sub == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *product(("iss", "sub", "jti", "email", "azp", "tid", "nonce"), NO_TEXT),
        *product(("aud",), NO_AUDIENCE),
        *product(("sans",), NO_TEXTS),
        *product(("exp", "nbf", "iat"), NO_DATE),
    ],
)
def test_a_claim_of_another_type_is_no_claim(name: str, value: object) -> None:
    with pytest.raises(BadToken, match="error unmarshaling token"):
        parse_claims(with_claims(**{name: value}))


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"9" * 400, b"1e19", b"9223372036854775808"])
def test_a_date_too_large_to_be_one_is_refused_and_does_not_crash(number: bytes) -> None:
    with pytest.raises(BadToken):
        parse_claims(from_text(b'{"exp":' + number + b"}"))


@pytest.mark.parametrize("number", [b"9223372036854775807", b"-9223372036854775808", b"1e18", b"1E-400", b"-0.0"])
def test_a_date_far_away_is_a_date(number: bytes) -> None:
    claims = parse_claims(from_text(b'{"nbf":' + number + b"}"))
    try:
        check_times(claims, NOW)
    except TokenExpired:
        assert claims.nbf is not None
        assert claims.nbf > SECOND


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({}, ""),
        ({"exp": SECOND + 300, "nbf": SECOND, "iat": SECOND}, ""),
        ({"exp": SECOND - 59}, ""),
        ({"exp": SECOND - 60}, "token is expired (exp)"),
        ({"exp": SECOND - 60 + 0.9}, "token is expired (exp)"),
        ({"exp": 0}, "token is expired (exp)"),
        ({"exp": -1}, "token is expired (exp)"),
        ({"nbf": SECOND + 60}, ""),
        ({"nbf": SECOND + 61}, "token not valid yet (nbf)"),
        ({"iat": SECOND + 60}, ""),
        ({"iat": SECOND + 61}, "validation field, token issued in the future (iat)"),
        ({"exp": SECOND + 10 * 365 * 86400}, ""),
        ({"exp": 0, "nbf": SECOND + 100, "iat": SECOND + 100}, "token not valid yet (nbf)"),
        ({"exp": 0, "iat": SECOND + 100}, "token is expired (exp)"),
    ],
)
def test_times_hold_within_a_minute(claims: dict[str, object], reason: str) -> None:
    parsed = parse_claims(with_claims(**claims))
    if not reason:
        check_times(parsed, NOW)
        return
    with pytest.raises(TokenExpired) as refusal:
        check_times(parsed, NOW)
    assert reason in refusal.value.detail
    assert refusal.value.public is None


def test_without_leeway_the_second_counts() -> None:
    claims = parse_claims(with_claims(exp=SECOND))
    check_times(claims, NOW - timedelta(seconds=1), leeway_seconds=0)
    with pytest.raises(TokenExpired):
        check_times(claims, NOW, leeway_seconds=0)


@pytest.mark.parametrize(
    ("cnf", "fingerprint"),
    [(None, ""), ({}, ""), ({"kid": "k"}, ""), ({"x5rt#S256": None}, ""), ({"x5rt#S256": "f"}, "f")],
)
def test_a_token_is_bound_to_a_request_or_not(cnf: object, fingerprint: str) -> None:
    assert parse_confirmation(parse_claims(with_claims(cnf=cnf))) == fingerprint


@pytest.mark.parametrize("cnf", ["f", 1, True, [], {"x5rt#S256": 1}, {"x5rt#S256": ["f"]}, {"x5rt#S256": {}}])
def test_a_binding_that_cannot_be_read_is_not_an_absent_one(cnf: object) -> None:
    with pytest.raises(TokenInvalid):
        parse_confirmation(parse_claims(with_claims(cnf=cnf)))


def test_the_step_claim_is_an_object_or_absent() -> None:
    assert parse_step(parse_claims(with_claims())) == {}
    assert parse_step(parse_claims(with_claims(step={"ssh": {}}))) == {"ssh": {}}
    no_object: list[object] = ["ssh", [], 1, False]
    for wrong in no_object:
        with pytest.raises(TokenInvalid):
            parse_step(parse_claims(with_claims(step=wrong)))


def test_a_token_is_spent_under_its_id() -> None:
    token = with_claims(jti="one")
    assert token_key(token, parse_claims(token)) == "one"


def test_without_an_id_the_signed_part_counts_so_that_another_signature_is_no_other_token() -> None:
    text = encode_jwt({}, {"sub": "s", "jti": ""}, KEY)
    token = parse_token(text)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    signed, _, signature = text.rpartition(".")
    raw = decode_base64url(signature.encode())
    mirrored = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    twin = parse_token(f"{signed}.{encode_base64url(mirrored).decode()}")
    verify_signature(token, KEY.public_key())
    verify_signature(twin, KEY.public_key())
    key = token_key(token, parse_claims(token))
    assert key == token_key(twin, parse_claims(twin)) == hashlib.sha256(signed.encode()).hexdigest()


def test_trailing_bits_that_mean_nothing_do_not_make_another_token() -> None:
    text = encode_jwt({"alg": "ES256"}, {"a": "bc"}, KEY)
    header, payload, signature = text.split(".")
    assert len(decode_base64url(payload.encode())) % 3 == 1
    other = payload[:-1] + chr(ord(payload[-1]) + 1)
    assert decode_base64url(other.encode()) == decode_base64url(payload.encode())
    twin = parse_token(f"{header}.{other}.{signature}")
    assert token_key(twin, parse_claims(twin)) == token_key(parse_token(text), parse_claims(parse_token(text)))


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (KEY, "ES384"),
        (KEY, "RS256"),
        (KEY, "EdDSA"),
        (KEY, "none"),
        (KEY, "HS256"),
        (KEY, "ES"),
        (ec.generate_private_key(ec.SECP384R1()), "ES256"),
        (rsa.generate_private_key(65537, 2048), "ES256"),
        (ed25519.Ed25519PrivateKey.generate(), "RS256"),
    ],
)
def test_a_key_does_not_sign_with_an_algorithm_of_another(key: PrivateKey, algorithm: str) -> None:
    with pytest.raises(BadKey):
        encode_jwt({"alg": algorithm}, {}, key)


def test_a_made_token_has_a_sorted_header_and_its_claims_in_order() -> None:
    text = encode_jwt({"typ": "JWT", "kid": "k"}, {"sub": "é<", "aud": "a"}, KEY)
    header, payload, signature = (decode_base64url(part.encode()) for part in text.split("."))
    assert header == b'{"alg":"ES256","kid":"k","typ":"JWT"}'
    assert payload == '{"sub":"é<","aud":"a"}'.encode()
    assert len(signature) == 64
