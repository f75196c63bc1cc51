"""Private keys in files, and the passwords they need."""

from __future__ import annotations

from provisor.cli import files, prompt
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call
from provisor.client.tokens import open_provisioner_key
from provisor.core.jose.jwe import decrypt_pbes2
from provisor.core.jose.jwk import parse_jwk
from provisor.core.keys import PasswordNeeded, PrivateKey, WrongPassword
from provisor.core.pem import parse_private_key
from provisor.core.secret import Secret

_TRIES = 3
_PROVISIONER_KEY = "Please enter the password to decrypt the provisioner key"


def password_from(call: Call, *flags: str) -> tuple[Secret, str]:
    """The password in the file of the first of `flags` that names one, and the flag's name.

    Empty when there is none, or nothing in the file; then the name is that of the first flag.
    """
    for flag in flags:
        if call.has(flag) and (path := call.text(flag)):
            try:
                return Secret(files.read_password(path)), flag
            except CommandError as error:
                reason = (
                    str(error.__cause__.strerror).lower() if isinstance(error.__cause__, OSError) else error.message
                )
                raise CommandError(f'error reading {path}: error reading "{path}": {reason}') from error
    return Secret(b""), next((flag for flag in flags if call.has(flag)), "")


def open_encrypted_key(encrypted_key: str, password: Secret, *, flag: str) -> PrivateKey:
    """A provisioner's key: with the given password, or one that is asked for up to three times."""
    if password:
        return open_provisioner_key(encrypted_key, password)
    for tries_left in reversed(range(_TRIES)):
        try:
            return open_provisioner_key(encrypted_key, Secret(prompt.ask_password(_PROVISIONER_KEY, flag=flag)))
        except (WrongPassword, PasswordNeeded):
            if not tries_left:
                raise CommandError("failed to decrypt JWE: invalid password") from None
    raise AssertionError("unreachable")


def load_key(path: str, password: Secret, *, flag: str = "") -> PrivateKey:
    """A private key in PEM, plain or encrypted; a missing password is asked for once. Raises `CommandError`."""
    return parse_key(files.read_pem_file(path), path, password, flag=flag)


def parse_key(content: bytes, path: str, password: Secret, *, flag: str = "") -> PrivateKey:
    """As `load_key`, for content that was read already."""
    try:
        return parse_private_key(content, password or None, where=path)
    except PasswordNeeded:
        password = Secret(prompt.ask_password(f"Please enter the password to decrypt {path}", flag=flag))
    except WrongPassword as error:
        raise _wrong_password(path) from error
    try:
        return parse_private_key(content, password, where=path)
    except (PasswordNeeded, WrongPassword) as error:
        raise _wrong_password(path) from error


def _wrong_password(path: str) -> CommandError:
    return CommandError(f"error decrypting {path}: x509: decryption password incorrect")


def load_signing_key(path: str, password: Secret, *, flag: str = "") -> PrivateKey:
    """The key of `--key`: a JWK, an encrypted JWK (compact or JSON), or PEM. Raises `CommandError` or `BadKey`."""
    content = files.read_pem_file(path)
    stripped = content.strip()
    if b"-----BEGIN " in content:
        return parse_key(content, path, password, flag=flag)
    text = stripped.decode(errors="replace")
    if text.startswith("{") and '"ciphertext"' not in text:
        key = parse_jwk(stripped).private_key
    else:
        key = parse_jwk(_decrypt(text, path, password, flag)).private_key
    if key is None:
        raise CommandError(f"error reading {path}: it holds no private key")
    return key


def _decrypt(text: str, path: str, password: Secret, flag: str) -> bytes:
    if password:
        return decrypt_pbes2(text, password)
    for tries_left in reversed(range(_TRIES)):
        asked = prompt.ask_password(f"Please enter the password to decrypt {path}", flag=flag)
        try:
            return decrypt_pbes2(text, Secret(asked))
        except (WrongPassword, PasswordNeeded):
            if not tries_left:
                raise CommandError("failed to decrypt JWE: invalid password") from None
    raise AssertionError("unreachable")
