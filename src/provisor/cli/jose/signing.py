"""Signatures of any algorithm a command line may ask for: those of the core, and MACs."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Final

from provisor.cli.exits import CommandError
from provisor.cli.jose.encryption import KEY_ALGORITHMS
from provisor.core.jose.encoding import encode_base64url
from provisor.core.jose.jwk import JWK, default_algorithm
from provisor.core.jose.jws import SignedMessage, verify_signature
from provisor.core.jose.jwt import sign_octets
from provisor.core.keys import describe_key
from provisor.errors import BadKey, TokenInvalid

MACS: Final = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
LEAST_SECRET: Final = 16
"""Octets of a secret that signs: fewer can be guessed (RFC 7518 section 3.2 wants as many as the hash has)."""


SIGNING: Final = {
    "EC": ("ES256", "ES384", "ES512"),
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "OKP": ("EdDSA",),
    "oct": tuple(MACS),
}
CURVE_OF: Final = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


def check_algorithm(alg: str, kind: str, curve: str, use: str) -> None:
    """An algorithm that was asked for is one of a key of this kind, curve and use. Raises `CommandError`."""
    known = KEY_ALGORITHMS if use == "enc" else SIGNING
    fits = alg in known.get(kind, ()) and (alg not in CURVE_OF or CURVE_OF[alg] == curve)
    if alg and not fits:
        on = f" and crv '{curve}'" if curve else ""
        raise CommandError(f"alg '{alg}' is not compatible with kty '{kind}'{on}")


def check_fits(jwk: JWK) -> None:
    """The algorithm of a key is one of its kind. Raises `CommandError`."""
    curve = describe_key(jwk.public_key).curve if jwk.kty == "EC" and jwk.public_key is not None else ""
    check_algorithm(algorithm_of(jwk), jwk.kty, curve, "sig")


def algorithm_of(jwk: JWK) -> str:
    """That of the key, else what a key of its kind signs with."""
    if jwk.alg:
        return jwk.alg
    return "HS256" if jwk.public_key is None else default_algorithm(jwk.public_key)


def sign_compact(header: Mapping[str, object], payload: bytes, jwk: JWK) -> str:
    """RFC 7515 section 7.1, the header sorted by name. Raises `CommandError`."""
    check_fits(jwk)
    algorithm = str(header["alg"])
    ordered = {name: header[name] for name in sorted(header)}
    protected = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).encode()
    signed = encode_base64url(protected) + b"." + encode_base64url(payload)
    try:
        signature = _sign(signed, jwk, algorithm)
    except BadKey as error:
        raise CommandError(f"error creating JWT signer: {error.detail}") from error
    return (signed + b"." + encode_base64url(signature)).decode()


def _sign(signed: bytes, jwk: JWK, algorithm: str) -> bytes:
    if jwk.secret is not None:
        if algorithm not in MACS:
            raise BadKey(f"alg '{algorithm}' is not compatible with kty 'oct'")
        return hmac.new(jwk.secret.reveal(), signed, MACS[algorithm]).digest()
    if jwk.private_key is None:
        raise CommandError("cannot use a public key for signing")
    return sign_octets(signed, jwk.private_key, algorithm)


def verify(message: SignedMessage, jwk: JWK, asked: str = "") -> None:
    """The key's kind decides what `alg` may say, `asked` what the caller wants of it. Raises `CommandError`."""
    if not jwk.alg and jwk.kty in ("RSA", "oct"):
        raise CommandError("flag '--alg' is required with the given key")
    if asked:
        check_fits(jwk)
    wanted = algorithm_of(jwk)
    if asked and message.header.get("alg") != asked:
        raise CommandError(f"alg {asked} does not match the alg on JWT")
    if message.header.get("alg") != wanted:
        raise CommandError("validation failed: invalid signature")
    try:
        if jwk.public_key is not None:
            verify_signature(message, jwk.public_key)
            return
    except TokenInvalid as error:
        raise CommandError("validation failed: invalid signature") from error
    if jwk.secret is None or wanted not in MACS:
        raise CommandError(f"alg '{wanted}' is not compatible with kty 'oct'")
    if message.header.get("crit"):
        raise CommandError("validation failed: the header names extensions that must be understood, and are not")
    mac = hmac.new(jwk.secret.reveal(), message.signed, MACS[wanted]).digest()
    if not hmac.compare_digest(mac, message.signature):
        raise CommandError("validation failed: invalid signature")
