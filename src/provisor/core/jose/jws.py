"""Signed tokens (RFC 7515): taking one apart, and verifying that a key made it.

What comes out of `parse_token` is a stranger's word. Only after `verify_signature` is it the
word of whoever holds the key.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from msgspec import Struct

from provisor.core.jose.encoding import (
    MAX_BYTES,
    NotJOSE,
    decode_base64url,
    encode_base64url,
    json_kind,
    parse_members,
)
from provisor.core.jose.jwk import parse_jwk
from provisor.core.keys import PublicKey
from provisor.errors import BadKey, BadToken, TokenInvalid

MIN_RSA_BITS = 1024
"""Below this a signature proves nothing, and the reference's runtime does not verify it either."""

# step-ca: these texts are in its log, where operators look for them.
_UNVERIFIED = "go-jose/go-jose: error in cryptographic primitive"
_NOT_THREE_PARTS = "go-jose/go-jose: compact JWS format must have three parts"


class SignedMessage(Struct, frozen=True):
    """A JWS taken apart, nothing of it proven.

    `signed` is the signing input of RFC 7515 section 5.1, encoded again from what was decoded, so
    that padding or white space in the text changes nothing.
    """

    header: Mapping[str, object]
    payload: bytes
    signed: bytes
    signature: bytes

    @property
    def key_id(self) -> str:
        """The `kid` header, empty when absent."""
        value = self.header.get("kid")
        return value if isinstance(value, str) else ""


class UnverifiedToken(SignedMessage, frozen=True):
    """A JWS with a JSON object inside, and the text it came as."""

    claims: Mapping[str, object]
    raw: str


def parse_token(text: str) -> UnverifiedToken:
    """A JWS with a JSON object as payload. Raises `BadToken`."""
    header, payload, signed, signature = _parse(text)
    try:
        claims = parse_members(payload)
    except NotJOSE as problem:
        raise BadToken(f"error unmarshaling token: {problem}") from problem
    return UnverifiedToken(header, payload, signed, signature, claims, text)


def parse_jws(text: str) -> SignedMessage:
    """A JWS with any payload: compact, or JSON (flattened, or general with one signature).

    White space anywhere and `=` at the end of a part are tolerated. Raises `BadToken`.
    """
    return SignedMessage(*_parse(text))


_SPACE = re.compile(r"[^\S\x1c-\x1f]+")
"""White space as Unicode has it; Python counts the separators of ASCII too."""


def drop_space(text: str) -> str:
    return text if text.split() == [text] else _SPACE.sub("", text)


def _parse(text: str) -> tuple[dict[str, object], bytes, bytes, bytes]:
    """The members of a `SignedMessage`."""
    # step-ca: white space is dropped wherever it is, padding is dropped, and JSON is a token too.
    if len(text) > MAX_BYTES:
        raise BadToken(f"error parsing token: more than {MAX_BYTES} octets")
    stripped = drop_space(text)
    try:
        protected, payload, signature = _split_json(stripped) if stripped.startswith("{") else _split_compact(stripped)
        header = _parse_header(protected)
    except (NotJOSE, BadKey) as problem:
        raise BadToken(f"error parsing token: {problem}") from problem
    return header, payload, encode_base64url(protected) + b"." + encode_base64url(payload), signature


def verify_signature(token: SignedMessage, key: PublicKey) -> None:
    """The token was signed by the private half of `key`; raises `TokenInvalid` if it was not.

    The key decides the family of algorithms and the `alg` header the member of it, so neither
    `none` nor a MAC keyed with the public key is ever an option. Whether `key` is one to trust
    is the caller's affair.
    """
    _check_critical(token.header)
    algorithm = token.header.get("alg")
    if not isinstance(algorithm, str):
        raise TokenInvalid(_UNVERIFIED)
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            _verify_ecdsa(token, key, algorithm)
        elif isinstance(key, rsa.RSAPublicKey):
            _verify_rsa(token, key, algorithm)
        elif algorithm == "EdDSA":
            key.verify(token.signature, token.signed)
        else:
            raise TokenInvalid(_UNVERIFIED)
    except (InvalidSignature, ValueError) as problem:
        raise TokenInvalid(_UNVERIFIED) from problem


_ECDSA = {
    "ES256": (32, ec.ECDSA(hashes.SHA256())),
    "ES384": (48, ec.ECDSA(hashes.SHA384())),
    "ES512": (66, ec.ECDSA(hashes.SHA512())),
}
_RSA = {
    "RS256": hashes.SHA256(),
    "RS384": hashes.SHA384(),
    "RS512": hashes.SHA512(),
    "PS256": hashes.SHA256(),
    "PS384": hashes.SHA384(),
    "PS512": hashes.SHA512(),
}


def _verify_ecdsa(token: SignedMessage, key: ec.EllipticCurvePublicKey, algorithm: str) -> None:
    # step-ca: `alg` and not the curve decides the length, so ES384 by a P-256 key verifies when
    # both halves are padded to 48 octets.
    size, scheme = _ECDSA.get(algorithm, (0, None))
    signature = token.signature
    if scheme is None or len(signature) != 2 * size:
        raise TokenInvalid(_UNVERIFIED)
    r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
    key.verify(encode_dss_signature(r, s), token.signed, scheme)


