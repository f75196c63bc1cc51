"""The worked examples of the standards."""

from __future__ import annotations

import json

import pytest

from provisor.core.jose.jwk import JWK, encode_jwk, parse_jwk
from provisor.core.jose.jws import parse_jws, verify_signature
from provisor.core.jose.jwt import encode_jwt
from provisor.core.keys import PublicKey
from provisor.errors import TokenInvalid

RFC_7515_A3_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
}
RFC_7515_A3_TOKEN = (
    "eyJhbGciOiJFUzI1NiJ9"
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
RFC_7638_KEY = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3o"
    "knjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5ha"
    "jrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    "e": "AQAB",
    "alg": "RS256",
    "kid": "2011-04-29",
}
RFC_8037_KEY = {
    "kty": "OKP",
    "crv": "Ed25519",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
RFC_8037_TOKEN = (
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
    ".hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)


def public(jwk: JWK) -> PublicKey:
    assert jwk.public_key is not None
    return jwk.public_key


@pytest.mark.parametrize(
    ("key", "token"), [(RFC_7515_A3_KEY, RFC_7515_A3_TOKEN), (RFC_8037_KEY, RFC_8037_TOKEN)], ids=["ES256", "EdDSA"]
)
def test_the_example_verifies_and_with_one_octet_changed_it_does_not(key: dict[str, object], token: str) -> None:
    message = parse_jws(token)
    verify_signature(message, public(parse_jwk(key)))
    header, payload, signature = token.split(".")
    for forged in (f"{header}.{payload[:-2]}AA.{signature}", f"{header}.{payload}.A{signature[1:]}A"[: len(token)]):
        with pytest.raises(TokenInvalid):
            verify_signature(parse_jws(forged), public(parse_jwk(key)))


def test_thumbprints_are_those_of_the_standards() -> None:
    assert parse_jwk(RFC_7638_KEY).thumbprint() == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert parse_jwk(RFC_8037_KEY).thumbprint() == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize("key", [RFC_7515_A3_KEY, RFC_7638_KEY, RFC_8037_KEY])
def test_a_key_written_again_says_the_same(key: dict[str, str]) -> None:
    jwk = parse_jwk(key)
    assert json.loads(encode_jwk(jwk, private="d" in key)) == key


def test_a_deterministic_signature_is_made_bit_by_bit_the_same() -> None:
    key = parse_jwk(RFC_8037_KEY)
    assert key.private_key is not None
    token = encode_jwt({}, {"iss": "a"}, key.private_key)
    assert token == encode_jwt({"alg": "EdDSA"}, {"iss": "a"}, key.private_key)
    verify_signature(parse_jws(token), public(key))
