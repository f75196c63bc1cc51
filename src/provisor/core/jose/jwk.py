"""JSON Web Keys (RFC 7517, RFC 7518 section 6, RFC 8037): reading, writing, thumbprints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from msgspec import Struct

from provisor.core.jose.encoding import NotJOSE, decode_base64url, encode_base64url, json_kind, parse_members
from provisor.core.keys import PrivateKey, PublicKey, curve_for, describe_key
from provisor.core.secret import Secret
from provisor.errors import BadKey

MAX_RSA_BITS = 16_384

_EC_ALGORITHMS = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}


class JWK(Struct, frozen=True):
    """One key. `kid`, `alg` and `use` are as written, empty when absent.

    `public_key` is None for a symmetric key (`kty` "oct"), whose octets are in `secret`;
    `private_key` is None unless the private half was there too.
    """

    kty: str
    public_key: PublicKey | None = None
    private_key: PrivateKey | None = None
    secret: Secret | None = None
    kid: str = ""
    alg: str = ""
    use: str = ""

    def thumbprint(self) -> str:
        """RFC 7638 with SHA-256, base64url without padding."""
        members = _public_members(self)
        required = {name: members[name] for name in sorted(members)} | {"kty": self.kty}
        canonical = json.dumps(required, separators=(",", ":"), sort_keys=True).encode()
        return encode_base64url(hashlib.sha256(canonical).digest()).decode()


def parse_jwk(source: Mapping[str, object] | bytes) -> JWK:
    """A JWK from its JSON text or its members. Names are case-sensitive, unknown members ignored.

    Points are on their curve, coordinates have their full length, a private half fits the public
    one. Raises `BadKey`.
    """
    try:
        members = parse_members(source) if isinstance(source, bytes) else source
        return _parse(members)
    except NotJOSE as problem:
        raise BadKey(f"JWK: {problem}") from problem
    except ValueError as problem:
        raise BadKey(f"JWK: {problem}") from problem


def make_jwk(key: PrivateKey | PublicKey, *, kid: str | None = None, alg: str | None = None, use: str = "sig") -> JWK:
    """The JWK of a key: `kid` is its thumbprint and `alg` the algorithm it signs with, unless given."""
    private, public = split_key(key)
    jwk = JWK(kty=_kty(public), public_key=public, private_key=private)
    name = jwk.thumbprint() if kid is None else kid
    return JWK(
        kty=jwk.kty,
        public_key=public,
        private_key=private,
        kid=name,
        alg=default_algorithm(public) if alg is None else alg,
        use=use,
    )


def split_key(key: PrivateKey | PublicKey) -> tuple[PrivateKey | None, PublicKey]:
    """A key's private half, if it is one, and its public half."""
    if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        return key, key.public_key()
    return None, key


def default_algorithm(key: PublicKey) -> str:
    """What a key signs with when nobody says otherwise: ES256/384/512 by curve, RS256, EdDSA."""
    info = describe_key(key)
    if info.kind == "EC":
        return _EC_ALGORITHMS.get(info.curve, "ES256")
    return "RS256" if info.kind == "RSA" else "EdDSA"


def public_jwk(jwk: JWK) -> JWK:
    """The same key without its private half."""
    return JWK(kty=jwk.kty, public_key=jwk.public_key, kid=jwk.kid, alg=jwk.alg, use=jwk.use)


def jwk_members(jwk: JWK, *, private: bool = False) -> dict[str, str]:
    """The members in the order clients write: use, kty, kid, crv, alg, then the key; empty ones left out.

    With `private` the private members follow. Raises `BadKey` if there is nothing of that kind.
    """
    material = _public_members(jwk) if jwk.secret is None or private else {}
    if not material:
        raise BadKey("a symmetric JWK has no public form")
    head = {"use": jwk.use, "kty": jwk.kty, "kid": jwk.kid, "crv": material.pop("crv", ""), "alg": jwk.alg}
    if private and jwk.secret is None:
        material |= _private_members(jwk)
    return {name: value for name, value in head.items() if value} | material


def encode_jwk(jwk: JWK, *, private: bool = False) -> bytes:
    """`jwk_members` as compact JSON: what `key` holds, and with `private` what a JWE of it holds."""
    return json.dumps(jwk_members(jwk, private=private), separators=(",", ":")).encode()


def _parse(members: Mapping[str, object]) -> JWK:
    kty, kid, alg, use = (_text(members, name) for name in ("kty", "kid", "alg", "use"))
    match kty:
        case "oct":
            octets = _octets(members, "k")
            if not octets:
                raise BadKey("JWK: an oct key without octets")
            return JWK(kty=kty, secret=Secret(octets), kid=kid, alg=alg, use=use)
        case "EC":
            private, public = _parse_ec(members)
        case "OKP":
            private, public = _parse_okp(members)
        case "RSA":
            private, public = _parse_rsa(members)
        case _:
            raise BadKey(f"JWK: unknown key type {kty!r}")
    return JWK(kty=kty, public_key=public, private_key=private, kid=kid, alg=alg, use=use)


