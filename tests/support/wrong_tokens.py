"""Every way a token can be wrong, as tables: for one-time tokens, and for the bearer tokens of a renewal."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import Struct

from provisor.core.jose.jwk import jwk_members, make_jwk
from support.credentials import (
    SERVER,
    Party,
    b64url,
    compact,
    make_jws,
    make_key,
    make_party,
    make_signer,
    raw_signature,
    unb64url,
)
from support.doors import BearerDoor, TokenDoor

BEYOND_LEEWAY: Final = 61


class WrongToken(Struct, frozen=True):
    """`proven`: the token itself is genuine, so the refusal spends it and is on record."""

    make: Callable[[TokenDoor], str]
    status: int = 401
    proven: bool = False


class WrongBearer(Struct, frozen=True):
    make: Callable[[BearerDoor], str]
    status: int = 401
    proven: bool = False


# -- forgeries: what a stranger can make of a token, or without one -------------------------------


def parts(token: str) -> tuple[dict[str, object], dict[str, object], bytes]:
    header, payload, signature = map(unb64url, token.split("."))
    return json.loads(header), json.loads(payload), signature


def with_signature(token: str, change: Callable[[bytes], bytes]) -> str:
    signed, _, signature = token.rpartition(".")
    return f"{signed}.{b64url(change(unb64url(signature)))}"


def with_payload(token: str, **over: object) -> str:
    """Other claims under the old signature."""
    header, payload, signature = token.split(".")
    return ".".join((header, b64url(compact({**json.loads(unb64url(payload)), **over})), signature))


def with_header(token: str, **over: object) -> str:
    header, payload, signature = token.split(".")
    return ".".join((b64url(compact({**json.loads(unb64url(header)), **over})), payload, signature))


def flip(at: int) -> Callable[[bytes], bytes]:
    return lambda octets: octets[:at] + bytes((octets[at] ^ 1,)) + octets[at + 1 :]


def mac(token: str, secret: bytes) -> str:
    """The same claims with a MAC keyed with what everybody knows."""
    header, payload, _ = parts(token)
    return make_jws(
        {**header, "alg": "HS256"}, payload, lambda signed: hmac.new(secret, signed, hashlib.sha256).digest()
    )


def unsigned(token: str, algorithm: str = "none") -> str:
    header, payload, _ = parts(token)
    return make_jws({**header, "alg": algorithm}, payload, lambda signed: b"")


def signed_by_stranger(token: str, **header_over: object) -> str:
    header, payload, _ = parts(token)
    return make_jws({**header, **header_over}, payload, make_key())


def signed_by_own_header(token: str) -> str:
    """The key that signed is in the header: whoever trusts it trusts everybody."""
    header, payload, _ = parts(token)
    key = make_key()
    return make_jws({**header, "jwk": jwk_members(make_jwk(key.public_key()))}, payload, key)


def twice_signed(token: str) -> str:
    """The general JSON serialisation with a second, foreign signature."""
    header, payload, signature = token.split(".")
    foreign = raw_signature(make_key(), f"{header}.{payload}".encode())
    signatures = [
        {"protected": header, "signature": b64url(foreign)},
        {"protected": header, "signature": signature},
    ]
    return json.dumps({"payload": payload, "signatures": signatures})


def rewritten_signature(token: str) -> str:
    """The other signature that is as good: ECDSA accepts s and n - s alike."""
    order = int("FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551", 16)
    return with_signature(
        token, lambda octets: octets[:32] + (order - int.from_bytes(octets[32:], "big")).to_bytes(32, "big")
    )


def as_json(token: str) -> str:
    """The same token in the flattened JSON serialisation."""
    header, payload, signature = token.split(".")
    return json.dumps({"protected": header, "payload": payload, "signature": signature})


def spki(key: ec.EllipticCurvePublicKey, encoding: Encoding) -> bytes:
    return key.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)


def _public_forms(key: object) -> Mapping[str, bytes]:
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    public = key.public_key()
    numbers = public.public_numbers()
    return {
        "PEM": spki(public, Encoding.PEM),
        "DER": spki(public, Encoding.DER),
        "JWK": compact(jwk_members(make_jwk(public))),
        "x and y": numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big"),
        "nothing": b"",
    }


FORGERIES: Final[Mapping[str, Callable[[str, object], str]]] = {
    "alg none without signature": lambda token, key: unsigned(token),
    "alg None without signature": lambda token, key: unsigned(token, "None"),
    "alg none under the old signature": lambda token, key: with_header(token, alg="none"),
    "alg empty": lambda token, key: with_header(token, alg=""),
    "HS256 with the public key as PEM": lambda token, key: mac(token, _public_forms(key)["PEM"]),
    "HS256 with the public key as DER": lambda token, key: mac(token, _public_forms(key)["DER"]),
    "HS256 with the public key as JWK": lambda token, key: mac(token, _public_forms(key)["JWK"]),
    "HS256 with the public key's coordinates": lambda token, key: mac(token, _public_forms(key)["x and y"]),
    "HS256 with an empty secret": lambda token, key: mac(token, _public_forms(key)["nothing"]),
    "payload tampered": lambda token, key: with_payload(token, user={"admin": True}),
    "header tampered": lambda token, key: with_header(token, cty="x"),
    "first bit of r flipped": lambda token, key: with_signature(token, flip(0)),
    "last bit of r flipped": lambda token, key: with_signature(token, flip(31)),
    "first bit of s flipped": lambda token, key: with_signature(token, flip(32)),
    "last bit of s flipped": lambda token, key: with_signature(token, flip(63)),
    "signature of zeros": lambda token, key: with_signature(token, lambda octets: bytes(64)),
    "signature cut": lambda token, key: with_signature(token, lambda octets: octets[:-1]),
    "signature one octet longer": lambda token, key: with_signature(token, lambda octets: octets + b"\0"),
    "signature absent": lambda token, key: with_signature(token, lambda octets: b""),
    "signed by a stranger": lambda token, key: signed_by_stranger(token),
    "signed by the key in its own header": lambda token, key: signed_by_own_header(token),
    "alg of another curve": lambda token, key: with_header(token, alg="ES384"),
    "alg of another kind of key": lambda token, key: with_header(token, alg="EdDSA"),
    "critical header nobody knows": lambda token, key: _signed_header(token, key, crit=["exp"], exp=1),
    "critical header empty": lambda token, key: _signed_header(token, key, crit=[]),
    "payload not encoded (b64 false)": lambda token, key: _signed_header(token, key, crit=["b64"], b64=False),
}
"""From a good token and the private key that made it. None of these proves anything."""


def _signed_header(token: str, key: object, **over: object) -> str:
    header, payload, _ = parts(token)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return make_jws({**header, **over}, payload, key)


UNREADABLE: Final[Mapping[str, Callable[[str], str]]] = {
    "garbage": lambda token: "x",
    "two parts": lambda token: token.rpartition(".")[0],
    "four parts": lambda token: f"{token}.x",
    "cut in half": lambda token: token[: len(token) // 2],
    "not base64": lambda token: f"{token[:-1]}*",
    "outside ASCII": lambda token: f"{token[:-1]}\u00fc",
    "header that is no object": lambda token: f"{b64url(b'[]')}.{token.partition('.')[2]}",
    "two signatures": twice_signed,
    "longer than the limit": lambda token: with_payload(token, x="x" * 65_536),
}


# -- one-time tokens --------------------------------------------------------------------------------


def _forged(name: str) -> WrongToken:
    return WrongToken(lambda door: FORGERIES[name](door.good(), door.world.ci.key))


def _unreadable(name: str) -> WrongToken:
    return WrongToken(lambda door: UNREADABLE[name](door.good()))


def _now(door: TokenDoor | BearerDoor, seconds: int) -> int:
    return door.world.ca.clock.seconds + seconds


def _other_audience(door: TokenDoor) -> str:
    other = {"sign": "revoke", "revoke": "sign"}[door.operation]
    return f"https://ca.test/1.0/{other}"


def _duplicated(door: TokenDoor, name: str) -> str:
    """A member that is there twice: two readers, two meanings."""
    claims = door.claims()
    payload = compact(claims)[:-1] + b"," + compact({name: claims[name]})[1:]
    return make_jws({"alg": "ES256", "kid": door.world.ci.kid}, payload, door.world.ci.key)


def _audience(door: TokenDoor, change: Callable[[str], object]) -> str:
    return door.good(aud=change(f"https://ca.test/1.0/{door.operation}"))


WRONG_TOKENS: Final[Mapping[str, WrongToken]] = {
    **{name: _forged(name) for name in FORGERIES},
    **{name: _unreadable(name) for name in UNREADABLE},
    "expired": WrongToken(lambda door: door.good(exp=_now(door, -BEYOND_LEEWAY))),
    "not yet valid": WrongToken(lambda door: door.good(nbf=_now(door, BEYOND_LEEWAY))),
    "issued in the future": WrongToken(lambda door: door.good(iat=_now(door, BEYOND_LEEWAY))),
    "audience of another operation": WrongToken(lambda door: door.good(aud=_other_audience(door))),
    "audience of renewal": WrongToken(lambda door: door.good(aud="https://ca.test/1.0/renew")),
    "audience of another host": WrongToken(
        lambda door: _audience(door, lambda a: a.replace("ca.test", "ca.test.evil"))
    ),
    "audience of a host in capitals": WrongToken(lambda door: _audience(door, lambda a: a.replace("ca", "CA"))),
    "audience by http": WrongToken(lambda door: _audience(door, lambda a: a.replace("https", "http"))),
    "audience with a trailing slash": WrongToken(lambda door: _audience(door, lambda a: f"{a}/")),
    "audience with a query": WrongToken(lambda door: _audience(door, lambda a: f"{a}?x")),
    "audience with a user": WrongToken(lambda door: _audience(door, lambda a: a.replace("ca.test", "x@ca.test"))),
    "audience with a fragment": WrongToken(lambda door: _audience(door, lambda a: f"{a}#ci")),
    "audience absent": WrongToken(lambda door: door.good(aud=...)),
    "audience an empty list": WrongToken(lambda door: door.good(aud=[])),
    "audience a number": WrongToken(lambda door: door.good(aud=7)),
    "key of another provisioner": WrongToken(
        lambda door: make_jws({"alg": "ES256", "kid": door.world.ci.kid}, door.claims(), door.world.other.key)
    ),
    "issuer and key do not belong together": WrongToken(
        lambda door: door.good(door.world.other, iss=door.world.ci.name)
    ),
    "issuer of another provisioner": WrongToken(lambda door: door.good(iss=door.world.other.name)),
    "issuer unknown": WrongToken(lambda door: door.good(iss="nobody")),
    "issuer absent": WrongToken(lambda door: door.good(iss=...)),
    "issuer in another case": WrongToken(lambda door: door.good(iss="CI")),
    "kid unknown": WrongToken(lambda door: door.good(header={"kid": "nobody"})),
    "kid absent": WrongToken(lambda door: door.good(header={"kid": ...})),
    "kid a number": WrongToken(lambda door: door.good(header={"kid": 7})),
    "provisioner unknown to the CA": WrongToken(lambda door: door.good(make_signer("stranger"))),
    "provisioner disabled": WrongToken(lambda door: door.good(door.world.templated)),
    "provisioner that takes no tokens": WrongToken(
        lambda door: _audience(door, lambda a: f"{a}#acme/acme"), status=400
    ),
    "exp a text": WrongToken(lambda door: door.good(exp=str(_now(door, 300)))),
    "exp infinite": WrongToken(lambda door: door.good(exp=1e300)),
    "nbf an object": WrongToken(lambda door: door.good(nbf={})),
    "sub a number": WrongToken(lambda door: door.good(sub=7)),
    "jti a number": WrongToken(lambda door: door.good(jti=7)),
    "sans a text": WrongToken(lambda door: door.good(sans="a.test")),
    "sans of numbers": WrongToken(lambda door: door.good(sans=[7])),
    "too many names": WrongToken(lambda door: door.good(sans=[f"{n}.test" for n in range(1001)]), status=400),
    "member twice": WrongToken(lambda door: _duplicated(door, "sub")),
    "sub empty": WrongToken(lambda door: door.good(sub=""), proven=True),
    "sub absent": WrongToken(lambda door: door.good(sub=...), proven=True),
    "cnf a text": WrongToken(lambda door: door.good(cnf="x"), proven=True),
    "cnf of a wrong type": WrongToken(lambda door: door.good(cnf={"x5rt#S256": 7}), proven=True),
}


# -- bearer tokens ------------------------------------------------------------------------------------

_PROOF: Final = 500
"""step-ca answers an internal error where a bearer token's signature or audience is wrong."""


