"""`crypto jwt sign`, `verify` and `inspect`: JSON Web Tokens (RFC 7519)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

from provisor.cli import exits, files, output
from provisor.cli.commands.crypto_jws import ALG, KEY_FLAGS, SUBTLE, kid_of, read_message, require_insecure
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, Flag, FlagKind, command, switch, text, texts
from provisor.cli.jose import certificates, choosing, signing
from provisor.core.durations import MILLISECOND, Duration, format_duration
from provisor.core.jose.encoding import NotJOSE, encode_base64url, parse_members
from provisor.core.jose.jws import SignedMessage
from provisor.core.json_text import find_syntax_error

_JTI_OCTETS = 32


def _instant(name: str, *more: str, what: str) -> Flag:
    return Flag(names=(name, *more), kind=FlagKind.INT, metavar="unix time", help=what)


@command(
    "crypto jwt sign",
    usage="[<file>|-]",
    flags=(
        ALG,
        text("iss", "issuer", metavar="issuer", help="claim iss: who issues the token"),
        texts("aud", "audience", metavar="audience", help="claim aud: whom it is for; may be given several times"),
        text("sub", "subject", metavar="subject", help="claim sub: whom it is about"),
        _instant("exp", "expiration", what="claim exp: when it ends"),
        _instant("nbf", "not-before", what="claim nbf: when it begins (default: now)"),
        _instant("iat", "issued-at", what="claim iat: when it was issued (default: now)"),
        text("jti", "jwt-id", metavar="id", help="claim jti (default: random)"),
        texts("header", metavar="name=value", help="another member of the header; may be given several times"),
        *KEY_FLAGS,
        *certificates.FLAGS,
        SUBTLE,
    ),
    most=1,
)
def sign(call: Call) -> None:
    """make a signed token

    Its claims are those of the flags, and those of a JSON object in a file or from stdin (-).
    """
    alg, now = call.text("alg"), datetime.now(UTC)
    chosen = certificates.choose_by_certificate(call, alg) or choosing.choose(call, use="sig", alg=alg)
    header: dict[str, object] = {**chosen.header, "typ": "JWT"}
    if chosen.jwk.kid:
        header["kid"] = chosen.jwk.kid
    # step-ca: lets a flag write another alg into the header than the one it signs with
    header |= _more_header(call) | {"alg": signing.algorithm_of(chosen.jwk)}
    payload = _payload(call)
    claims = _claims(call, int(now.timestamp()))
    if not call.switch("subtle"):
        _check_claims(claims, now)
    claims |= payload
    body = json.dumps({name: claims[name] for name in sorted(claims)}, separators=(",", ":"), ensure_ascii=False)
    output.data(signing.sign_compact(header, body.encode(), chosen.jwk))


def _more_header(call: Call) -> dict[str, object]:
    header: dict[str, object] = {}
    for entry in call.texts("header"):
        name, equals, value = entry.partition("=")
        if not equals or not name:
            raise exits.invalid_value(entry, "header")
        header[name] = value
    return header


def _payload(call: Call) -> Mapping[str, object]:
    if not call.arguments:
        return {}
    path = call.arguments[0]
    content, where = files.read_file(path), "STDIN" if path == "-" else path
    if fault := find_syntax_error(content):
        raise CommandError(f"error decoding JSON from {where}: {fault}")
    try:
        return parse_members(content)
    except NotJOSE as error:
        reason = str(error).replace("into an object", "into Go value of type map[string]interface {}")
        raise CommandError(f"error decoding JSON from {where}: {reason}") from error


def _claims(call: Call, now: int) -> dict[str, object]:
    claims: dict[str, object] = {}
    for name in ("iss", "sub"):
        if call.text(name):
            claims[name] = call.text(name)
    if audience := call.texts("aud"):
        claims["aud"] = audience[0] if len(audience) == 1 else list(audience)
    if call.is_set("exp"):
        claims["exp"] = call.number("exp")
    for name in ("nbf", "iat"):
        claims[name] = call.number(name) if call.is_set(name) else now
    claims["jti"] = call.text("jti") or secrets.token_hex(_JTI_OCTETS)
    return claims


def _check_claims(claims: Mapping[str, object], now: datetime) -> None:
    """What the flags say; a payload does not count here. Raises `CommandError`."""
    for name in ("iss", "aud", "sub", "exp"):
        if not claims.get(name):
            raise CommandError(f"flag '--{name}' is required unless '--subtle' is used")
    ends = claims["exp"]
    if not isinstance(ends, int | float) or ends < now.timestamp():
        raise CommandError("flag '--exp' must be in the future unless the '--subtle' flag is provided")


@command(
    "crypto jwt verify",
    usage="",
    flags=(
        text("iss", "issuer", metavar="issuer", help="who must have issued it"),
        text("aud", "audience", metavar="audience", help="whom it must be for"),
        ALG,
        *KEY_FLAGS,
        SUBTLE,
        switch("insecure", help="allow --no-exp-check"),
        switch("no-exp-check", help="accept a token whose time is over; needs --insecure"),
    ),
    most=0,
)
def verify(call: Call) -> None:
    """verify a token from stdin, and print what it says

    Signature, issuer, audience and times.
    """
    if not call.switch("subtle"):
        for name in ("iss", "aud"):
            if not call.text(name):
                raise CommandError(f"flag '--{name}' is required unless the '--subtle' flag is provided")
    message = read_message()
    if call.switch("no-exp-check") and not call.switch("insecure"):
        raise exits.requires_flag("no-exp-check", "insecure")
    chosen = choosing.choose(call, use="", alg=call.text("alg"), kid=kid_of(message))
    signing.verify(message, chosen.jwk, call.text("alg"))
    _check_token(call, message, datetime.now(UTC))
    output.data(shown(message))


def _check_token(call: Call, message: SignedMessage, now: datetime) -> None:
    claims = _members(message)
    if (issuer := call.text("iss")) and claims.get("iss") != issuer:
        raise CommandError("validation failed: invalid issuer claim (iss)")
    named = claims.get("aud")
    audiences = named if isinstance(named, list) else [named]
    if (audience := call.text("aud")) and audience not in audiences:
        raise CommandError("validation failed: invalid audience claim (aud)")
    moment = now.timestamp()
    ends = _time(claims, "exp")
    if ends is not None and ends < moment and not call.switch("no-exp-check"):
        late = Duration(round((moment - ends) * 1000) * MILLISECOND)
        raise CommandError(f"validation failed: token is expired by {format_duration(late)} (exp)")
    if (begins := _time(claims, "nbf")) is not None and begins > moment:
        raise CommandError("validation failed: token not valid yet (nbf)")
    if (issued := _time(claims, "iat")) is not None and issued > moment:
        raise CommandError("validation failed: token issued in the future (iat)")


def _time(claims: Mapping[str, object], name: str) -> float | None:
    """Raises `CommandError` for a time that is no number: what cannot be read is not in force."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CommandError(f"validation failed: {name} is not a number")
    return value


