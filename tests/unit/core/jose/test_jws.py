from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import example, given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from provisor.core.jose.encoding import MAX_BYTES, encode_base64url
from provisor.core.jose.jwk import jwk_members, make_jwk
from provisor.core.jose.jws import SignedMessage, parse_jws, parse_token, verify_signature
from provisor.core.jose.jwt import encode_jwt, parse_claims, token_key
from provisor.core.keys import PrivateKey
from provisor.errors import BadToken, TokenInvalid

P256 = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
ED = ed25519.Ed25519PrivateKey.generate()
KEYS: dict[str, PrivateKey] = {
    "ES256": P256,
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "RS256": RSA,
    "RS384": RSA,
    "RS512": RSA,
    "PS256": RSA,
    "PS384": RSA,
    "PS512": RSA,
    "EdDSA": ED,
}
TOKEN = encode_jwt({"kid": "k", "typ": "JWT"}, {"iss": "i", "sub": "é"}, P256)
HEADER, PAYLOAD, SIGNATURE = TOKEN.split(".")
X5C = base64.b64encode(b"\x30\x03\x02\x01\x01").decode()


def b64(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return encode_base64url(data).decode()


def signed_by_hand(
    header: object, payload: object = b"{}", key: ec.EllipticCurvePrivateKey = P256, size: int = 32
) -> str:
    text = f"{b64(header)}.{b64(payload)}"
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{b64(r.to_bytes(size, 'big') + s.to_bytes(size, 'big'))}"


def imported(key: PrivateKey) -> ECKey | RSAKey | OKPKey:
    members: dict[str, Any] = dict(jwk_members(make_jwk(key, alg=""), private=True))
    if members["kty"] == "EC":
        return ECKey.import_key(members)
    return RSAKey.import_key(members) if members["kty"] == "RSA" else OKPKey.import_key(members)


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("algorithm", KEYS)
def test_a_token_of_another_library_verifies_and_ours_does_there(algorithm: str) -> None:
    key = KEYS[algorithm]
    theirs = jws.serialize_compact({"alg": algorithm, "kid": "x"}, b'{"a":1}', imported(key), algorithms=[algorithm])
    token = parse_token(theirs)
    verify_signature(token, key.public_key())
    assert (token.key_id, token.claims, token.raw) == ("x", {"a": 1}, theirs)

    ours = encode_jwt({"alg": algorithm}, {"b": 2}, key)
    assert json.loads(jws.deserialize_compact(ours, imported(key), algorithms=[algorithm]).payload) == {"b": 2}


@given(st.sampled_from(sorted(KEYS)), st.sampled_from(sorted(KEYS)), st.data())
def test_any_flipped_bit_or_foreign_key_is_refused(algorithm: str, other: str, data: st.DataObject) -> None:
    token = parse_token(encode_jwt({"alg": algorithm}, {"a": "b"}, KEYS[algorithm]))
    if KEYS[other] is not KEYS[algorithm]:
        with pytest.raises(TokenInvalid):
            verify_signature(token, KEYS[other].public_key())
    at = data.draw(st.integers(0, 8 * len(token.signature) - 1))
    flipped = bytearray(token.signature)
    flipped[at // 8] ^= 1 << at % 8
    forged = SignedMessage(token.header, token.payload, token.signed, bytes(flipped))
    with pytest.raises(TokenInvalid):
        verify_signature(forged, KEYS[algorithm].public_key())


@pytest.mark.parametrize(
    "text",
    [
        f" {TOKEN}\n",
        f"{TOKEN[:9]}\r\n\t {TOKEN[9:]}",
        f"{HEADER}=.{PAYLOAD}==.{SIGNATURE}=",
        json.dumps({"payload": PAYLOAD, "protected": HEADER, "signature": SIGNATURE}),
        json.dumps({"payload": PAYLOAD, "protected": HEADER, "signature": SIGNATURE, "header": {}, "x": 1}, indent=2),
        json.dumps({"payload": PAYLOAD, "signatures": [{"protected": HEADER, "signature": SIGNATURE}]}),
    ],
)
def test_every_spelling_of_a_token_is_the_same_token(text: str) -> None:
    token = parse_token(text)
    verify_signature(token, P256.public_key())
    plain = parse_token(TOKEN)
    assert (token.signed, token.signature, token.claims) == (plain.signed, plain.signature, plain.claims)
    assert token_key(token, parse_claims(token)) == token_key(plain, parse_claims(plain))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "x",
        "a.b",
        "a.b.c",
        "...",
        "..",
        f"{HEADER}.{PAYLOAD}",
        f"{TOKEN}.",
        f".{PAYLOAD}.{SIGNATURE}",
        f"{HEADER}..{SIGNATURE}",
        f"{HEADER}.{PAYLOAD}.{SIGNATURE}AAA",
        f"{HEADER}.{PAYLOAD}.+{SIGNATURE[1:]}",
        f"{HEADER}.{PAYLOAD}.é",
        f"{HEADER}.{PAYLOAD}.\ud800",
        f"{HEADER}.{PAYLOAD}\x00.{SIGNATURE}",
        f"Bearer {TOKEN}".replace(" ", "."),
        f"{b64([])}.{PAYLOAD}.",
        f"{b64(None)}.{PAYLOAD}.",
        f"{b64(b'{')}.{PAYLOAD}.",
        f"{b64({'alg': 1})}.{PAYLOAD}.",
        f"{b64({'kid': ['k']})}.{PAYLOAD}.",
        f"{b64({'nonce': {}})}.{PAYLOAD}.",
        b64(b'{"alg":"ES256","alg":"ES256"}') + f".{PAYLOAD}.",
        f"{b64({'jwk': 'x'})}.{PAYLOAD}.",
        f"{b64({'jwk': {}})}.{PAYLOAD}.",
        f"{b64({'jwk': jwk_members(make_jwk(P256), private=True)})}.{PAYLOAD}.",
        f"{b64({'jwk': {'kty': 'oct', 'k': 'AAAA'}})}.{PAYLOAD}.",
        f"{HEADER}.{b64([])}.",
        f"{HEADER}.{b64('x')}.",
        f"{HEADER}.{b64(b'{}{}')}.",
        f"{HEADER}." + b64(b'{"sub":"a","sub":"a"}') + ".",
        f"{HEADER}." + b64(b'{"a":NaN}') + ".",
        f"{HEADER}.{b64(b'hello')}.",
        "{}",
        "{",
        "{}{}",
        json.dumps({"payload": 1}),
        json.dumps({"payload": PAYLOAD}),
        json.dumps({"payload": PAYLOAD, "protected": HEADER, "signature": 5}),
        json.dumps({"payload": PAYLOAD, "protected": {}, "signature": SIGNATURE}),
        json.dumps({"payload": PAYLOAD, "protected": "é", "signature": SIGNATURE}),
        json.dumps({"payload": PAYLOAD, "protected": HEADER, "signature": SIGNATURE, "header": {"alg": "none"}}),
        json.dumps({"payload": PAYLOAD, "protected": HEADER, "signature": SIGNATURE, "signatures": [{}]}),
        json.dumps({"payload": PAYLOAD, "signatures": []}),
        json.dumps({"payload": PAYLOAD, "signatures": {}}),
        json.dumps({"payload": PAYLOAD, "signatures": ["x"]}),
        json.dumps({"payload": PAYLOAD, "signatures": [{"protected": HEADER, "signature": SIGNATURE}] * 2}),
        json.dumps({"payload": PAYLOAD, "signatures": [{"protected": HEADER, "header": {"x": 1}}]}),
        f'{{"payload":"{PAYLOAD}","payload":"{PAYLOAD}","protected":"{HEADER}","signature":"{SIGNATURE}"}}',
        TOKEN.ljust(MAX_BYTES + 1),
        "{" * 30_000,
        "." * 30_000,
        b64(b'{"a":' + b"[" * 80 + b"]" * 80 + b"}") + f".{PAYLOAD}.",
    ],
)
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(BadToken):
        parse_token(text)


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ([X5C], True),
        ([X5C, X5C], True),
        ([], True),
        (None, True),
        (X5C, False),
        ({}, False),
        ([1], False),
        ([None], False),
        ([""], False),
        (["AAAA"], False),
        (["!"], False),
        ([X5C.rstrip("=")], False),
        ([X5C + "AAAA"], False),
        (["MIIB+w_A"], False),
        ([base64.b64encode(b"\x30\x84\xff\xff\xff\xff").decode()], False),
        (["é"], False),
    ],
)
def test_certificates_in_the_header_have_at_least_the_shape_of_some(value: object, good: bool) -> None:
    text = f"{b64({'alg': 'ES256', 'x5c': value})}.{PAYLOAD}."
    if good:
        parse_token(text)
    else:
        with pytest.raises(BadToken, match="x5c"):
            parse_token(text)


