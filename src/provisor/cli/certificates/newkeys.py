"""The key of a new certificate: made, or read from a file; and put into a file under a password."""

from __future__ import annotations

import secrets

from provisor.cli import exits, files, keys, newkey, output, prompt
from provisor.cli.certificates import reading
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call
from provisor.cli.prompt import NoTerminal
from provisor.client.csr import MIN_RSA_BITS, generate_key
from provisor.core.keys import PrivateKey, PublicKey
from provisor.core.pem import encode_private_key
from provisor.core.secret import Secret

_SLOW_BITS = 4096
_LEAST_BITS = 1024
"""What the library makes at all, with `--insecure`."""


def new_or_given_key(call: Call) -> PrivateKey | PublicKey:
    """That of `--key`, else a new one by `--kty`, `--curve` and `--size`. Raises `CommandError`."""
    path = call.text("key")
    if not path:
        return _generate(call)
    for flag in ("kty", "crv", "size"):
        if call.is_set(flag):
            raise CommandError(f"flag '--key' is incompatible with '{flag}'")
    password, flag = keys.password_from(call, "password-file")
    return reading.read_key(path, password, flag=flag)


def _generate(call: Call) -> PrivateKey:
    bits = call.number("size")
    if call.text("kty") == "RSA" and bits > _SLOW_BITS:
        output.note(f"Generating an RSA key of {bits} bits, which takes a while...")
    if call.text("kty") == "RSA" and call.switch("insecure") and call.is_set("size") and bits < MIN_RSA_BITS:
        if call.text("crv"):
            raise CommandError("flag '--curve' is incompatible with flag '--kty RSA'")
        if bits < _LEAST_BITS:
            raise CommandError(f"flag '--size' requires at least {_LEAST_BITS}")
        return generate_key("RSA", bits=bits)
    return newkey.generate_for(call)


def encode_new_key(call: Call, key: PrivateKey) -> bytes:
    """The content of the key file: plain with `--no-password`, else under a password of a file or the terminal."""
    if call.switch("no-password"):
        return encode_private_key(key, random=secrets.token_bytes)
    return encode_private_key(key, password=_new_password(call), random=secrets.token_bytes)


def _new_password(call: Call) -> Secret:
    if path := call.text("password-file"):
        try:
            password = files.read_password(path)
        except CommandError as error:
            raise CommandError(f"error reading encrypting password from file: {error.message}") from error
        if password:
            return Secret(password)
    return ask_new_password("Please enter the password to encrypt the private key")


def ask_new_password(label: str) -> Secret:
    """Asked until there is one. Raises `NoTerminal`."""
    while True:
        try:
            if answer := prompt.ask_password(label, flag="password-file"):
                return Secret(answer)
        except NoTerminal as error:
            raise NoTerminal(f"error reading password: {error.message}") from error
        output.note("The password cannot be empty; '--no-password' with '--insecure' does without one.")


def check_no_password(call: Call) -> None:
    """Raises `CommandError` for `--no-password` without `--insecure`."""
    if call.switch("no-password") and not call.switch("insecure"):
        raise exits.requires_flag("no-password", "insecure")
