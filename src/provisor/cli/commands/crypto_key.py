"""`crypto key format`, `public`, `inspect` and `fingerprint`: a key in another form, or what is to be known of it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from base64 import b64decode

from provisor.cli import exits, files, keys, output, prompt
from provisor.cli.certificates import newkeys
from provisor.cli.commands import common
from provisor.cli.crypto import details, reading, saving, writing
from provisor.cli.crypto.reading import Key, Source, is_private, public_half
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, switch, text
from provisor.cli.inspection.fingerprint import encode_fingerprint
from provisor.core.keys import PublicKey, spki_der
from provisor.core.pem import encode_public_key
from provisor.core.secret import Secret

_PASSWORD = text("password-file", metavar="file", help="file with the password of the key")
_FORMS = (writing.PEM, writing.DER, writing.SSH, writing.JWK)


@command(
    "crypto key format",
    usage="<key-file> [--out=<file>]",
    flags=(
        switch("pkcs8", help="write a private key as PKCS#8, whatever its kind"),
        switch("pem", help="write PEM"),
        switch("der", help="write DER, which has no password"),
        switch("ssh", help="write the format of OpenSSH"),
        switch("jwk", help="write a JSON Web Key"),
        text("out", metavar="file", help="write here instead of to stdout"),
        text("password-file", metavar="file", help="file with the password of the key, before and after"),
        switch("no-password", help="write a private key without a password; needs --insecure"),
        switch("insecure", help="allow a private key without a password"),
        common.FORCE,
    ),
    most=1,
)
def format_key(call: Call) -> None:
    """write a key in another format

    PEM becomes DER, anything else becomes PEM, unless a flag names the format. The key may also be that of a
    certificate, a signing request or an OpenSSH file; without an argument it comes from stdin.
    """
    chosen = _chosen_form(call)
    newkeys.check_no_password(call)
    path = _argument(call)
    content = reading.read_tool_file(path)
    password, flag = keys.password_from(call, "password-file")
    source = Source(content, path, password, flag)
    key = reading.needed(reading.read_any(source), path)
    form = chosen or (writing.DER if source.is_pem else writing.PEM)
    if is_private(key) and form != writing.DER:
        password = _password_for(call, form, password)
    changed = writing.encode_key(key, form, pkcs8=call.switch("pkcs8"), password=password)
    if not (out := call.text("out")):
        output.data_bytes(changed)
        return
    saving.save(out, changed, mode=_mode_for(key, path), force=call.switch("force"))
    output.note(f"Your key has been saved in {out}.")


def _argument(call: Call) -> str:
    return call.arguments[0] if call.arguments else "-"


def _chosen_form(call: Call) -> str:
    chosen = [form for form in _FORMS if call.switch(form)]
    if len(chosen) > 1:
        raise exits.incompatible_flags(*chosen[:2])
    return chosen[0] if chosen else ""


def _password_for(call: Call, form: str, password: Secret) -> Secret:
    """Empty for none. Raises `CommandError`."""
    if call.switch("no-password"):
        return Secret(b"")
    if password:
        return password
    what = "data" if form == writing.JWK else "private key"
    question = f"Please enter the password to encrypt the {what}"
    while not (answer := prompt.ask_password(question, flag="password-file")):
        output.note("The password cannot be empty; '--no-password' with '--insecure' does without one.")
    return Secret(answer)


def _mode_for(key: Key, path: str) -> int:
    """Who could read a public key before can read it now; a private key is its owner's."""
    if path == "-" or is_private(key):
        return 0o600
    return stat.S_IMODE(os.stat(path).st_mode) & 0o777


@command(
    "crypto key public",
    usage="<key-file> [--out=<file>]",
    flags=(text("out", metavar="file", help="write here instead of to stdout"), _PASSWORD, common.FORCE),
    most=1,
)
def public(call: Call) -> None:
    """print the public key of a private key or certificate

    The argument is a PEM file, or - for stdin, which is also the default; the first block counts.
    """
    path = _argument(call)
    content = reading.read_tool_file(path)
    password, flag = keys.password_from(call, "password-file")
    found = reading.read_block(Source(content, path, password, flag), first=True)
    pem = encode_public_key(public_half(reading.needed(found, path))).encode()
    if not (out := call.text("out")):
        output.data_bytes(pem)
        return
    files.write_file(out, pem, 0o600, force=call.switch("force"))
    output.note(f"The public key has been saved in {out}.")


@command(
    "crypto key inspect",
    usage="<key-file>",
    flags=(_PASSWORD, switch("json", help="print JSON; numbers and octets are in hex")),
    most=1,
)
def inspect(call: Call) -> None:
    """print what a key is made of

    Of a private key all of it is printed, the secret numbers too. Without an argument it comes from stdin.
    """
    described = details.describe(_read(call))
    if call.switch("json"):
        output.data(json.dumps(details.as_members(described), indent=2))
        return
    output.data(details.as_text(described))


def _read(call: Call) -> Key:
    path = _argument(call)
    content = files.read_file(path)
    password, flag = keys.password_from(call, "password-file")
    return reading.needed(reading.read_any(Source(content, path, password, flag), first=True), path)


@command(
    "crypto key fingerprint",
    usage="<key-file>",
    flags=(
        switch("sha1", help="SHA-1 in hex: with no other flag, the subject key id of certificates"),
        switch("pkix", help="of the whole SubjectPublicKeyInfo, not only of the key's bits"),
        switch("ssh", help="of the key as OpenSSH encodes it"),
        _PASSWORD,
        switch("raw", help="print what would be hashed"),
        text("format", metavar="format", help="hex, base64, base64-url, base64-raw, base64-url-raw or emoji"),
    ),
    most=1,
)
def fingerprint(call: Call) -> None:
    """print the fingerprint of a public key

    It is the same for a private key, its public key, and a certificate or request with it.
    """
    if call.switch("pkix") and call.switch("ssh"):
        raise exits.exclusive_flags("pkix", "ssh")
    is_sha1 = call.switch("sha1")
    form = call.text("format") or ("hex" if is_sha1 else "base64")
    try:
        encode_fingerprint(b"", form)
    except ValueError as error:
        raise CommandError(f"error parsing fingerprint format: {error}") from error
    octets = _marshal(call, public_half(_read(call)))
    if call.switch("raw"):
        output.data_bytes(octets)
        return
    # an identifier, not a protection
    digest = hashlib.sha1(octets, usedforsecurity=False) if is_sha1 else hashlib.sha256(octets)
    output.data(f"{'SHA1' if is_sha1 else 'SHA256'}:{encode_fingerprint(digest.digest(), form)}")


def _marshal(call: Call, key: PublicKey) -> bytes:
    if call.switch("ssh"):
        return b64decode(writing.ssh_line(key).split()[1])
    return spki_der(key) if call.switch("pkix") else details.public_octets(key)