def test_a_jws_may_hold_anything_where_a_token_may_not() -> None:
    text = signed_by_hand({"alg": "ES256"}, b"")
    verify_signature(parse_jws(text), P256.public_key())
    with pytest.raises(BadToken):
        parse_token(text)


@pytest.mark.parametrize(
    ("header", "good"),
    [
        ({"alg": "ES256"}, True),
        ({"alg": "ES256", "crit": None}, True),
        ({"alg": "ES256", "crit": ["b64"], "b64": True}, True),
        ({"alg": "ES256", "jwk": jwk_members(make_jwk(ED.public_key()))}, True),
        ({"alg": "ES256", "x": 1, "cty": 5}, True),
        ({"alg": "ES256", "crit": ["b64"], "b64": False}, False),
        ({"alg": "ES256", "b64": False}, False),
        ({"alg": "ES256", "b64": None}, False),
        ({"alg": "ES256", "crit": ["exp"], "exp": 1}, False),
        ({"alg": "ES256", "crit": ["b64", "exp"]}, False),
        ({"alg": "ES256", "crit": []}, False),
        ({"alg": "ES256", "crit": "b64"}, False),
        ({"alg": "ES256", "crit": {}}, False),
        ({"alg": "es256"}, False),
        ({"alg": "ES256 "}, False),
        ({"alg": "ES384"}, False),
        ({"alg": "ES512"}, False),
        ({"alg": "ES256K"}, False),
        ({"alg": "EdDSA"}, False),
        ({"alg": "RS256"}, False),
        ({"alg": "none"}, False),
        ({"alg": "None"}, False),
        ({"alg": ""}, False),
        ({"alg": None}, False),
        ({"ALG": "ES256"}, False),
        ({}, False),
    ],
)
def test_the_header_decides_only_what_the_key_allows(header: dict[str, object], good: bool) -> None:
    token = parse_token(signed_by_hand(header))
    if good:
        verify_signature(token, P256.public_key())
    else:
        with pytest.raises(TokenInvalid):
            verify_signature(token, P256.public_key())


