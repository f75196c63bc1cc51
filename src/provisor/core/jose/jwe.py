"""Encrypted keys: the part of JWE (RFC 7516) that a password opens (PBES2, RFC 7518 section 4.8).

A provisioner's `encryptedKey` is such a text; the CA hands it out and never opens it, its clients do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from msgspec import Struct

from provisor.core.jose.encoding import (
    MAX_BYTES,
    NotJOSE,
    decode_base64url,
    encode_base64url,
    json_kind,
    parse_members,
)
from provisor.core.keys import PasswordNeeded, WrongPassword
from provisor.core.secret import Password, password_bytes
from provisor.errors import BadKey

T = TypeVar("T")

ITERATIONS = 600_000
"""What current clients write as `p2c`; older files say 100000."""

MAX_ITERATIONS = 2_000_000
"""RFC 7518 section 8.1 and good manners: a text from elsewhere may not keep us busy for minutes."""

_WRAPS: dict[str, tuple[hashes.HashAlgorithm, int]] = {
    "PBES2-HS256+A128KW": (hashes.SHA256(), 16),
    "PBES2-HS384+A192KW": (hashes.SHA384(), 24),
    "PBES2-HS512+A256KW": (hashes.SHA512(), 32),
}
_CONTENT_KEYS = {"A128GCM": 16, "A192GCM": 24, "A256GCM": 32}
_COMPACT_PARTS = 5


class JWE(Struct, frozen=True):
    """An encrypted message taken apart. `protected` and `aad` are base64url text, as they authenticate.

    `header` is the union of the protected, the shared and the recipient's header; `unprotected`
    says that the latter two were not empty, so that there is no compact form.
    """

    header: Mapping[str, object]
    protected: bytes
    encrypted_key: bytes
    iv: bytes
    ciphertext: bytes
    tag: bytes
    aad: bytes = b""
    unprotected: bool = False

    def compact(self) -> str:
        """RFC 7516 section 7.1. Raises `BadKey` for a message that only JSON can express."""
        if self.aad or self.unprotected:
            raise BadKey("JWE: this message has no compact serialization")
        rest = (self.encrypted_key, self.iv, self.ciphertext, self.tag)
        return b".".join((self.protected, *map(encode_base64url, rest))).decode()


def parse_jwe(text: str) -> JWE:
    """A JWE in compact, flattened or general JSON form, the last with one recipient. Raises `BadKey`."""
    if len(text) > MAX_BYTES:
        raise BadKey(f"JWE: more than {MAX_BYTES} octets")
    try:
        stripped = "".join(text.split()).encode("ascii")
        return _parse_json(stripped) if stripped.startswith(b"{") else _parse_compact(stripped)
    except UnicodeEncodeError as problem:
        raise BadKey("JWE: not base64url") from problem
    except NotJOSE as problem:
        raise BadKey(f"JWE: {problem}") from problem


def decrypt_pbes2(text: str, password: Password) -> bytes:
    """What is inside, for whoever knows the password.

    Raises `PasswordNeeded` for an empty one, `WrongPassword`, or another `BadKey`: not a JWE, an
    algorithm that is not a password's, an iteration count out of bounds, altered content.
    """
    message = parse_jwe(text)
    digest, size = _known(_WRAPS, message.header, "alg")
    content_size = _known(_CONTENT_KEYS, message.header, "enc")
    for name in ("crit", "zip"):
        if message.header.get(name) is not None:
            raise BadKey(f"JWE: header {name} is not supported")
    iterations = _iterations(message.header)
    octets = password_bytes(password)
    if not octets:
        raise PasswordNeeded("failed to decrypt JWE: no password was given")
    wrapping = _wrapping_key(octets, str(message.header["alg"]), _salt(message.header), iterations, digest, size)
    try:
        key = aes_key_unwrap(wrapping, message.encrypted_key)
    except (InvalidUnwrap, ValueError) as problem:
        raise WrongPassword("failed to decrypt JWE: invalid password") from problem
    if len(key) != content_size or len(message.iv) != 12 or len(message.tag) != 16:
        raise BadKey("failed to decrypt JWE: a part has the wrong length")
    authenticated = message.protected + (b"." + message.aad if message.aad else b"")
    try:
        return AESGCM(key).decrypt(message.iv, message.ciphertext + message.tag, authenticated)
    except InvalidTag as problem:
        raise BadKey("failed to decrypt JWE: the content was altered") from problem


def encrypt_pbes2(
    plaintext: bytes,
    password: Password,
    random: Callable[[int], bytes],
    *,
    content_type: str = "jwk+json",
    iterations: int = ITERATIONS,
    algorithm: str = "PBES2-HS256+A128KW",
    encryption: str = "A256GCM",
    kind: str = "",
) -> str:
    """The compact JWE that `step` makes; header members in alphabetical order, `kind` is its `typ`.

    `random(n)` gives salt, key and IV. Raises `BadKey` for an empty password and for algorithms that are not AES-GCM
    under a key from a password.
    """
    octets = password_bytes(password)
    if not octets:
        raise BadKey("a key is not encrypted under an empty password")
    header: dict[str, object] = {"alg": algorithm, "cty": content_type, "enc": encryption, "p2c": iterations}
    digest, size = _known(_WRAPS, header, "alg")
    salt, key, iv = random(16), random(_known(_CONTENT_KEYS, header, "enc")), random(12)
    header |= {"p2s": encode_base64url(salt).decode(), "typ": kind}
    members = {name: value for name, value in header.items() if value}
    protected = encode_base64url(json.dumps(members, separators=(",", ":")).encode())
    wrapped = aes_key_wrap(_wrapping_key(octets, algorithm, salt, iterations, digest, size), key)
    sealed = AESGCM(key).encrypt(iv, plaintext, protected)
    return JWE(members, protected, wrapped, iv, sealed[:-16], sealed[-16:]).compact()


def _wrapping_key(
    password: bytes, algorithm: str, salt: bytes, iterations: int, digest: hashes.HashAlgorithm, size: int
) -> bytes:
    """RFC 7518 section 4.8.1.1: the salt of PBKDF2 begins with the algorithm's name and a zero octet."""
    return PBKDF2HMAC(digest, size, algorithm.encode() + b"\x00" + salt, iterations).derive(password)


