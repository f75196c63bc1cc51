"""`crypto jws sign`, `verify` and `inspect`: signed messages of any content."""

from __future__ import annotations

import sys

from provisor.cli import files, output
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, switch, text
from provisor.cli.jose import certificates, choosing, signing
from provisor.cli.jose.choosing import pretty
from provisor.core.jose.encoding import encode_base64url
from provisor.core.jose.jws import SignedMessage, parse_jws
from provisor.errors import BadToken

KEY_FLAGS = (
    text("key", metavar="file", help="JWK, encrypted JWK or PEM file with the key"),
    text("jwks", metavar="file or URL", help="key set with the key"),
    text("kid", metavar="id", help="id of the key"),
    text("password-file", metavar="file", help="file with the password of the key"),
)
ALG = text("alg", "algorithm", metavar="algorithm", help="ES256, RS256, PS256, EdDSA, HS256 and so on")
SUBTLE = switch("subtle", help="allow what is easily used wrongly", hidden=True)


@command(
    "crypto jws sign",
    usage="[<file>]",
    flags=(
        ALG,
        *KEY_FLAGS,
        text("typ", "type", metavar="type", help="header typ"),
        text("cty", "content-type", metavar="type", help="header cty"),
        text("jku", "jwks-url", metavar="url", help="header jku: where the key set is"),
        switch("jwk", help="put the public key into the header jwk"),
        *certificates.FLAGS,
        SUBTLE,
    ),
    most=1,
)
def sign(call: Call) -> None:
    """sign a file, or what comes from stdin

    Prints the compact form (RFC 7515).
    """
    alg = call.text("alg")
    chosen = certificates.choose_by_certificate(call, alg) or choosing.choose(call, use="sig", alg=alg)
    payload = files.read_file(call.arguments[0] if call.arguments else "-")
    header: dict[str, object] = {**chosen.header, "alg": signing.algorithm_of(chosen.jwk)}
    if chosen.jwk.kid:
        header["kid"] = chosen.jwk.kid
    header |= {name: call.text(name) for name in ("typ", "cty", "jku") if call.text(name)}
    if call.switch("jwk"):
        from provisor.core.jose.jwk import jwk_members, public_jwk

        header["jwk"] = jwk_members(public_jwk(chosen.jwk))
    output.data(signing.sign_compact(header, payload, chosen.jwk))


@command(
    "crypto jws verify",
    usage="",
    flags=(
        ALG,
        *KEY_FLAGS,
        switch("json", help="print header, payload (base64url) and signature as JSON"),
        SUBTLE,
    ),
    most=0,
)
def verify(call: Call) -> None:
    """verify a signed message from stdin, and print what it says"""
    message = read_message()
    chosen = choosing.choose(call, use="", alg=call.text("alg"), kid=kid_of(message))
    signing.verify(message, chosen.jwk, call.text("alg"))
    _show(message, call)


@command(
    "crypto jws inspect",
    usage="",
    flags=(
        switch("insecure", help="needed, since nothing is verified"),
        switch("json", help="print header, payload (base64url) and signature as JSON"),
    ),
    most=0,
)
def inspect(call: Call) -> None:
    """print what a signed message from stdin says, without verifying it"""
    require_insecure(call)
    _show(read_message(), call)


def require_insecure(call: Call) -> None:
    if not call.switch("insecure"):
        raise CommandError(f"'{call.command}' requires the '--insecure' flag")


def read_message() -> SignedMessage:
    """From stdin. Raises `CommandError`."""
    # step: reads a line, so that JSON in several lines is none
    line = sys.stdin.buffer.read().decode(errors="replace").partition("\n")[0]
    try:
        return parse_jws(choosing.three_parts(line))
    except BadToken as error:
        raise CommandError(f"error parsing token: {choosing.token_words(error.detail)}") from error


def kid_of(message: SignedMessage) -> str:
    """Which key of a set the message says it was signed with."""
    kid = message.header.get("kid")
    return kid if isinstance(kid, str) else ""


def _show(message: SignedMessage, call: Call) -> None:
    if not call.switch("json"):
        output.data_bytes(message.payload)
        return
    parts = {
        "header": {name: message.header[name] for name in sorted(message.header)},
        "payload": encode_base64url(message.payload).decode(),
        "signature": encode_base64url(message.signature).decode(),
    }
    output.data(pretty(parts))
