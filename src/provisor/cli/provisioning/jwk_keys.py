"""The key pair of a JWK provisioner: made, or read from the files that the flags name."""

from __future__ import annotations

import os

from msgspec import structs

from provisor.cli import files, prompt
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call
from provisor.cli.provisioning import discovery
from provisor.cli.provisioning.bundles import read_given
from provisor.cli.provisioning.entry import Entry
from provisor.core.jose.jwe import encrypt_pbes2, parse_jwe
from provisor.core.jose.jwk import JWK, default_algorithm, encode_jwk, jwk_members, make_jwk
from provisor.core.jose.keyfile import is_jwe, parse_key_file
from provisor.core.keys import PasswordNeeded, WrongPassword, parse_public_spki
from provisor.core.pem import parse_blocks
from provisor.core.secret import Secret
from provisor.core.x509.certificate import parse_certificate
from provisor.errors import BadKey, Malformed
from provisor.pki import new_jwk

_NEW_PASSWORD = "Please enter a password to encrypt the provisioner private key? [leave empty and we'll generate one]"
_SYMMETRIC = "invalid JWK: a symmetric key cannot be used as a provisioner"


def add_keys(call: Call, entry: Entry) -> None:
    """The keys of a new provisioner. Raises `CommandError`."""
    if call.switch("create"):
        _create(call, entry)
        return
    if not call.is_set("public-key"):
        raise CommandError("'--create false' requires the '--public-key' flag")
    entry.put("key", jwk_members(_read_public(call)))
    if call.is_set("private-key"):
        content = read_given(call.text("private-key"))
        # step-ca: words of its own for what is no key, when there is nothing to change
        reason = f"error reading {call.text('private-key')}: unsupported format"
        entry.put("encryptedKey", _private_of(call, content, reason))


def update_keys(call: Call, entry: Entry) -> None:
    """A new key pair, or a half of it; an empty `--private-key` removes the encrypted key. Raises `CommandError`."""
    if call.switch("create"):
        _create(call, entry)
        return
    if call.is_set("public-key"):
        entry.put("key", jwk_members(_read_public(call)))
    if call.is_set("private-key"):
        path = call.text("private-key")
        entry.put("encryptedKey", _private_of(call, _read_private(path), _no_key(path)) if path else "")


def _read_private(path: str) -> bytes:
    """Once: it may be a pipe."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise CommandError(f"error reading {path}: open {path}: {files.system_text(error)}") from error


def _create(call: Call, entry: Entry) -> None:
    for flag in ("public-key", "private-key"):
        if call.is_set(flag):
            # step-ca: without dashes before the second name
            raise CommandError(f"flag '--create' is incompatible with '{flag}'")
    for member, value in new_jwk(_new_password(call)).items():
        entry.put(member, value)


def _read_public(call: Call) -> JWK:
    """The public half of a JWK (plain or encrypted), of a PEM key or of a certificate, with a key id."""
    path = call.text("public-key")
    content = discovery.fetch(path) if path.startswith("https://") else read_given(path)
    jwk = _from_certificate(content, path) or _parse_key(content, path, _no_key(path))
    if jwk.public_key is None:
        raise CommandError(_SYMMETRIC)
    # step-ca: would store a private half given here, and show it to everybody.
    return JWK(
        kty=jwk.kty,
        public_key=jwk.public_key,
        kid=jwk.kid or jwk.thumbprint(),
        alg=jwk.alg or default_algorithm(jwk.public_key),
        use="" if b"-----BEGIN " in content else jwk.use,
    )


def _from_certificate(content: bytes, path: str) -> JWK | None:
    blocks = parse_blocks(content)
    if not blocks or blocks[0].label != "CERTIFICATE":
        return None
    try:
        return make_jwk(parse_public_spki(parse_certificate(blocks[0].der).spki))
    except Malformed as error:
        raise CommandError(f"unexpected error on {path}: : malformed certificate") from error


def _private_of(call: Call, content: bytes, unreadable: str) -> str:
    """The compact JWE: the file's own if it is one, else its key encrypted under a new password.

    Raises `CommandError`; its text is `unreadable` for content that does not look like a key.
    """
    path = call.text("private-key")
    try:
        if is_jwe(content):
            if call.text("password-file"):
                files.read_password(call.text("password-file"))  # not needed, and yet missed when it is not there
            return parse_jwe(content.decode()).compact()
        jwk = _from_certificate(content, path) or _parse_key(content, path, unreadable)
        if jwk.private_key is None:
            raise CommandError(_SYMMETRIC if jwk.public_key is None else "invalid jwk: private-key is a public key")
        use = "" if b"-----BEGIN " in content else jwk.use
        jwk = structs.replace(jwk, kid=jwk.kid or jwk.thumbprint(), use=use)
        return encrypt_pbes2(encode_jwk(jwk, private=True), _new_password(call), os.urandom)
    except BadKey as error:
        raise CommandError(error.detail) from error


def _no_key(path: str) -> str:
    return f"unexpected error on {path}: : unsupported format"


def _parse_key(content: bytes, path: str, unreadable: str) -> JWK:
    try:
        try:
            return parse_key_file(content, None, where=path)
        except PasswordNeeded:
            asked = prompt.ask_password(f"Please enter the password to decrypt {path}")
            return parse_key_file(content, Secret(asked), where=path)
    except WrongPassword as error:
        raise CommandError(f"error decrypting {path}: x509: decryption password incorrect") from error
    except BadKey as error:
        if not _looks_like_a_key(content):
            raise CommandError(unreadable) from error
        raise CommandError(f"error reading {path}: {error.detail}") from error


def _looks_like_a_key(content: bytes) -> bool:
    start = content.strip()
    return start.startswith(b"-") or (start.startswith(b"{") and start.endswith(b"}"))


def _new_password(call: Call) -> Secret:
    path = call.text("password-file")
    given = files.read_password(path) if path else b""
    return Secret(given or prompt.ask_password_or_generate(_NEW_PASSWORD, flag="password-file"))