def _known(table: Mapping[str, T], header: Mapping[str, object], name: str) -> T:
    value = header.get(name)
    found = table.get(value) if isinstance(value, str) else None
    if found is None:
        raise BadKey(f"JWE: {name} {value!r} is not one a password opens")
    return found


def _iterations(header: Mapping[str, object]) -> int:
    count = header.get("p2c")
    if not isinstance(count, int) or isinstance(count, bool) or not 0 < count <= MAX_ITERATIONS:
        raise BadKey(f"JWE: p2c is not a number from 1 to {MAX_ITERATIONS}")
    return count


def _salt(header: Mapping[str, object]) -> bytes:
    salt = header.get("p2s")
    if not isinstance(salt, str) or not salt:
        raise BadKey("JWE: p2s is missing")
    try:
        return decode_base64url(salt.encode())
    except NotJOSE as problem:
        raise BadKey(f"JWE: p2s: {problem}") from problem


def _parse_compact(text: bytes) -> JWE:
    parts = text.split(b".")
    if len(parts) != _COMPACT_PARTS:
        raise NotJOSE("go-jose/go-jose: compact JWE format must have five parts")
    protected, encrypted_key, iv, ciphertext, tag = map(decode_base64url, parts)
    return JWE(parse_members(protected), encode_base64url(protected), encrypted_key, iv, ciphertext, tag)


def _parse_json(text: bytes) -> JWE:
    """RFC 7516 section 7.2; names in the headers of one recipient are disjoint."""
    members = parse_members(text)
    recipient: Mapping[str, object] = members
    if members.get("recipients") is not None:
        recipients = members["recipients"]
        if not isinstance(recipients, list) or len(recipients) != 1 or not isinstance(recipients[0], dict):
            raise NotJOSE("exactly one recipient is expected")
        recipient = recipients[0]
    protected = _part(members, "protected")
    header = parse_members(protected) if protected else {}
    unprotected = False
    for extra in (members.get("unprotected"), recipient.get("header")):
        if extra is None:
            continue
        if not isinstance(extra, dict) or extra.keys() & header.keys():
            raise NotJOSE("the headers are not disjoint objects")
        unprotected = unprotected or bool(extra)
        header |= extra
    return JWE(
        header=header,
        protected=encode_base64url(protected),
        encrypted_key=_part(recipient, "encrypted_key"),
        iv=_part(members, "iv"),
        ciphertext=_part(members, "ciphertext"),
        tag=_part(members, "tag"),
        aad=encode_base64url(_part(members, "aad")),
        unprotected=unprotected,
    )


def _part(members: Mapping[str, object], name: str) -> bytes:
    value = members.get(name)
    if value is None:
        return b""
    if not isinstance(value, str):
        raise NotJOSE(f"{name} is a {json_kind(value)}, not a string")
    return decode_base64url(value.encode())
