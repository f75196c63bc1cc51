"""`certificate bundle`, `format` and `key`: the same certificate in another form."""

from __future__ import annotations

import os
import secrets
import stat

from provisor.cli import files, keys, output
from provisor.cli.certificates import reading
from provisor.cli.commands import common
from provisor.cli.exits import CommandError
from provisor.cli.files import system_text
from provisor.cli.grammar import Call, command, text
from provisor.cli.inspection.document import parse_certificate, parse_document, parse_request
from provisor.core.keys import parse_spki
from provisor.core.pem import PEMBlock, encode_pem, encode_private_key, parse_blocks
from provisor.core.secret import Secret
from provisor.errors import BadKey, Malformed


@command(
    "certificate bundle",
    usage="<crt-file> <ca> <bundle-file>",
    flags=(common.FORCE,),
    least=3,
    most=3,
    reads_defaults=False,
)
def bundle(call: Call) -> None:
    """put a certificate and that of its authority into one file

    Of each file the first certificate is taken.
    """
    crt_file, ca_file, bundle_file = call.arguments
    content = "".join(encode_pem("CERTIFICATE", _first_certificate(path)) for path in (crt_file, ca_file))
    files.write_file(bundle_file, content.encode(), 0o600, force=call.switch("force"))
    output.note(f"Your certificate has been saved in {bundle_file}.")


def _first_certificate(path: str) -> bytes:
    """Raises `CommandError` for anything else: a key has no place in a bundle."""
    if path == "-":
        raise CommandError(f"open {path} failed: no such file or directory")
    blocks = parse_blocks(files.read_file(path))
    # step-ca: copies whatever is first, also a private key
    if not blocks or blocks[0].label != reading.CERTIFICATE_LABEL:
        raise CommandError(f"could not parse certificate file '{path}'")
    return blocks[0].der


@command(
    "certificate format",
    usage="<crt-file> [--out=<file>]",
    flags=(text("out", metavar="file", help="write here instead of to stdout"), common.FORCE),
    most=1,
    reads_defaults=False,
)
def format_certificate(call: Call) -> None:
    """turn PEM into DER, and DER into PEM

    The argument is a file with a certificate or a signing request, or - for stdin, which is also the default.
    """
    path = call.arguments[0] if call.arguments else "-"
    content = _read(path)
    if reading.is_pem(content) and (blocks := parse_blocks(content)):
        changed = _checked(blocks[0])
    else:
        changed = _as_pem(content).encode()
    if not (out := call.text("out")):
        output.data_bytes(changed)
        return
    files.write_file(out, changed, _mode_of(path), force=call.switch("force"))
    output.note(f"Your certificate has been saved in {out}")  # step-ca: no full stop


def _mode_of(path: str) -> int:
    """Who could read it before can read it now."""
    return 0o600 if path == "-" else stat.S_IMODE(os.stat(path).st_mode) & 0o777


def _read(path: str) -> bytes:
    try:
        return files.read_file(path)
    except CommandError as error:
        if isinstance(error.__cause__, OSError):
            # step-ca: leaves out what it did
            raise CommandError(f"unexpected error on {path}: : {system_text(error.__cause__)}") from error
        raise


def _checked(block: PEMBlock) -> bytes:
    try:
        if block.label == reading.CERTIFICATE_LABEL:
            return parse_certificate(block.der).der
        if block.label in reading.REQUEST_LABELS:
            return parse_request(block.der).der
    except Malformed as error:
        what = "certificate" if block.label == reading.CERTIFICATE_LABEL else "certificate request"
        raise CommandError(f"error parsing {what}: {reading.parser_words(error)}") from error
    raise CommandError("error decoding certificate: invalid PEM block")


def _as_pem(content: bytes) -> str:
    try:
        return parse_document(content).pem
    except Malformed as error:
        raise CommandError("error parsing DER format certificate or certificate request") from error


@command(
    "certificate key",
    usage="<crt-file> [--out=<file>]",
    flags=(text("out", "output-file", metavar="file", help="write here instead of to stdout"), common.FORCE),
    least=1,
    most=1,
    reads_defaults=False,
)
def key(call: Call) -> None:
    """print the public key in a certificate

    The argument is a PEM file with a certificate or a signing request, or - for stdin; the first block counts. If it
    is a key, that key is printed, a private one without its password.
    """
    blocks = parse_blocks(files.read_file(call.arguments[0]))
    if not blocks:
        raise CommandError("error decoding PEM: not a valid PEM encoded block")
    content = _key_in(blocks[0])
    if not (out := call.text("out")):
        output.data_bytes(content)
        return
    files.write_file(out, content, 0o600, force=call.switch("force"))
    output.note(f"The public key has been saved in {out}.")


def _key_in(block: PEMBlock) -> bytes:
    try:
        if block.label == reading.CERTIFICATE_LABEL:
            return _public(parse_certificate(block.der).spki)
        if block.label in reading.REQUEST_LABELS:
            return _public(parse_request(block.der).spki)
        if block.label == reading.PUBLIC_LABEL:
            return _public(block.der)
        private = keys.parse_key(_whole(block), "PEM", Secret(b""))
    except (BadKey, Malformed) as error:
        told = error.detail.startswith(("error parsing", "error decoding", "error decrypting"))
        raise CommandError(error.detail if told else f"error parsing PEM: {reading.parser_words(error)}") from error
    return encode_private_key(private, random=secrets.token_bytes)


def _public(spki: bytes) -> bytes:
    parse_spki(spki)
    return encode_pem(reading.PUBLIC_LABEL, spki).encode()


def _whole(block: PEMBlock) -> bytes:
    """The block as it stood in its file, headers included."""
    if not block.headers:
        return encode_pem(block.label, block.der).encode()
    begin, _, rest = encode_pem(block.label, block.der).partition("\n")
    headers = "".join(f"{name}: {value}\n" for name, value in block.headers.items())
    return f"{begin}\n{headers}\n{rest}".encode()
