"""`crypto nacl auth` and `secretbox`: NaCl with a key that both sides have."""

from __future__ import annotations

import hmac

from provisor.cli import output
from provisor.cli.crypto import nacl
from provisor.cli.crypto.encoding import decode_hex
from provisor.cli.crypto.message import read_message
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command


@command("crypto nacl auth digest", usage="<key-file>", flags=(), least=1, most=1)
def auth_digest(call: Call) -> None:
    """print the code that authenticates a message

    The message comes from stdin, or is asked for; the file holds a key of 32 octets.
    """
    key = nacl.read_key(call.arguments[0], "key file")
    output.data(_code(key, read_message("Please enter text to digest", doing=nacl.READING)).hex())


@command("crypto nacl auth verify", usage="<key-file> <digest>", flags=(), least=2, most=2)
def auth_verify(call: Call) -> None:
    """check the code that authenticates a message

    Prints ok, or fail on stderr with exit status 1.
    """
    path, digest = call.arguments
    key = nacl.read_key(path, "key file")
    try:
        wanted = decode_hex(digest)
    except ValueError as error:
        raise CommandError(f"error decoding digest: {error}") from error
    message = read_message("Please enter text to verify", doing=nacl.READING)
    if not hmac.compare_digest(_code(key, message), wanted):
        raise CommandError("fail")
    output.data("ok")


def _code(key: bytes, message: bytes) -> bytes:
    """NaCl's crypto_auth: HMAC-SHA-512, the first half of it."""
    return hmac.digest(key, message, "sha512")[: nacl.KEY_OCTETS]


@command("crypto nacl secretbox seal", usage="<nonce> <key-file>", flags=(nacl.RAW_OUT,), least=2, most=2)
def secretbox_seal(call: Call) -> None:
    """encrypt a message with a key of 32 octets

    The nonce, of 24 octets at most, must never be used again with the same key; base64:... gives one in base64.
    """
    from nacl.bindings import crypto_secretbox

    nonce, path = nacl.parse_nonce(call.arguments[0]), call.arguments[1]
    key = nacl.read_key(path, "key")
    message = read_message("Please enter text to seal", doing=nacl.READING)
    nacl.write(call, crypto_secretbox(message, nonce, key))


@command("crypto nacl secretbox open", usage="<nonce> <key-file>", flags=(nacl.RAW_IN,), least=2, most=2)
def secretbox_open(call: Call) -> None:
    """decrypt a message with a key of 32 octets"""
    from nacl.bindings import crypto_secretbox_open

    nonce, path = nacl.parse_nonce(call.arguments[0]), call.arguments[1]
    key = nacl.read_key(path, "key file")
    sealed = nacl.read_encoded(call, "Please enter text to open")
    with nacl.refusal("error authenticating or decrypting input"):
        output.data_bytes(crypto_secretbox_open(sealed, nonce, key))