@pytest.mark.parametrize("key", [P256, RSA, ED])
@pytest.mark.parametrize("algorithm", ["none", "HS256", "HS384", "HS512"])
def test_neither_none_nor_a_mac_keyed_with_the_public_key_is_a_signature(key: PrivateKey, algorithm: str) -> None:
    public = jwk_members(make_jwk(key.public_key()))
    text = f"{b64({'alg': algorithm})}.{PAYLOAD}."
    if algorithm != "none":
        secret = OctKey.import_key(json.dumps(public).encode())
        text = jws.serialize_compact({"alg": algorithm}, b"{}", secret, algorithms=[algorithm])
    with pytest.raises(TokenInvalid):
        verify_signature(parse_token(text), key.public_key())


def test_the_algorithm_and_not_the_curve_decides_the_length_as_in_the_reference() -> None:
    def signed(algorithm: str, digest: hashes.HashAlgorithm, size: int) -> str:
        text = f"{b64({'alg': algorithm})}.{PAYLOAD}"
        r, s = decode_dss_signature(P256.sign(text.encode(), ec.ECDSA(digest)))
        return f"{text}.{b64(r.to_bytes(size, 'big') + s.to_bytes(size, 'big'))}"

    verify_signature(parse_token(signed("ES384", hashes.SHA384(), 48)), P256.public_key())
    for text in (signed("ES384", hashes.SHA384(), 32), signed("ES256", hashes.SHA256(), 48)):
        with pytest.raises(TokenInvalid):
            verify_signature(parse_token(text), P256.public_key())


