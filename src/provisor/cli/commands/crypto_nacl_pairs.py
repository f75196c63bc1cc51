"""`crypto nacl box` and `sign`: NaCl with a public and a private key."""

from __future__ import annotations

from nacl.bindings import (
    crypto_box,
    crypto_box_keypair,
    crypto_box_open,
    crypto_sign,
    crypto_sign_keypair,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)

from provisor.cli import output
from provisor.cli.commands import common
from provisor.cli.crypto import nacl, saving
from provisor.cli.crypto.message import read_message
from provisor.cli.exits import CommandError
from provisor.cli.files import Output
from provisor.cli.grammar import Call, command

_SEED_OCTETS = 32
_SIGNER_OCTETS = 64


@command("crypto nacl box keypair", usage="<pub-file> <priv-file>", flags=(common.FORCE,), least=2, most=2)
def box_keypair(call: Call) -> None:
    """generate the keys of seal and open

    Both files hold 32 octets as they are; the private key has no password.
    """
    _check_names(call)
    _save(call, *crypto_box_keypair())


@command("crypto nacl sign keypair", usage="<pub-file> <priv-file>", flags=(common.FORCE,), least=2, most=2)
def sign_keypair(call: Call) -> None:
    """generate the keys of sign and open

    The files hold 32 and 64 octets as they are; the private key has no password.
    """
    _check_names(call)
    _save(call, *crypto_sign_keypair())


def _check_names(call: Call) -> None:
    if call.arguments[0] == call.arguments[1]:
        raise CommandError(
            "positional arguments <<pub-file>> and <<priv-file>> cannot be equal in "
            f"'{call.command} <pub-file> <priv-file>'"
        )


def _save(call: Call, public: bytes, private: bytes) -> None:
    public_file, private_file = call.arguments
    saving.save_pair(Output(public_file, public), Output(private_file, private), force=call.switch("force"))
    output.note(f"Your public key has been saved in {public_file}.")
    output.note(f"Your private key has been saved in {private_file}.")


@command(
    "crypto nacl box seal",
    usage="<nonce> <recipient-pub-key> <priv-key>",
    flags=(nacl.RAW_OUT,),
    least=3,
    most=3,
)
def box_seal(call: Call) -> None:
    """encrypt a message for the owner of a public key

    The nonce, of 24 octets at most, must never be used again with the same keys; base64:... gives one in base64.
    """
    nonce, public, private = _box_arguments(call)
    message = read_message("Please enter text to seal", doing=nacl.READING)
    with nacl.refusal("error encrypting input: the public key is a weak one"):
        sealed = crypto_box(message, nonce, public, private)
    nacl.write(call, sealed)


@command(
    "crypto nacl box open",
    usage="<nonce> <sender-pub-key> <priv-key>",
    flags=(nacl.RAW_IN,),
    least=3,
    most=3,
)
def box_open(call: Call) -> None:
    """decrypt a message from the owner of a public key"""
    nonce, public, private = _box_arguments(call)
    sealed = nacl.read_encoded(call, "Please enter text to open")
    with nacl.refusal("error authenticating or decrypting input"):
        output.data_bytes(crypto_box_open(sealed, nonce, public, private))


def _box_arguments(call: Call) -> tuple[bytes, bytes, bytes]:
    nonce, public_file, private_file = call.arguments
    octets = nacl.parse_nonce(nonce)
    return octets, nacl.read_key(public_file, "public key"), nacl.read_key(private_file, "private key")


@command("crypto nacl sign sign", usage="<priv-file>", flags=(nacl.RAW_OUT,), least=1, most=1)
def sign(call: Call) -> None:
    """sign a message; the result holds the message too"""
    key = nacl.read_key(call.arguments[0], "private key", _SIGNER_OCTETS)
    if crypto_sign_seed_keypair(key[:_SEED_OCTETS])[1] != key:
        # a signature with another's public key gives the private one away
        raise CommandError("invalid private key: its public half belongs to another key")
    nacl.write(call, crypto_sign(read_message("Please enter text to sign", doing=nacl.READING), key))


@command("crypto nacl sign open", usage="<pub-file>", flags=(nacl.RAW_IN,), least=1, most=1)
def sign_open(call: Call) -> None:
    """verify a signed message, and print it"""
    key = nacl.read_key(call.arguments[0], "public key")
    signed = nacl.read_encoded(call, "Please enter text to open")
    with nacl.refusal("error authenticating input"):
        output.data_bytes(crypto_sign_open(signed, key))