def _members(message: SignedMessage) -> Mapping[str, object]:
    if fault := find_syntax_error(message.payload):
        raise CommandError(f"claim verify failed: {fault}")
    try:
        return parse_members(message.payload)
    except NotJOSE as error:
        raise CommandError(f"claim verify failed: {error}") from error


@command("crypto jwt inspect", usage="", flags=(switch("insecure", help="needed, since nothing is verified"),), most=0)
def inspect(call: Call) -> None:
    """print what a token from stdin says, without verifying it"""
    require_insecure(call)
    message = read_message()
    if fault := find_syntax_error(message.payload):
        calling = "json: error calling MarshalJSON for type json.RawMessage"
        raise CommandError(f"error marshaling token data: {calling}: {fault}")
    output.data(shown(message))


def shown(message: SignedMessage) -> str:
    """Header in the order of the names, the payload as it was written, the signature."""
    header = json.dumps({name: message.header[name] for name in sorted(message.header)}, ensure_ascii=False)
    payload = message.payload.decode(errors="replace")
    signature = json.dumps(encode_base64url(message.signature).decode())
    return indent(f'{{"header":{header},"payload":{payload},"signature":{signature}}}')


def indent(text_in: str, step: str = "  ") -> str:
    """JSON set in lines; members, numbers and escapes stay as they are written."""
    out: list[str] = []
    depth, at, quoted = 0, 0, False
    while at < len(text_in):
        character = text_in[at]
        if quoted:
            end = at
            while text_in[end] != '"':
                end += 2 if text_in[end] == "\\" else 1
            out.append(text_in[at : end + 1])
            at, quoted = end + 1, False
            continue
        at += 1
        if character in " \t\r\n":
            continue
        if character == '"':
            out.append(character)
            quoted = True
        elif character in "{[":
            following = next((each for each in text_in[at:] if each not in " \t\r\n"), "")
            if following in ("}", "]"):
                out.append(character + following)
                at = text_in.index(following, at) + 1
                continue
            depth += 1
            out.append(character + "\n" + step * depth)
        elif character in "}]":
            depth -= 1
            out.append("\n" + step * depth + character)
        elif character == ",":
            out.append(",\n" + step * depth)
        else:
            out.append(": " if character == ":" else character)
    return "".join(out)
