"""`certificate p12`: a certificate, its key and its authorities in one file for Windows, Firefox and Java."""

from __future__ import annotations

from provisor.cli import exits, files, output
from provisor.cli.certificates import newkeys, pkcs12, reading
from provisor.cli.certificates.making import is_pair
from provisor.cli.certificates.pkcs12 import Contents
from provisor.cli.commands import common
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, switch, text, texts
from provisor.core.secret import Secret
from provisor.core.x509.certificate import Certificate


@command(
    "certificate p12",
    usage="<p12-path> [<crt-path>] [<key-path>]",
    flags=(
        texts("ca", metavar="file", help="certificates of authorities to put in; may be repeated"),
        text("password-file", metavar="file", help="file with the password of the new file"),
        switch("no-password", help="write it without a password; needs --insecure"),
        switch("legacy", help="encrypt as programs of before 2020 read it: Triple DES and SHA-1"),
        common.FORCE,
        switch("insecure", help="allow a file without a password"),
    ),
    least=1,
    most=3,
    reads_defaults=False,
)
def p12(call: Call) -> None:
    """put a certificate and its key into a .p12 file

    Without a certificate it is a trust store of the certificates of --ca, as Java reads it.
    """
    path, *pair = call.arguments
    _check(call, pair)
    authorities = [certificate for place in call.texts("ca") for certificate in _labelled("CA certificate", place)]
    password = _password(call)
    if pair:
        crt_file, key_file = pair
        leaf, *others = _labelled("certificate", crt_file)
        try:
            key = reading.read_private_key(key_file, Secret(b""))
        except CommandError as error:
            raise CommandError(f"error reading key: {error.message}") from error
        if not is_pair(leaf, key):
            # step-ca: packs what no program can use
            raise CommandError(f"the key in {key_file} does not belong to the certificate in {crt_file}")
        content = pkcs12.encode_pair(
            Contents(leaf, key, (*authorities, *others)), password, legacy=call.switch("legacy")
        )
    else:
        content = pkcs12.encode_trust_store(authorities, password, legacy=call.switch("legacy"))
    files.write_file(path, content, 0o600, force=call.switch("force"))
    output.note(f"Your .p12 bundle has been saved as {path}.")


def _check(call: Call, pair: list[str]) -> None:
    if len(pair) == 1:
        raise CommandError(
            f"missing positional argument <key_file> in '{call.command} <p12-path> [<crt-path>] [<key-path>]'"
        )
    if not pair and not call.texts("ca"):
        raise CommandError("flag '--ca' must be provided when no <crt_path> and <key_path> are present")
    newkeys.check_no_password(call)
    if call.switch("no-password") and call.text("password-file"):
        raise exits.incompatible_flags("no-password", "password-file")


def _labelled(what: str, path: str) -> tuple[Certificate, ...]:
    try:
        return reading.read_chain(path)
    except CommandError as error:
        raise CommandError(f"error reading {what}: {error.message}") from error


def _password(call: Call) -> Secret:
    """Empty without one. Raises `CommandError`."""
    if call.switch("no-password"):
        return Secret(b"")
    if (path := call.text("password-file")) and (password := files.read_password(path)):
        return Secret(password)
    return newkeys.ask_new_password("Please enter a password to encrypt the .p12 file")