def _parse_ec(members: Mapping[str, object]) -> tuple[PrivateKey | None, PublicKey]:
    curve = curve_for(_text(members, "crv"))
    size = (curve.key_size + 7) // 8
    # RFC 7518 section 6.2.1.2: the full length of the coordinate, leading zeros included.
    x, y = _octets(members, "x", size=size), _octets(members, "y", size=size)
    numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), curve)
    public = numbers.public_key()
    if _absent(members, "d"):
        return None, public
    secret = int.from_bytes(_octets(members, "d", size=size), "big")
    return ec.EllipticCurvePrivateNumbers(secret, numbers).private_key(), public


def _parse_okp(members: Mapping[str, object]) -> tuple[PrivateKey | None, PublicKey]:
    curve = _text(members, "crv")
    if curve != "Ed25519":
        raise BadKey(f"JWK: keys of {curve!r} do not sign tokens")
    x = _octets(members, "x", size=32)
    public = ed25519.Ed25519PublicKey.from_public_bytes(x)
    if _absent(members, "d"):
        return None, public
    private = ed25519.Ed25519PrivateKey.from_private_bytes(_octets(members, "d", size=32))
    if _raw(private.public_key()) != x:
        raise BadKey("JWK: d and x are not one key")
    return private, public


def _parse_rsa(members: Mapping[str, object]) -> tuple[PrivateKey | None, PublicKey]:
    modulus, exponent = _number(members, "n"), _number(members, "e")
    if modulus.bit_length() > MAX_RSA_BITS or modulus % 2 == 0:
        raise BadKey(f"JWK: not an RSA modulus of at most {MAX_RSA_BITS} bits")
    numbers = rsa.RSAPublicNumbers(exponent, modulus)
    public = numbers.public_key()
    if _absent(members, "d"):
        return None, public
    d = _number(members, "d")
    if _absent(members, "p") and _absent(members, "q"):
        # RFC 7518 section 6.3.2: a private key may consist of d alone.
        p, q = rsa.rsa_recover_prime_factors(modulus, exponent, d)
    else:
        p, q = _number(members, "p"), _number(members, "q")
    dp = rsa.rsa_crt_dmp1(d, p) if _absent(members, "dp") else _number(members, "dp")
    dq = rsa.rsa_crt_dmq1(d, q) if _absent(members, "dq") else _number(members, "dq")
    qi = rsa.rsa_crt_iqmp(p, q) if _absent(members, "qi") else _number(members, "qi")
    return rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, numbers).private_key(), public


def _absent(members: Mapping[str, object], name: str) -> bool:
    return members.get(name) is None


def _text(members: Mapping[str, object], name: str) -> str:
    value = members.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadKey(f"JWK: {name} is a {json_kind(value)}, not a string")
    return value


def _octets(members: Mapping[str, object], name: str, *, size: int | None = None) -> bytes:
    try:
        octets = decode_base64url(_text(members, name).encode())
    except NotJOSE as problem:
        raise BadKey(f"JWK: {name}: {problem}") from problem
    if size is not None and len(octets) != size:
        raise BadKey(f"JWK: {name} has {len(octets)} octets, not {size}")
    return octets


def _number(members: Mapping[str, object], name: str) -> int:
    octets = _octets(members, name)
    if not octets:
        raise BadKey(f"JWK: {name} is missing")
    return int.from_bytes(octets, "big")


def _kty(key: PublicKey) -> str:
    return {"EC": "EC", "RSA": "RSA"}.get(describe_key(key).kind, "OKP")


def _public_members(jwk: JWK) -> dict[str, str]:
    """The members a thumbprint is made of, without `kty`."""
    key = jwk.public_key
    if isinstance(key, ec.EllipticCurvePublicKey):
        numbers, size = key.public_numbers(), (key.curve.key_size + 7) // 8
        return {"crv": describe_key(key).curve, "x": _fixed(numbers.x, size), "y": _fixed(numbers.y, size)}
    if isinstance(key, rsa.RSAPublicKey):
        rsa_numbers = key.public_numbers()
        return {"n": _integer(rsa_numbers.n), "e": _integer(rsa_numbers.e)}
    if isinstance(key, ed25519.Ed25519PublicKey):
        return {"crv": "Ed25519", "x": encode_base64url(_raw(key)).decode()}
    return {"k": encode_base64url(jwk.secret.reveal()).decode()} if jwk.secret else {}


def _private_members(jwk: JWK) -> dict[str, str]:
    key = jwk.private_key
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {"d": _fixed(key.private_numbers().private_value, (key.curve.key_size + 7) // 8)}
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        values = (numbers.d, numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
        return dict(zip(("d", "p", "q", "dp", "dq", "qi"), map(_integer, values), strict=True))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return {"d": encode_base64url(seed).decode()}
    raise BadKey("this JWK has no private half")


def _raw(key: ed25519.Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _fixed(number: int, size: int) -> str:
    return encode_base64url(number.to_bytes(size, "big")).decode()


def _integer(number: int) -> str:
    """RFC 7518 section 2, Base64urlUInt: no leading zero octets."""
    return encode_base64url(number.to_bytes((number.bit_length() + 7) // 8, "big")).decode()
