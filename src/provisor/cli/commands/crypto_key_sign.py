"""`crypto key sign` and `verify`: a file and its signature."""

from __future__ import annotations

import sys
from typing import BinaryIO

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from provisor.cli import files, keys, output
from provisor.cli.crypto import hashing, reading
from provisor.cli.crypto.encoding import decode_base64, encode_base64
from provisor.cli.crypto.reading import Found, Source, is_private
from provisor.cli.exits import CommandError
from provisor.cli.files import system_text
from provisor.cli.grammar import Call, command, switch, text
from provisor.core.keys import PrivateKey, PublicKey, describe_key
from provisor.core.secret import Secret

_ALG = text("alg", metavar="algorithm", help=f"hash of an RSA signature: {hashing.WORDS} (default: sha256)")
_PUBLIC_LABEL = "PUBLIC KEY"
_CURVE_HASHES: dict[str, hashes.HashAlgorithm] = {
    "P-224": hashes.SHA224(),
    "P-256": hashes.SHA256(),
    "P-384": hashes.SHA384(),
    "P-521": hashes.SHA512(),
}


@command(
    "crypto key sign",
    usage="[<file>] --key=<key-file>",
    flags=(
        text("key", metavar="file", help="file with the private key"),
        _ALG,
        switch("pss", help="sign with RSA-PSS instead of PKCS #1 v1.5"),
        switch("raw", help="print the octets of the signature instead of base64"),
        text("password-file", metavar="file", help="file with the password of the key"),
    ),
    most=1,
)
def sign(call: Call) -> None:
    """sign a file

    Without an argument, or with -, what comes from stdin is signed.
    """
    path = call.required("key")
    password, flag = keys.password_from(call, "password-file")
    key = _read(path, password, flag).key
    if key is None or not is_private(key):
        raise CommandError(f"key {path} is not a signer")
    signature = _sign(call, key)  # type: ignore[arg-type]
    if call.switch("raw"):
        output.data_bytes(signature)
    else:
        output.data(encode_base64(signature))


def _read(path: str, password: Secret, flag: str) -> Found:
    return reading.read_block(Source(files.read_pem_file(path), path, password, flag))


def _sign(call: Call, key: PrivateKey) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        with _opened(call) as message:
            return key.sign(message.read())
    algorithm = _algorithm(call, key.public_key())
    digest = _digest(call, algorithm)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(digest, ec.ECDSA(Prehashed(algorithm)))
    try:
        return key.sign(digest, _padding(call, algorithm, salt=padding.PSS.MAX_LENGTH), Prehashed(algorithm))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CommandError(f"error signing: {error}") from error


def _algorithm(call: Call, key: PublicKey) -> hashes.HashAlgorithm:
    """That of the curve; for RSA that of `--alg`. Raises `CommandError`."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _CURVE_HASHES[describe_key(key).curve]
    name = call.text("alg") or "sha256"
    algorithm = hashing.find_algorithm(name)
    if algorithm is None:
        raise CommandError(f"unsupported algorithm {name}")
    return algorithm


def _digest(call: Call, algorithm: hashes.HashAlgorithm) -> bytes:
    with _opened(call) as message:
        return hashing.digest_stream(message, algorithm)


def _opened(call: Call) -> BinaryIO:
    path = call.arguments[0] if call.arguments else "-"
    if path == "-":
        return sys.stdin.buffer
    try:
        return open(path, "rb")
    except OSError as error:
        raise CommandError(f"unexpected error on {path}: : {system_text(error)}") from error


def _padding(call: Call, algorithm: hashes.HashAlgorithm, *, salt: object) -> AsymmetricPadding:
    if not call.switch("pss"):
        return padding.PKCS1v15()
    return padding.PSS(padding.MGF1(algorithm), salt)  # type: ignore[arg-type]


@command(
    "crypto key verify",
    usage="[<file>] --key=<key-file> --signature=<base64>",
    flags=(
        text("key", metavar="file", help="file with the public key"),
        text("signature", "sig", metavar="base64", help="the signature"),
        _ALG,
        switch("pss", help="it is an RSA-PSS signature"),
    ),
    most=1,
)
def verify(call: Call) -> None:
    """verify the signature of a file

    Prints true, or false on stderr with exit status 1. Without an argument, or with -, the file is stdin.
    """
    path, encoded = call.required("key"), call.required("signature")
    found = _read(path, Secret(b""), "")
    if found.key is None or found.block is None or found.block.label != _PUBLIC_LABEL:
        raise CommandError(f"unsupported public key {path}")
    try:
        signature = decode_base64(encoded.encode())
    except ValueError as error:
        raise CommandError(f"error decoding base64 signature: {error}") from error
    try:
        _verify(call, reading.public_half(found.key), signature)
    except InvalidSignature as error:
        raise CommandError("false") from error
    output.data("true")


def _verify(call: Call, key: PublicKey, signature: bytes) -> None:
    if isinstance(key, ed25519.Ed25519PublicKey):
        with _opened(call) as message:
            key.verify(signature, message.read())
        return
    algorithm = _algorithm(call, key)
    digest = _digest(call, algorithm)
    if isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, digest, ec.ECDSA(Prehashed(algorithm)))
        return
    try:
        key.verify(signature, digest, _padding(call, algorithm, salt=padding.PSS.AUTO), Prehashed(algorithm))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CommandError(f"error verifying: {error}") from error
