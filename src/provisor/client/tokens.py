"""Tokens that a client makes itself: with a JWK provisioner's key, or with the key of a certificate.

Nothing here reads the clock; only `jti` is random.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from provisor.client.address import CAAddress
from provisor.core.durations import UNSET_TIME, Duration, TimeDuration, elapsed, format_duration, format_go_time
from provisor.core.jose.jwe import decrypt_pbes2
from provisor.core.jose.jwk import make_jwk, parse_jwk
from provisor.core.jose.jwt import encode_jwt
from provisor.core.keys import PrivateKey
from provisor.core.secret import Password
from provisor.errors import BadKey, BadRequest

RENEW_ISSUER: Final = "step-ca-client/1.0"
DEFAULT_VALIDITY: Final = timedelta(minutes=5)

_SECOND = 1_000_000_000
_LONGEST = Duration(3600 * _SECOND)
_SHORTEST = Duration(10 * _SECOND)
_LONGEST_DELAY = Duration(1800 * _SECOND)
_JTI_BYTES = 32


class Window(msgspec.Struct, frozen=True):
    """When a token is valid; aware UTC."""

    not_before: datetime
    not_after: datetime


def token_window(now: datetime, not_before: TimeDuration = UNSET_TIME, not_after: TimeDuration = UNSET_TIME) -> Window:
    """From now, or `not_before`, for five minutes, or until `not_after`.

    Raises `BadRequest` unless it lasts 10 s to 1 h and begins within 30 minutes, in the reference's words.
    """
    start = not_before.resolve(now) or now
    end = not_after.resolve(now) or start + DEFAULT_VALIDITY
    lasts, delay = elapsed(start, end), elapsed(now, start)
    if end < start:
        raise BadRequest(f"nbf < exp: nbf={format_go_time(start)}, exp={format_go_time(end)}")
    shown = f"'requested token validity'={format_duration(lasts)}"
    if lasts > _LONGEST:
        raise BadRequest(
            f"requested token validity is too long: {shown}, 'maximum token validity'={format_duration(_LONGEST)}"
        )
    if lasts < _SHORTEST:
        raise BadRequest(
            f"requested token validity is too short: {shown}, 'minimum token validity'={format_duration(_SHORTEST)}"
        )
    if delay > _LONGEST_DELAY:
        raise BadRequest(
            f"requested validity delay is too long: 'requested validity delay'={format_duration(delay)}, "
            f"'max validity delay'={format_duration(_LONGEST_DELAY)}"
        )
    return Window(start, end)


def audience(address: CAAddress, purpose: str) -> str:
    """What `aud` says: `purpose` is `sign`, `revoke`, `renew` or an SSH one such as `ssh/sign`."""
    return f"{address.url}/1.0/{purpose}"


def offline_audience(dns_name: str, purpose: str) -> str:
    """The same for a CA known by its ca.json only: its first DNS name, no port, no version."""
    return f"https://[{dns_name}]/{purpose}" if ":" in dns_name else f"https://{dns_name}/{purpose}"


class TokenRequest(msgspec.Struct, frozen=True):
    """What a provisioner token says. `root_fingerprint` is hex; `names` only in tokens that sign certificates."""

    issuer: str
    subject: str
    audience: str
    key_id: str
    window: Window
    issued_at: datetime
    root_fingerprint: str = ""
    names: Sequence[str] | None = None
    csr_fingerprint: str = ""
    ssh: Mapping[str, object] | None = None
    user: Mapping[str, object] | None = None


def make_token(request: TokenRequest, key: PrivateKey) -> str:
    """A signed provisioner token (provisioners 16.1) with a random `jti`. Raises `BadKey` if the key cannot sign it."""
    claims: dict[str, object] = {
        "aud": request.audience,
        "exp": int(request.window.not_after.timestamp()),
        "iat": int(request.issued_at.timestamp()),
        "iss": request.issuer,
        "jti": secrets.token_hex(_JTI_BYTES),
        "nbf": int(request.window.not_before.timestamp()),
        "sub": request.subject,
    }
    if request.root_fingerprint:
        claims["sha"] = request.root_fingerprint
    if request.names is not None:
        claims["sans"] = list(request.names)
    if request.csr_fingerprint:
        claims["cnf"] = {"x5rt#S256": request.csr_fingerprint}
    if request.ssh is not None:
        claims["step"] = {"ssh": dict(request.ssh)}
    if request.user is not None:
        claims["user"] = dict(request.user)
    return encode_jwt({"kid": request.key_id, "typ": "JWT"}, dict(sorted(claims.items())), key)


def make_renew_token(
    chain: Sequence[bytes], key: PrivateKey, *, subject: str, audience: str, window: Window, issued_at: datetime
) -> str:
    """The bearer token of a renewal without mutual TLS (core-api 2.4): `chain` is DER, leaf first."""
    claims = {
        "aud": audience,
        "exp": int(window.not_after.timestamp()),
        "iat": int(issued_at.timestamp()),
        "iss": RENEW_ISSUER,
        # step has none, so that its second attempt within a second is a token that was used
        "jti": secrets.token_hex(_JTI_BYTES),
        "nbf": int(window.not_before.timestamp()),
        "sub": subject,
    }
    header = {
        "kid": make_jwk(key).kid,
        "typ": "JWT",
        "x5cInsecure": [base64.b64encode(der).decode() for der in chain],
    }
    return encode_jwt(header, claims, key)


def open_provisioner_key(encrypted_key: str, password: Password) -> PrivateKey:
    """The private key in a provisioner's `encryptedKey`. Raises `WrongPassword`, `PasswordNeeded` or `BadKey`."""
    jwk = parse_jwk(decrypt_pbes2(encrypted_key, password))
    if jwk.private_key is None:
        raise BadKey("the encrypted key of the provisioner holds no private key")
    return jwk.private_key
