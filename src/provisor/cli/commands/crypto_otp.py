"""`crypto otp generate` and `verify`: time-based one-time passwords."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

import click

from provisor.cli import exits, files, output
from provisor.cli.commands import common
from provisor.cli.crypto import one_time, saving
from provisor.cli.crypto.message import read_message
from provisor.cli.crypto.one_time import Generator
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, Flag, FlagKind, command, switch, text
from provisor.core.durations import parse_time_duration

_MOST_OCTETS = 1024
_MOST_SKEW = 1000
_PERIOD = Flag(
    names=("period",), kind=FlagKind.INT, metavar="seconds", default="30", help="how long one is valid (default: 30)"
)
_LENGTH = Flag(
    names=("length", "digits"), kind=FlagKind.INT, metavar="number", default="6", help="digits of one: 6, 7 or 8"
)
_ALG = text("alg", "algorithm", metavar="algorithm", default="SHA1", help="SHA1, SHA256 or SHA512 (default: SHA1)")


@command(
    "crypto otp generate",
    usage="",
    flags=(
        text("issuer", "iss", metavar="name", help="who asks for the passwords, such as smallstep.com"),
        text("account", metavar="name", help="whose passwords they are"),
        _PERIOD,
        _LENGTH,
        Flag(
            names=("secret-size",),
            kind=FlagKind.INT,
            metavar="octets",
            default="20",
            help="octets of the secret (default: 20)",
        ),
        _ALG,
        switch("url", help="print the URI that telephones understand, instead of the secret alone"),
        text("qr", metavar="file", help="write the URI here as a picture, a QR code in PNG"),
        common.FORCE,
    ),
    most=None,
)
def generate(call: Call) -> None:
    """generate the secret of one-time passwords"""
    issuer, account = call.required("issuer"), call.required("account")
    size = call.number("secret-size") or one_time.SECRET_OCTETS
    if not 0 < size <= _MOST_OCTETS:
        raise exits.invalid_value(call.text("secret-size"), "secret-size", f"1 to {_MOST_OCTETS}")
    generator = _generator(call, secrets.token_bytes(size), {})
    uri = generator.uri(issuer, account)
    if path := call.text("qr"):
        # whoever reads it has the secret
        saving.save(path, one_time.picture(uri), mode=0o600, force=call.switch("force"))
    output.data(uri if call.switch("url") else one_time.encode_secret(generator.secret))


@command(
    "crypto otp verify",
    usage="",
    flags=(
        text("secret", metavar="file", help="file with the secret, or with its URI"),
        _PERIOD,
        Flag(
            names=("skew",),
            kind=FlagKind.INT,
            metavar="number",
            default="0",
            help="periods before and after the right one that will do (default: 0)",
        ),
        _LENGTH,
        _ALG,
        text("time", metavar="time|duration", help="when, instead of now"),
        switch("insecure", help="allow a --skew of more than 1"),
    ),
    most=None,
)
def verify(call: Call) -> None:
    """check a one-time password

    The password comes from stdin, or is asked for. Prints ok, or fail with exit status 1.
    """
    path = call.required("secret")
    skew = call.number("skew")
    if skew > 1 and not call.switch("insecure"):
        raise CommandError("'--skew' values greater than 1 require the '--insecure' flag")
    if not 0 <= skew <= _MOST_SKEW:
        raise exits.invalid_value(call.text("skew"), "skew", f"0 to {_MOST_SKEW}")
    content = files.read_file(path).decode(errors="replace").strip()
    at = _instant(call)
    values = one_time.parse_uri(content)
    secret = one_time.decode_secret(content if values is None else values.get("secret", ""))
    generator = _generator(call, secret, values or {})
    passcode = read_message("Enter Passcode", doing="error reading passcode").decode(errors="replace").strip()
    if len(passcode) != generator.length or not passcode.isascii():
        raise CommandError("error while validating TOTP: Input length unexpected")
    if not generator.accepts(passcode, at, skew=skew):
        # step-ca: on stdout, as nowhere else
        output.data("fail")
        raise click.exceptions.Exit(exits.FAILED)
    output.data("ok")


def _generator(call: Call, secret: bytes, uri: Mapping[str, str]) -> Generator:
    """From the flags; what the URI says counts for those that are not there. Raises `CommandError`."""

    def value(flag: str, member: str) -> str:
        return uri.get(member, "") if not call.is_set(flag) and uri.get(member) else call.text(flag)

    algorithm = value("alg", "algorithm").upper()
    if algorithm not in one_time.ALGORITHMS:
        raise exits.invalid_value(call.text("alg"), "alg", "SHA1, SHA256, or SHA512")
    length = _number(value("length", "digits"), "length") or one_time.LENGTH
    if length not in one_time.LENGTHS:
        raise exits.invalid_value(str(length), "length", "6, 7, or 8")
    period = _number(value("period", "period"), "period") or one_time.PERIOD
    if period < 0:
        raise exits.invalid_value(str(period), "period")
    return Generator(secret, algorithm, length, period)


def _number(text: str, flag: str) -> int:
    try:
        return int(text, 0)
    except ValueError as error:
        raise exits.invalid_value(text, flag) from error


def _instant(call: Call) -> datetime:
    now = datetime.now(UTC)
    given = call.text("time")
    try:
        return parse_time_duration(given).resolve(now) or now
    except ValueError as error:
        raise exits.invalid_value(given, "time") from error
