"""`crypto keypair`: a new key in two PEM files."""

from __future__ import annotations

import secrets
from pathlib import Path

from provisor.cli import exits, files, newkey, output
from provisor.cli.certificates import newkeys
from provisor.cli.commands import common
from provisor.cli.crypto import reading
from provisor.cli.crypto.reading import Key, Source, is_private, public_half
from provisor.cli.exits import CommandError
from provisor.cli.files import Output, system_text
from provisor.cli.grammar import Call, command, switch, text
from provisor.client.csr import MIN_RSA_BITS, generate_key
from provisor.core.keys import PrivateKey
from provisor.core.pem import encode_private_key, encode_public_key
from provisor.core.secret import Secret

_LEAST_BITS = 1024
_SLOW_BITS = 4096


@command(
    "crypto keypair",
    usage="<pub_file> <priv_file>",
    flags=(
        common.KTY,
        common.SIZE,
        common.CURVE,
        text("from-jwk", metavar="file", help="write the key of this JWK instead of a new one"),
        text("password-file", metavar="file", help="file with the password of the private key"),
        switch("no-password", help="write the private key without a password; needs --insecure"),
        switch("insecure", help="allow a key without a password, or a short one"),
        common.FORCE,
    ),
    least=2,
    most=2,
)
def keypair(call: Call) -> None:
    """generate a public and a private key in PEM format

    The private key is encrypted under a password, which is asked for if --password-file does not hold it.
    """
    public_file, private_file = call.arguments
    if public_file == private_file:
        raise CommandError(
            "positional arguments <PUB_FILE> and <PRIV_FILE> cannot be equal in "
            f"'{call.command} <pub_file> <priv_file>'"
        )
    _check(call)
    key = _from_jwk(call) if call.text("from-jwk") else _generate(call)
    force = call.switch("force")
    public = Output(public_file, encode_public_key(public_half(key)).encode())
    files.check_writable(public_file, force=force)
    if not is_private(key):
        files.write_together((public,))
        output.note(f"Your public key has been saved in {public_file}.")
        output.note("Only the public PEM was generated.\nCannot retrieve a private key from a public one.")
        return
    # step-ca: has written the public key when the password turns out to be missing
    content = _encode(call, key)
    files.check_writable(private_file, force=force)
    files.write_together((public, Output(private_file, content)))
    output.note(f"Your public key has been saved in {public_file}.")
    output.note(f"Your private key has been saved in {private_file}.")


def _check(call: Call) -> None:
    if call.switch("no-password") and call.text("password-file"):
        # step-ca: without dashes before the second name
        raise CommandError("flag '--no-password' is incompatible with 'password-file'")
    newkeys.check_no_password(call)
    if call.text("from-jwk"):
        for flag, shown in (("kty", "kty"), ("crv", "curve"), ("size", "size")):
            if call.is_set(flag):
                raise exits.incompatible_flags("from-jwk", shown)


def _generate(call: Call) -> PrivateKey:
    bits = call.number("size")
    if call.text("kty") != "RSA" or not call.is_set("size") or call.text("crv"):
        return newkey.generate_for(call)
    if bits <= 0 and call.switch("insecure"):
        raise CommandError("flag '--size' must be greater than or equal to 0")
    if bits >= MIN_RSA_BITS or not call.switch("insecure"):
        if bits > _SLOW_BITS:
            output.note(f"Generating an RSA key of {bits} bits, which takes a while...")
        return newkey.generate_for(call)
    if bits < _LEAST_BITS:
        raise CommandError(
            f"error generating RSA key: crypto/rsa: {bits}-bit keys are insecure "
            "(see https://go.dev/pkg/crypto/rsa#hdr-Minimum_key_size)"
        )
    return generate_key("RSA", bits=bits)


def _from_jwk(call: Call) -> Key:
    path = call.text("from-jwk")
    try:
        content = files.read_file(path) if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise CommandError(f"error reading {path}: open {path}: {system_text(error)}") from error
    return reading.needed(reading.read_pem_or_jwk(Source(content, path, Secret(b""), "from-jwk")), path)


def _encode(call: Call, key: Key) -> bytes:
    assert not isinstance(key, type(public_half(key)))
    private: PrivateKey = key  # type: ignore[assignment]
    if call.switch("no-password"):
        return encode_private_key(private, random=secrets.token_bytes)
    path = call.text("password-file")
    password = Secret(files.read_password(path)) if path else Secret(b"")
    if not password:
        password = newkeys.ask_new_password("Please enter the password to encrypt the private key")
    return encode_private_key(private, password=password, random=secrets.token_bytes)
