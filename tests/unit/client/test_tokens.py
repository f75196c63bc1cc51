from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from provisor.client.address import parse_ca_url
from provisor.client.tokens import (
    RENEW_ISSUER,
    TokenRequest,
    audience,
    make_renew_token,
    make_token,
    offline_audience,
    open_provisioner_key,
    token_window,
)
from provisor.core.durations import TimeDuration, parse_time_duration
from provisor.core.jose.jwe import encrypt_pbes2
from provisor.core.jose.jwk import encode_jwk, make_jwk
from provisor.core.jose.jws import parse_token, verify_signature
from provisor.core.jose.jwt import parse_claims
from provisor.core.keys import PasswordNeeded, WrongPassword
from provisor.errors import BadKey, BadRequest

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())


def request(**changes: object) -> TokenRequest:
    values: dict[str, object] = {
        "issuer": "you@example.com",
        "subject": "foo.internal",
        "audience": "https://ca.internal/1.0/sign",
        "key_id": "kid",
        "window": token_window(NOW),
        "issued_at": NOW,
    }
    return TokenRequest(**(values | changes))  # type: ignore[arg-type] # the fields of the struct


def test_a_token_says_what_it_should_and_nothing_else() -> None:
    token = parse_token(make_token(request(names=["foo.internal"], root_fingerprint="ab"), KEY))
    assert dict(token.header) == {"alg": "ES256", "kid": "kid", "typ": "JWT"}
    claims = dict(token.claims)
    assert len(str(claims.pop("jti"))) == 64
    assert claims == {
        "aud": "https://ca.internal/1.0/sign",
        "exp": int(NOW.timestamp()) + 300,
        "iat": int(NOW.timestamp()),
        "iss": "you@example.com",
        "nbf": int(NOW.timestamp()),
        "sans": ["foo.internal"],
        "sha": "ab",
        "sub": "foo.internal",
    }
    assert list(token.claims) == sorted(token.claims)
    verify_signature(token, KEY.public_key())


def test_no_two_tokens_are_alike() -> None:
    ids = {parse_claims(parse_token(make_token(request(), KEY))).jti for _ in range(3)}
    assert len(ids) == 3


def test_names_user_data_and_binding_appear_when_given() -> None:
    token = parse_token(make_token(request(csr_fingerprint="abc", user={}, ssh={"certType": "user"}), KEY))
    assert token.claims["cnf"] == {"x5rt#S256": "abc"}
    assert token.claims["user"] == {}
    assert token.claims["step"] == {"ssh": {"certType": "user"}}
    assert "sans" not in token.claims
    assert "sha" not in token.claims


def renewal_token() -> str:
    window = token_window(NOW)
    return make_renew_token([b"\x30\x00"], KEY, subject="cn", audience="https://x/renew", window=window, issued_at=NOW)


def test_a_renewal_token_has_the_chain_and_no_root() -> None:
    token = parse_token(renewal_token())
    assert dict(token.header) == {"alg": "ES256", "kid": make_jwk(KEY).kid, "typ": "JWT", "x5cInsecure": ["MAA="]}
    assert set(token.claims) == {"aud", "exp", "iat", "iss", "jti", "nbf", "sub"}
    assert token.claims["iss"] == RENEW_ISSUER


def test_two_renewal_tokens_of_one_second_are_two() -> None:
    assert parse_token(renewal_token()).claims["jti"] != parse_token(renewal_token()).claims["jti"]


@pytest.mark.parametrize(
    ("not_before", "not_after", "start", "end"),
    [
        ("", "", 0, 300),
        ("10m", "", 600, 900),
        ("-10m", "", -600, -300),
        ("", "20m", 0, 1200),
        ("10m", "20m", 600, 1200),
        ("", "10s", 0, 10),
        ("", "1h", 0, 3600),
        ("30m", "90m", 1800, 5400),
        ("", "2026-01-02T03:05:05Z", 0, 60),
    ],
)
def test_a_window_begins_and_ends(not_before: str, not_after: str, start: int, end: int) -> None:
    window = token_window(NOW, parse_time_duration(not_before), parse_time_duration(not_after))
    assert window.not_before == NOW + timedelta(seconds=start)
    assert window.not_after == NOW + timedelta(seconds=end)


@pytest.mark.parametrize(
    ("not_before", "not_after", "text"),
    [
        ("", "1h0m1s", "requested token validity is too long: 'requested token validity'=1h0m1s"),
        ("", "9s", "requested token validity is too short: 'requested token validity'=9s"),
        ("30m1s", "", "requested validity delay is too long: 'requested validity delay'=30m1s"),
        ("10m", "5m", "nbf < exp: nbf=2026-01-02 03:14:05"),
        ("", "-5m", "nbf < exp"),
    ],
)
def test_a_window_has_limits(not_before: str, not_after: str, text: str) -> None:
    with pytest.raises(BadRequest, match=text):
        token_window(NOW, parse_time_duration(not_before), parse_time_duration(not_after))


def test_unset_times_mean_now() -> None:
    assert token_window(NOW, TimeDuration(), TimeDuration()) == token_window(NOW)


def test_audiences_keep_the_port_online_and_lose_it_offline() -> None:
    assert audience(parse_ca_url("ca:8443"), "revoke") == "https://ca:8443/1.0/revoke"
    assert offline_audience("ca.internal", "sign") == "https://ca.internal/sign"
    assert offline_audience("::1", "sign") == "https://[::1]/sign"


def test_a_provisioners_key_opens_with_its_password_only() -> None:
    encrypted = encrypt_pbes2(encode_jwk(make_jwk(KEY), private=True), b"password", os.urandom, iterations=1000)
    opened = open_provisioner_key(encrypted, b"password")
    assert opened.private_numbers() == KEY.private_numbers()  # type: ignore[union-attr] # an EC key
    with pytest.raises(WrongPassword):
        open_provisioner_key(encrypted, b"passwort")
    with pytest.raises(PasswordNeeded):
        open_provisioner_key(encrypted, b"")


def test_an_encrypted_public_key_is_no_provisioner_key() -> None:
    encrypted = encrypt_pbes2(encode_jwk(make_jwk(KEY)), b"password", os.urandom, iterations=1000)
    with pytest.raises(BadKey, match="no private key"):
        open_provisioner_key(encrypted, b"password")


def test_a_key_from_a_recording_opens() -> None:
    text = (Path(__file__).parent / "data" / "encrypted_key.txt").read_text().strip()
    key = open_provisioner_key(text, b"capassword")
    assert make_jwk(key).kid == "F7TliLnkdfdzu6tIGLBPReOGvGRoiEecqW9w7JoLi7Y"