def _forged_bearer(name: str) -> WrongBearer:
    return WrongBearer(lambda door: FORGERIES[name](door.good(), door.world.leaf.key), status=_PROOF)


def _unreadable_bearer(name: str) -> WrongBearer:
    return WrongBearer(lambda door: UNREADABLE[name](door.good()))


def _chain(*ders: bytes) -> dict[str, object]:
    return {"x5cInsecure": [base64.b64encode(der).decode() for der in ders]}


def _of_another_ca(door: BearerDoor) -> str:
    now = door.world.ca.clock.now
    root = make_party("Test Issuer", None, now=now, authority=True)
    leaf = make_party("a.test", root, now=now)
    return door.good(leaf, header=_chain(leaf.der, root.der))


def _of_an_impostor(door: BearerDoor) -> str:
    """Our chain behind a leaf that another key signed under our issuer's name."""
    impostor = Party(door.world.ca.pki.issuer.certificate, make_key())
    return door.good(make_party("a.test", impostor, now=door.world.ca.clock.now))


def _of_a_leaf(door: BearerDoor) -> str:
    """A leaf that plays issuer: its own chain is good."""
    world = door.world
    below = make_party("b.test", world.leaf, now=world.ca.clock.now)
    return door.good(below, header=_chain(below.der, world.leaf.der, *world.ca.pki.chain))