@pytest.mark.parametrize("size", [0, 1, 63, 65, 128])
def test_a_signature_of_another_length_is_refused(size: int) -> None:
    token = parse_token(f"{HEADER}.{PAYLOAD}.{b64(bytes(size))}")
    with pytest.raises(TokenInvalid):
        verify_signature(token, P256.public_key())


@pytest.mark.parametrize("r", [0, 2**256 - 1, 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551])
def test_numbers_outside_of_the_group_are_refused(r: int) -> None:
    token = parse_token(f"{HEADER}.{PAYLOAD}.{b64(r.to_bytes(32, 'big') * 2)}")
    with pytest.raises(TokenInvalid):
        verify_signature(token, P256.public_key())


def test_a_tiny_rsa_key_proves_nothing() -> None:
    numbers = rsa.RSAPublicNumbers(3, 2**511 + 187)
    token = parse_token(f"{b64({'alg': 'RS256'})}.{PAYLOAD}.{b64(bytes(64))}")
    with pytest.raises(TokenInvalid):
        verify_signature(token, numbers.public_key())


parts = st.one_of(
    st.text(max_size=40),
    st.dictionaries(
        st.sampled_from(["alg", "kid", "x5c", "jwk", "crit", "b64", "iss", "aud", "exp", "sans"]),
        st.one_of(st.none(), st.booleans(), st.floats(allow_nan=False), st.integers(), st.text(), st.lists(st.text())),
    ).map(b64),
    st.binary(max_size=40).map(b64),
)


@given(st.one_of(st.text(), st.lists(parts, min_size=1, max_size=4).map(".".join)))
@example("{" + '"payload":' * 10)
def test_whatever_comes_is_a_token_or_refused_as_one(text: str) -> None:
    try:
        token = parse_token(text)
        parse_claims(token)
        verify_signature(token, P256.public_key())
    except (BadToken, TokenInvalid):
        return
    raise AssertionError("nobody signed this")


def test_a_token_made_to_be_slow_is_not() -> None:
    start = time.process_time()
    many = {str(n): n for n in range(3000)}
    for text in (" " * 65_000, "=" * 65_000, "{" + " [" * 30_000, f"{b64(many)}.{b64(many)}.", ".".join("a" * 30_000)):
        try:
            parse_token(text)
        except BadToken:
            continue
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("text", "octet"),
    [
        ("n\ufffdh.A.B", 1),
        ("ABCD.\ufffd\ufffd.e", 0),
        (f"{HEADER}.e30.B\u00b5", 1),
        (f"{HEADER}.e30.\x1ce30", 0),
        (f"{HEADER}.AB=C.e30", 2),
        ("ABCDE.e30.e30", 4),
        (f"{HEADER}.e30.\ud800", 0),
    ],
)
def test_the_first_octet_that_is_no_base64_is_named(text: str, octet: int) -> None:
    """Counted in its part, as recorded from step 0.30.6."""
    with pytest.raises(BadToken, match=rf"illegal base64 data at input byte {octet}$"):
        parse_jws(text)
