from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc.jwk import ECKey, OKPKey, RSAKey

from provisor.core.jose.jwk import (
    JWK,
    default_algorithm,
    encode_jwk,
    jwk_members,
    make_jwk,
    parse_jwk,
    public_jwk,
)
from provisor.core.keys import PrivateKey, spki_der
from provisor.errors import BadKey

KEYS: dict[str, PrivateKey] = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "RS256": rsa.generate_private_key(65537, 2048),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
EC = jwk_members(make_jwk(KEYS["ES256"]), private=True)
RSA = jwk_members(make_jwk(KEYS["RS256"]), private=True)
OKP = jwk_members(make_jwk(KEYS["EdDSA"]), private=True)
OTHER_EC = jwk_members(make_jwk(ec.generate_private_key(ec.SECP256R1())), private=True)
OTHER_OKP = jwk_members(make_jwk(ed25519.Ed25519PrivateKey.generate()), private=True)


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_key_goes_both_ways_and_agrees_with_another_library(algorithm: str) -> None:
    jwk = make_jwk(KEYS[algorithm])
    assert (jwk.alg, jwk.use, jwk.kid) == (algorithm, "sig", jwk.thumbprint())
    again = parse_jwk(encode_jwk(jwk, private=True))
    assert again.private_key is not None
    assert jwk_members(again, private=True) == jwk_members(jwk, private=True)
    public = parse_jwk(encode_jwk(jwk))
    assert public == public_jwk(jwk)
    assert public.public_key is not None
    assert spki_der(public.public_key) == spki_der(KEYS[algorithm].public_key())

    members: dict[str, Any] = dict(jwk_members(jwk, private=True))
    oracle = {
        "EC": lambda: ECKey.import_key(members).thumbprint(),
        "RSA": lambda: RSAKey.import_key(members).thumbprint(),
        "OKP": lambda: OKPKey.import_key(members).thumbprint(),
    }[jwk.kty]()
    assert oracle == jwk.thumbprint()


def test_members_stand_in_the_order_clients_write() -> None:
    assert list(EC) == ["use", "kty", "kid", "crv", "alg", "x", "y", "d"]
    assert list(RSA) == ["use", "kty", "kid", "alg", "n", "e", "d", "p", "q", "dp", "dq", "qi"]
    assert list(OKP) == ["use", "kty", "kid", "crv", "alg", "x", "d"]
    assert "d" not in jwk_members(make_jwk(KEYS["ES256"]))


def test_given_names_are_kept_and_empty_ones_left_out() -> None:
    jwk = make_jwk(KEYS["ES256"].public_key(), kid="any string", alg="ES512", use="")
    assert parse_jwk(jwk_members(jwk)) == jwk
    assert "use" not in jwk_members(jwk)
    assert default_algorithm(KEYS["ES512"].public_key()) == "ES512"


def test_unknown_members_are_ignored_and_null_is_absent() -> None:
    jwk = parse_jwk({**EC, "d": None, "kid": None, "x5t": 7, "KTY": "RSA"})
    assert jwk.private_key is None
    assert jwk.kid == ""


@pytest.mark.parametrize(
    ("base", "change"),
    [
        (EC, {"kty": "ec"}),
        (EC, {"kty": None}),
        (EC, {"kty": 1}),
        (EC, {"kty": "RSA"}),
        (EC, {"crv": "P-384"}),
        (EC, {"crv": "secp256k1"}),
        (EC, {"crv": "p-256"}),
        (EC, {"x": EC["y"]}),
        (EC, {"x": EC["x"][:-1]}),
        (EC, {"x": "AA" + EC["x"]}),
        (EC, {"x": EC["x"] + "AAAA"}),
        (EC, {"x": ""}),
        (EC, {"x": None}),
        (EC, {"x": 5}),
        (EC, {"x": ["x"]}),
        (EC, {"x": "+" + EC["x"][1:]}),
        (EC, {"x": "\ud800"}),
        (EC, {"x": "A" * 43, "y": "A" * 43, "d": None}),
        (EC, {"d": OTHER_EC["d"]}),
        (EC, {"d": "A" * 43}),
        (EC, {"d": "AA"}),
        (EC, {"kid": 5}),
        (EC, {"alg": ["ES256"]}),
        (EC, {"use": {}}),
        (OKP, {"crv": "X25519"}),
        (OKP, {"crv": "Ed448"}),
        (OKP, {"crv": None}),
        (OKP, {"x": OKP["x"][:-2]}),
        (OKP, {"d": OTHER_OKP["d"]}),
        (OKP, {"d": "AAAA"}),
        (RSA, {"n": ""}),
        (RSA, {"n": "BA"}),
        (RSA, {"e": "AQ"}),
        (RSA, {"e": ""}),
        (RSA, {"e": "Ag"}),
        (RSA, {"n": "_" * 4096}),
        (RSA, {"p": None}),
        (RSA, {"d": RSA["p"]}),
        (RSA, {"p": RSA["n"]}),
        ({"kty": "oct"}, {}),
        ({"kty": "oct"}, {"k": ""}),
        ({}, {}),
    ],
)
def test_a_key_that_is_nearly_one_is_refused(base: dict[str, str], change: dict[str, object]) -> None:
    with pytest.raises(BadKey):
        parse_jwk({**base, **change})


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b'{"kty":"EC","kty":"EC"}', b"\xff"])
def test_a_text_that_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(BadKey):
        parse_jwk(text)


def test_a_duplicate_member_in_the_text_is_refused() -> None:
    text = json.dumps(EC).encode()
    parse_jwk(text)
    with pytest.raises(BadKey, match="duplicate"):
        parse_jwk(text.replace(b'"y"', b'"x"'))


def test_a_symmetric_key_has_octets_and_no_public_form() -> None:
    jwk = parse_jwk({"kty": "oct", "k": "AAEC", "kid": "s"})
    assert jwk.secret is not None
    assert jwk.secret.reveal() == b"\x00\x01\x02"
    assert jwk.public_key is None
    assert "AAEC" not in repr(jwk)
    assert jwk_members(jwk, private=True) == {"kty": "oct", "kid": "s", "k": "AAEC"}
    assert len(jwk.thumbprint()) == 43
    with pytest.raises(BadKey):
        jwk_members(jwk)


def test_a_public_key_has_no_private_members() -> None:
    with pytest.raises(BadKey):
        encode_jwk(make_jwk(KEYS["ES256"].public_key()), private=True)
    with pytest.raises(BadKey):
        encode_jwk(JWK(kty="EC"))