def _revoked(door: BearerDoor) -> str:
    door.world.revoke(door.world.leaf)
    return door.good()


def _forged_leaf(**settings: Any) -> WrongBearer:
    return WrongBearer(lambda door: door.good(door.world.forge(**settings)))


def _proven_leaf(**settings: Any) -> WrongBearer:
    return WrongBearer(lambda door: door.good(door.world.forge(**settings)), proven=True)


WRONG_BEARERS: Final[Mapping[str, WrongBearer]] = {
    **{name: _forged_bearer(name) for name in FORGERIES},
    **{name: _unreadable_bearer(name) for name in UNREADABLE},
    "expired": WrongBearer(lambda door: door.good(exp=_now(door, -BEYOND_LEEWAY))),
    "not yet valid": WrongBearer(lambda door: door.good(nbf=_now(door, BEYOND_LEEWAY))),
    "issued in the future": WrongBearer(lambda door: door.good(iat=_now(door, BEYOND_LEEWAY))),
    "audience of signing": WrongBearer(lambda door: door.good(aud="https://ca.test/1.0/sign"), status=_PROOF),
    "audience of rekey": WrongBearer(lambda door: door.good(aud="https://ca.test/1.0/rekey"), status=_PROOF),
    "audience of another host": WrongBearer(lambda door: door.good(aud="https://ca.test.evil/renew"), status=_PROOF),
    "audience absent": WrongBearer(lambda door: door.good(aud=...), status=_PROOF),
    "audience a number": WrongBearer(lambda door: door.good(aud=7)),
    "issuer unknown": WrongBearer(lambda door: door.good(iss="nobody")),
    "issuer of another provisioner": WrongBearer(lambda door: door.good(iss=door.world.other.name)),
    "issuer absent": WrongBearer(lambda door: door.good(iss=...)),
    "sub of another name": WrongBearer(lambda door: door.good(sub="b.test")),
    "sub in another case": WrongBearer(lambda door: door.good(sub="A.test")),
    "sub absent": WrongBearer(lambda door: door.good(sub=...)),
    "exp a text": WrongBearer(lambda door: door.good(exp=str(_now(door, 300)))),
    "chain absent": WrongBearer(lambda door: door.good(header={"x5cInsecure": ...})),
    "chain empty": WrongBearer(lambda door: door.good(header={"x5cInsecure": []})),
    "chain a text": WrongBearer(lambda door: door.good(header={"x5cInsecure": "x"})),
    "chain of numbers": WrongBearer(lambda door: door.good(header={"x5cInsecure": [7]})),
    "chain not base64": WrongBearer(lambda door: door.good(header={"x5cInsecure": ["***"]})),
    "chain of no certificates": WrongBearer(lambda door: door.good(header={"x5cInsecure": ["eA=="]})),
    "chain in x5c instead": WrongBearer(
        lambda door: door.good(header={"x5cInsecure": ..., "x5c": _chain(door.world.leaf.der)["x5cInsecure"]})
    ),
    "chain without the issuer": WrongBearer(lambda door: door.good(header=_chain(door.world.leaf.der))),
    "chain reversed": WrongBearer(lambda door: door.good(header=_chain(*door.world.ca.pki.chain, door.world.leaf.der))),
    "chain of many": WrongBearer(lambda door: door.good(header=_chain(*[door.world.leaf.der] * 9))),
    "certificate of another CA": WrongBearer(_of_another_ca),
    "certificate of an impostor": WrongBearer(_of_an_impostor),
    "certificate by a leaf": WrongBearer(_of_a_leaf),
    "certificate of somebody else": WrongBearer(
        lambda door: door.good(Party(door.world.leaf.certificate, make_key())), status=_PROOF
    ),
    "certificate self-signed": WrongBearer(
        lambda door: door.good(
            make_party(
                "a.test",
                None,
                now=door.world.ca.clock.now,
                issuer_name=door.world.ca.pki.issuer.certificate.subject,
            )
        )
    ),
    "certificate of the authority": WrongBearer(lambda door: door.good(door.world.ca.pki.issuer)),
    "certificate for servers only": _forged_leaf(purposes=[SERVER]),
    "certificate without digitalSignature": _forged_leaf(usages=["key_encipherment"]),
    "certificate without key usage": _forged_leaf(usages=None),
    "certificate of an unknown provisioner": _forged_leaf(provisioner="ghost"),
    "certificate of nobody": _forged_leaf(provisioner=""),
    "certificate expired": _proven_leaf(starts=timedelta(hours=-2), ends=timedelta(hours=-1)),
    "certificate not yet valid": _proven_leaf(starts=timedelta(hours=1), ends=timedelta(hours=2)),
    "certificate that is not renewed": _proven_leaf(provisioner="norenew"),
    "certificate revoked": WrongBearer(_revoked, proven=True),
}
