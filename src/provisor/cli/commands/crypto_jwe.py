"""`crypto jwe encrypt` and `decrypt`, and `crypto jose format`."""

from __future__ import annotations

import json
import sys

from provisor.cli import exits, output, prompt
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, switch, text
from provisor.cli.jose import choosing, encryption
from provisor.core.jose.encoding import NotJOSE, encode_base64url, parse_members
from provisor.core.jose.jwk import JWK
from provisor.core.jose.jws import parse_jws
from provisor.core.jose.keyfile import is_jwe
from provisor.core.secret import Secret
from provisor.errors import BadKey, BadToken, Malformed

_KEYS = (
    text("key", metavar="file", help="JWK, encrypted JWK or PEM file with the key"),
    text("jwks", metavar="file or URL", help="key set with the key"),
    text("kid", metavar="id", help="id of the key in the set"),
)


@command(
    "crypto jwe encrypt",
    usage="",
    flags=(
        text("alg", "algorithm", metavar="algorithm", help="how the content's key is protected"),
        text(
            "enc", "encryption-algorithm", metavar="algorithm", default="A256GCM", help="how the content is encrypted"
        ),
        *_KEYS,
        text("typ", "type", metavar="type", help="header typ"),
        text("cty", "content-type", metavar="type", help="header cty"),
        switch("subtle", help="allow what is easily used wrongly", hidden=True),
    ),
    most=0,
)
def encrypt(call: Call) -> None:
    """encrypt what comes from stdin

    For the owner of a key, or with a PBES2 algorithm under a password. Prints the flattened JSON form (RFC 7516).
    """
    algorithm, content = call.text("alg"), call.text("enc")
    by_password = algorithm in encryption.PASSWORD_ALGORITHMS
    if by_password:
        for flag in ("key", "jwks"):
            if call.text(flag):
                raise CommandError(f"flag '--alg {algorithm}' and flag '--{flag}' are mutually exclusive")
    if algorithm and not by_password and not any(algorithm in known for known in encryption.KEY_ALGORITHMS.values()):
        raise exits.invalid_value(algorithm, "alg")
    if content not in encryption.CONTENT:
        raise exits.invalid_value(content, "enc")
    header: dict[str, object] = {"enc": content}
    header |= {name: call.text(name) for name in ("typ", "cty") if call.text(name)}
    if by_password:
        plaintext = sys.stdin.buffer.read()
        password = Secret(prompt.ask_password("Please enter the password to encrypt the content encryption key"))
        if not password:
            raise CommandError("the password cannot be empty")
        output.data(flattened(encryption.encrypt_under(plaintext, header | {"alg": algorithm}, password)))
        return
    key = choosing.choose(call, use="enc", alg=algorithm, flag="--jwk").jwk
    header["alg"] = _algorithm(key)
    if key.kid:
        header["kid"] = key.kid
    output.data(flattened(encryption.encrypt_for(sys.stdin.buffer.read(), header, key)))


def _algorithm(key: JWK) -> str:
    known = encryption.KEY_ALGORITHMS.get(key.kty, ())
    algorithm = key.alg or encryption.DEFAULTS.get(key.kty, "")
    if algorithm not in known:
        raise CommandError(f"alg '{algorithm}' is not compatible with kty '{key.kty}'")
    return algorithm


def flattened(compact: str) -> str:
    """RFC 7516 section 7.2.2, in one line; a part that is empty is left out."""
    names = ("protected", "encrypted_key", "iv", "ciphertext", "tag")
    parts = {name: part for name, part in zip(names, compact.split("."), strict=True) if part}
    return json.dumps(parts, separators=(",", ":"))


@command(
    "crypto jwe decrypt",
    usage="",
    flags=(*_KEYS, text("password-file", metavar="file", help="file with the password of the message or of the key")),
    most=0,
)
def decrypt(call: Call) -> None:
    """decrypt what comes from stdin

    With the key of --key or --jwks; a message that a password protects needs neither. Prints the content as it is.
    """
    message, compact = encryption.read_message(sys.stdin.buffer.read())
    algorithm = message.header.get("alg")
    if algorithm not in encryption.PASSWORD_ALGORITHMS:
        chosen = choosing.choose(call, use="enc", flag="--jwk")
        output.data_bytes(encryption.decrypt_with(message, compact, chosen.jwk))
        return
    for flag in ("key", "jwks"):
        if call.text(flag):
            raise CommandError(f"flag '--{flag}' cannot be used with JWE algorithm '{algorithm}'")
    password = choosing.password_of(call) or Secret(
        prompt.ask_password("Please enter the password to decrypt the content encryption key", flag="password-file")
    )
    output.data_bytes(encryption.decrypt_under(compact, password))


@command("crypto jose format", usage="", flags=(), most=0)
def format_message(call: Call) -> None:
    """turn a JWS or JWE from stdin into its other form

    Compact becomes flattened JSON, JSON becomes compact.
    """
    text_in = "".join(sys.stdin.buffer.read().decode(errors="replace").split())
    try:
        output.data(_reformat(text_in))
    except (BadToken, BadKey, NotJOSE) as error:
        detail = error.detail if isinstance(error, Malformed) else str(error)
        raise CommandError(f"error parsing data: {choosing.token_words(detail)}") from error


def _reformat(text_in: str) -> str:
    if text_in.startswith("{"):
        if "ciphertext" in parse_members(text_in.encode()):
            return encryption.read_message(text_in.encode())[1]
        if "payload" not in parse_members(text_in.encode()):
            raise BadToken("missing payload in JWS message")
        message = parse_jws(text_in)
        return (message.signed + b"." + encode_base64url(message.signature)).decode()
    if text_in.count(".") == 4 and is_jwe(text_in.encode()):
        return flattened(encryption.read_message(text_in.encode())[1])
    message = parse_jws(choosing.three_parts(text_in))
    protected, payload = message.signed.decode().split(".")
    signature = encode_base64url(message.signature).decode()
    return json.dumps({"payload": payload, "protected": protected, "signature": signature}, separators=(",", ":"))
