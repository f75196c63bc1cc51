"""JSON Web Tokens (RFC 7519): the claims, their times, the key a token is spent under, and making one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from msgspec import Struct

from provisor.core.jose.encoding import encode_base64url, json_kind
from provisor.core.jose.jwk import default_algorithm
from provisor.core.jose.jws import UnverifiedToken
from provisor.core.keys import PrivateKey
from provisor.errors import BadKey, BadToken, TokenExpired, TokenInvalid

LEEWAY_SECONDS = 60
"""How far the clocks of the two sides may be apart."""

_LAST_SECOND = 2**63
_CONFIRMATION_MEMBER = "x5rt#S256"

# step-ca: these texts are in its log, where operators look for them.
_NOT_YET = "go-jose/go-jose/jwt: validation failed, token not valid yet (nbf)"
_EXPIRED = "go-jose/go-jose/jwt: validation failed, token is expired (exp)"
_FROM_THE_FUTURE = "go-jose/go-jose/jwt: validation field, token issued in the future (iat)"
_NOT_A_DATE = "go-jose/go-jose/jwt: expected number value to unmarshal NumericDate"
_NOT_AN_AUDIENCE = "go-jose/go-jose/jwt: expected string or array value to unmarshal to Audience"


class TokenClaims(Struct, frozen=True):
    """The claims that choose and satisfy a provisioner, with the types they must have.

    Texts are empty when absent, `exp`, `nbf` and `iat` are unix seconds or None, `sans` is None
    when absent. `cnf` and `step` are as they came, see `parse_confirmation`; `raw` is everything.
    """

    iss: str
    sub: str
    aud: tuple[str, ...]
    exp: int | None
    nbf: int | None
    iat: int | None
    jti: str
    sans: tuple[str, ...] | None
    sha: str
    email: str
    azp: str
    tid: str
    nonce: str
    cnf: object
    step: object
    raw: Mapping[str, object]


def parse_claims(token: UnverifiedToken) -> TokenClaims:
    """The claims of a token, case-sensitive; null counts as absent. Raises `BadToken` for a wrong type."""
    raw = token.claims
    sha = raw.get("sha")
    return TokenClaims(
        iss=_text(raw, "iss"),
        sub=_text(raw, "sub"),
        aud=_audience(raw),
        exp=_date(raw, "exp"),
        nbf=_date(raw, "nbf"),
        iat=_date(raw, "iat"),
        jti=_text(raw, "jti"),
        sans=_texts(raw, "sans"),
        sha=sha if isinstance(sha, str) else "",
        email=_text(raw, "email"),
        azp=_text(raw, "azp"),
        tid=_text(raw, "tid"),
        nonce=_text(raw, "nonce"),
        cnf=raw.get("cnf"),
        step=raw.get("step"),
        raw=raw,
    )


def parse_confirmation(claims: TokenClaims) -> str:
    """The CSR fingerprint a token is bound to: `x5rt#S256` of `cnf` (RFC 7800), empty when it is not bound.

    Raises `TokenInvalid` if `cnf` is not an object or the fingerprint not a string; a bound token
    must never pass as an unbound one.
    """
    if claims.cnf is None:
        return ""
    if not isinstance(claims.cnf, dict):
        raise TokenInvalid(f"json: cannot unmarshal {json_kind(claims.cnf)} into the cnf claim")
    value = claims.cnf.get(_CONFIRMATION_MEMBER)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TokenInvalid(f"json: cannot unmarshal {json_kind(value)} into {_CONFIRMATION_MEMBER} of the cnf claim")
    return value


def parse_step(claims: TokenClaims) -> Mapping[str, object]:
    """The `step` claim, empty when absent. Raises `TokenInvalid` if it is not an object."""
    if claims.step is None:
        return {}
    if not isinstance(claims.step, dict):
        raise TokenInvalid(f"json: cannot unmarshal {json_kind(claims.step)} into the step claim")
    return claims.step


def check_times(claims: TokenClaims, now: datetime, leeway_seconds: int = LEEWAY_SECONDS) -> None:
    """RFC 7519 sections 4.1.4 to 4.1.6, each claim optional. Raises `TokenExpired`."""
    at = now.timestamp()
    if claims.nbf is not None and at + leeway_seconds < claims.nbf:
        raise TokenExpired(_NOT_YET)
    if claims.exp is not None and at - leeway_seconds > claims.exp:
        raise TokenExpired(_EXPIRED)
    if claims.iat is not None and at + leeway_seconds < claims.iat:
        raise TokenExpired(_FROM_THE_FUTURE)


def token_key(token: UnverifiedToken, claims: TokenClaims) -> str:
    """What makes two tokens the same for single use: `jti`, else the SHA-256 of the signed part in hex.

    Not of the whole token, whose signature can be rewritten without the key (ECDSA: s and n - s).
    """
    return claims.jti or hashlib.sha256(token.signed).hexdigest()


def encode_jwt(header: Mapping[str, object], claims: Mapping[str, object], private_key: PrivateKey) -> str:
    """A signed compact token. `alg` is the key's default unless `header` names another one.

    Raises `BadKey` if the key cannot sign with it.
    """
    algorithm = header.get("alg") or default_algorithm(private_key.public_key())
    members = {**header, "alg": algorithm}
    protected = {name: members[name] for name in sorted(members)}
    signed = encode_base64url(_json(protected)) + b"." + encode_base64url(_json(claims))
    signature = sign_octets(signed, private_key, str(algorithm))
    return (signed + b"." + encode_base64url(signature)).decode()


def _json(members: Mapping[str, object]) -> bytes:
    return json.dumps(members, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


_HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_EC_ALGORITHMS = {"ES256": 256, "ES384": 384, "ES512": 521}


def sign_octets(signed: bytes, key: PrivateKey, algorithm: str) -> bytes:
    """A JWS signature (RFC 7518 section 3, RFC 8037). Raises `BadKey` if the key cannot sign with the algorithm."""
    family, digest = algorithm[:2], _HASHES.get(algorithm[2:])
    if isinstance(key, ed25519.Ed25519PrivateKey) and algorithm == "EdDSA":
        return key.sign(signed)
    if isinstance(key, ec.EllipticCurvePrivateKey) and digest and _EC_ALGORITHMS.get(algorithm) == key.key_size:
        r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(digest)))
        size = (key.key_size + 7) // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    if isinstance(key, rsa.RSAPrivateKey) and digest and family == "RS":
        return key.sign(signed, padding.PKCS1v15(), digest)
    if isinstance(key, rsa.RSAPrivateKey) and digest and family == "PS":
        return key.sign(signed, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    raise BadKey(f"alg '{algorithm}' is not compatible with the key")


def _text(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name)
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise _unreadable(f"json: cannot unmarshal {json_kind(value)} into Go value of type string")


def _texts(claims: Mapping[str, object], name: str) -> tuple[str, ...] | None:
    value = claims.get(name)
    if value is None:
        return None
    if not isinstance(value, list):
        raise _unreadable(f"json: cannot unmarshal {json_kind(value)} into Go value of type []string")
    for item in value:
        if not isinstance(item, str):
            raise _unreadable(f"json: cannot unmarshal {json_kind(item)} into Go value of type string")
    return tuple(value)


def _audience(claims: Mapping[str, object]) -> tuple[str, ...]:
    """RFC 7519 section 4.1.3: one string or an array of them."""
    if "aud" not in claims:
        return ()
    value = claims["aud"]
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _unreadable(_NOT_AN_AUDIENCE)
    return tuple(value)


def _date(claims: Mapping[str, object], name: str) -> int | None:
    """A NumericDate of RFC 7519 section 2, cut to whole seconds."""
    value = claims.get(name)
    if value is None:
        return None
    # bool is an int to Python and not a number to JSON; the comparison also refuses an infinite float.
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_LAST_SECOND <= value < _LAST_SECOND:
        raise _unreadable(_NOT_A_DATE)
    return int(value)


def _unreadable(reason: str) -> BadToken:
    return BadToken(f"error unmarshaling token: {reason}")
