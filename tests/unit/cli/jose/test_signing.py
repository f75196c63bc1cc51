"""Signatures of command lines: the algorithm is the key's, whatever the header says. Vector: RFC 7515 appendix A.1."""

from __future__ import annotations

import pytest

from provisor.cli.exits import CommandError
from provisor.cli.jose import signing
from provisor.client.csr import generate_key
from provisor.core.jose.jwk import JWK, make_jwk, parse_jwk, public_jwk
from provisor.core.jose.jws import parse_jws
from provisor.core.keys import spki_der
from provisor.core.secret import Secret

OF_THE_RFC = (
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
    "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)
SHARED = parse_jwk(
    {
        "kty": "oct",
        "alg": "HS256",
        "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
    }
)


def test_a_message_of_the_rfc_verifies() -> None:
    signing.verify(parse_jws(OF_THE_RFC), SHARED)


@pytest.mark.parametrize(
    ("kind", "algorithms"),
    [
        ("EC", ["ES256"]),
        ("OKP", ["EdDSA"]),
        ("RSA", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
        ("oct", ["HS256", "HS384", "HS512"]),
    ],
)
def test_what_is_signed_verifies_and_not_with_another_algorithm(kind: str, algorithms: list[str]) -> None:
    base = SHARED if kind == "oct" else make_jwk(generate_key(kind))
    for algorithm in algorithms:
        key = JWK(base.kty, base.public_key, base.private_key, base.secret, alg=algorithm)
        message = parse_jws(signing.sign_compact({"alg": algorithm}, b"payload", key))
        signing.verify(message, key)
        for other in ("none", "HS256", "RS256", "PS256", "ES256", "EdDSA"):
            if other != algorithm:
                twin = JWK(base.kty, base.public_key, base.private_key, base.secret, alg=other)
                with pytest.raises(CommandError):
                    signing.verify(message, twin)


def test_a_public_key_is_no_secret() -> None:
    key = make_jwk(generate_key("RSA"))
    assert key.public_key is not None
    as_secret = JWK(kty="oct", secret=Secret(spki_der(key.public_key)), alg="HS256")
    forged = parse_jws(signing.sign_compact({"alg": "HS256"}, b"{}", as_secret))
    with pytest.raises(CommandError, match="invalid signature"):
        signing.verify(forged, public_jwk(key))


def test_a_public_key_signs_nothing() -> None:
    with pytest.raises(CommandError, match="cannot use a public key for signing"):
        signing.sign_compact({"alg": "ES256"}, b"", public_jwk(make_jwk(generate_key())))


def test_an_extension_that_must_be_understood_is_not_ignored() -> None:
    key = JWK(kty="oct", secret=Secret(b"k" * 32), alg="HS256")
    message = parse_jws(signing.sign_compact({"alg": "HS256", "crit": ["b64"], "b64": False}, b"{}", key))
    with pytest.raises(CommandError, match="validation failed"):
        signing.verify(message, key)
