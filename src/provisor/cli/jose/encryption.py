"""JWE for the command line: whatever key a file holds, by joserfc; passwords by the core."""

from __future__ import annotations

import json
import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from provisor.cli.exits import CommandError
from provisor.core.jose.jwe import JWE, decrypt_pbes2, encrypt_pbes2, parse_jwe
from provisor.core.jose.jwk import JWK, encode_jwk
from provisor.core.secret import Secret
from provisor.errors import BadKey

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

PASSWORD_ALGORITHMS: Final = ("PBES2-HS256+A128KW", "PBES2-HS384+A192KW", "PBES2-HS512+A256KW")
KEY_ALGORITHMS: Final = {
    "RSA": ("RSA1_5", "RSA-OAEP", "RSA-OAEP-256"),
    "EC": ("ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A192KW", "ECDH-ES+A256KW"),
    "oct": ("A128KW", "A192KW", "A256KW", "dir", "A128GCMKW", "A192GCMKW", "A256GCMKW"),
}
DEFAULTS: Final = {"EC": "ECDH-ES", "RSA": "RSA-OAEP-256", "oct": "A256GCMKW"}
CONTENT: Final = ("A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512", "A128GCM", "A192GCM", "A256GCM")
_FAILED: Final = "error decrypting data: go-jose/go-jose: error in cryptographic primitive"


@contextmanager
def _quietly() -> Iterator[None]:
    """The library warns of what was asked for by name; the pages of the commands say what to prefer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def encrypt_for(plaintext: bytes, header: dict[str, object], key: JWK) -> str:
    """Compact, for the owner of a key; `header` has alg and enc. Raises `CommandError`."""
    from joserfc import jwe
    from joserfc.errors import JoseError

    ordered = {name: header[name] for name in sorted(header)}
    algorithms = [str(header["alg"]), str(header["enc"])]
    try:
        with _quietly():
            return jwe.encrypt_compact(ordered, plaintext, _imported(key, private=False), algorithms=algorithms)
    except (JoseError, ValueError, TypeError) as error:
        raise CommandError(f"error encrypting data: {error}") from error


def encrypt_under(plaintext: bytes, header: dict[str, object], password: Secret) -> str:
    """Compact, under a password; `header` has alg and enc, and may have cty and typ. Raises `CommandError`."""
    try:
        return encrypt_pbes2(
            plaintext,
            password,
            secrets.token_bytes,
            content_type=str(header.get("cty", "")),
            algorithm=str(header["alg"]),
            encryption=str(header["enc"]),
            kind=str(header.get("typ", "")),
        )
    except BadKey as error:
        raise CommandError(f"error encrypting data: {error.detail}") from error


def decrypt_with(message: JWE, compact: str, key: JWK) -> bytes:
    """Raises `CommandError`, with one text for whatever does not fit."""
    from joserfc import jwe
    from joserfc.errors import JoseError

    if key.private_key is None and key.secret is None:
        raise CommandError("cannot use a public key for decryption")
    algorithm, content = str(message.header.get("alg")), str(message.header.get("enc"))
    if algorithm not in KEY_ALGORITHMS.get(key.kty, ()):
        raise CommandError(_FAILED)
    try:
        with _quietly():
            opened = jwe.decrypt_compact(compact, _imported(key, private=True), algorithms=[algorithm, content])
    except (JoseError, ValueError, TypeError) as error:
        raise CommandError(_FAILED) from error
    return opened.plaintext or b""


def decrypt_under(compact: str, password: Secret) -> bytes:
    """Raises `CommandError`; a wrong password looks like an altered message."""
    try:
        return decrypt_pbes2(compact, password)
    except BadKey as error:
        text = _FAILED if error.detail.startswith("failed to decrypt JWE") else f"error decrypting data: {error.detail}"
        raise CommandError(text) from error


def _imported(jwk: JWK, *, private: bool) -> OctKey | RSAKey | ECKey | OKPKey:
    from joserfc.jwk import import_key

    has_private = jwk.private_key is not None or jwk.secret is not None
    members = json.loads(encode_jwk(jwk, private=has_private if private else jwk.secret is not None))
    for name in ("use", "alg", "kid"):
        members.pop(name, None)
    return import_key(members)


def read_message(data: bytes) -> tuple[JWE, str]:
    """A message in any form, and its compact form. Raises `CommandError`."""
    try:
        message = parse_jwe(data.decode())
        return message, message.compact()
    except (BadKey, UnicodeDecodeError) as error:
        reason = error.detail.removeprefix("JWE: ") if isinstance(error, BadKey) else "not text"
        raise CommandError(f"error parsing data: {reason}") from error