def _verify_rsa(token: SignedMessage, key: rsa.RSAPublicKey, algorithm: str) -> None:
    digest = _RSA.get(algorithm)
    if digest is None or key.key_size < MIN_RSA_BITS:
        raise TokenInvalid(_UNVERIFIED)
    if algorithm.startswith("RS"):
        key.verify(token.signature, token.signed, padding.PKCS1v15(), digest)
    else:
        # step-ca: any salt length verifies, although RFC 7518 section 3.5 names one.
        key.verify(token.signature, token.signed, padding.PSS(padding.MGF1(digest), padding.PSS.AUTO), digest)


def _check_critical(header: Mapping[str, object]) -> None:
    """RFC 7515 section 4.1.11: an extension that is not understood and critical refuses the token.

    Of RFC 7797 only `"b64": true` is understood; section 7 forbids the other value in a JWT.
    """
    if "crit" not in header and "b64" not in header:
        return
    critical = header.get("crit")
    if critical is not None and critical != ["b64"]:
        raise TokenInvalid(_UNVERIFIED)
    if header.get("b64", True) is not True:
        raise TokenInvalid(_UNVERIFIED)


def _split_compact(text: str) -> tuple[bytes, bytes, bytes]:
    # The octets of whatever it is: the decoder names the first one of a part that does not belong there.
    parts = text.encode(errors="surrogatepass").split(b".")
    if len(parts) != 3:
        raise NotJOSE(_NOT_THREE_PARTS)
    protected, payload, signature = parts
    return decode_base64url(protected), decode_base64url(payload), decode_base64url(signature)


def _split_json(text: str) -> tuple[bytes, bytes, bytes]:
    """RFC 7515 section 7.2. A header outside the signature decides nothing here: it is refused."""
    members = parse_members(_ascii(text))
    if members.get("payload") is None:
        raise NotJOSE("go-jose/go-jose: missing payload in JWS message")
    outer: dict[str, object] = members
    if members.get("signatures") is not None:
        signatures = members["signatures"]
        if not isinstance(signatures, list) or len(signatures) != 1 or not isinstance(signatures[0], dict):
            raise NotJOSE("go-jose/go-jose: too many signatures in payload; expecting only one")
        if members.keys() & {"signature", "protected", "header"}:
            raise NotJOSE("both the general and the flattened JWS serialization")
        outer = signatures[0]
    if outer.get("header"):
        raise NotJOSE("unprotected JWS header")
    return _member(outer, "protected"), _member(members, "payload"), _member(outer, "signature")


def _member(members: Mapping[str, object], name: str) -> bytes:
    value = members.get(name)
    if value is None:
        return b""
    if not isinstance(value, str):
        raise NotJOSE(f"json: cannot unmarshal {json_kind(value)} into Go value of type string")
    return decode_base64url(value.encode())


def _ascii(text: str) -> bytes:
    try:
        return text.encode("ascii")
    except UnicodeEncodeError as problem:
        raise NotJOSE(f"illegal base64 data at input byte {problem.start}") from problem


def _parse_header(protected: bytes) -> dict[str, object]:
    header = parse_members(protected)
    for name in ("alg", "kid", "nonce"):
        value = header.get(name)
        if value is not None and not isinstance(value, str):
            raise NotJOSE(f"json: cannot unmarshal {json_kind(value)} into Go value of type string")
    if header.get("x5c") is not None:
        _check_x5c(header["x5c"])
    if header.get("jwk") is not None:
        _check_embedded(header["jwk"])
    return header


def _check_x5c(value: object) -> None:
    """RFC 7515 section 4.1.6: standard base64 of DER, leaf first. Only the outer shape is looked at."""
    if not isinstance(value, list):
        raise NotJOSE(f"failed to unmarshal x5c header: {json_kind(value)} is not an array of certificates")
    for item in value:
        try:
            der = binascii.a2b_base64(item, strict_mode=True) if isinstance(item, str) else b""
        except (binascii.Error, ValueError) as problem:
            raise NotJOSE(f"failed to unmarshal x5c header: {problem}") from problem
        if not _is_sequence(der):
            raise NotJOSE("failed to unmarshal x5c header: not a certificate")


def _is_sequence(der: bytes) -> bool:
    """One DER SEQUENCE that is as long as it says."""
    if len(der) < 4 or der[0] != 0x30:
        return False
    count = der[1] - 0x80 if der[1] >= 0x80 else 0
    length = int.from_bytes(der[2 : 2 + count], "big") if count else der[1]
    return count <= 3 and len(der) == 2 + count + length


def _check_embedded(value: object) -> None:
    """RFC 7515 section 4.1.3: a public key. Nothing is ever verified with it here."""
    if not isinstance(value, dict):
        raise NotJOSE("failed to unmarshal JWK header")
    key = parse_jwk(value)
    if key.public_key is None or key.private_key is not None:
        raise NotJOSE("go-jose/go-jose: invalid embedded jwk, must be public key")
