"""`certificate inspect`, `fingerprint` and `verify`: looking at certificates wherever they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from provisor.cli import exits, files, output
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, Flag, command, switch, text, unbuilt
from provisor.cli.inspection.as_json import json_members
from provisor.cli.inspection.document import Document
from provisor.cli.inspection.fingerprint import encode_fingerprint
from provisor.cli.inspection.source import fetch_peer_chain, is_url, read_documents, trusted
from provisor.cli.inspection.text import full_text, short_text
from provisor.cli.inspection.trust import verify as verify_chain
from provisor.core.pem import parse_blocks
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.errors import Malformed, Unauthenticated

_ROOTS = text("roots", help="a file, files with commas, or a folder with the roots to trust", metavar="FILE")
_SERVER_NAME = text("servername", help="the name to ask the server for", metavar="NAME")
_BUNDLE = switch("bundle", help="all certificates, not just the first")


def _insecure(what: str) -> Flag:
    return switch("insecure", help=what)


@command(
    "certificate inspect",
    usage="<crt-file>",
    flags=(
        text("format", help="text, json or pem", default="text", metavar="FORMAT"),
        _ROOTS,
        _SERVER_NAME,
        _BUNDLE,
        switch("short", help="a few lines instead of everything"),
        _insecure("do not verify the server of a URL"),
    ),
    most=1,
    reads_defaults=False,
)
def inspect(call: Call) -> None:
    """print the details of a certificate or request

    The argument is a file (PEM or DER), a URL such as https://ca.internal, or - for stdin, which is also the default.
    """
    form = call.text("format")
    if form not in ("text", "json", "pem"):
        raise exits.invalid_value(form, "format", ("text", "json", "pem"))
    if call.switch("short") and form != "text":
        raise CommandError(f"flag '--short' is incompatible with '--format {form}'")
    documents = _documents(call)
    if form == "json":
        members = [json_members(document) for document in documents]
        shown = members if call.switch("bundle") and not documents[0].is_request else members[0]
        output.data(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    for document in documents:
        output.data(_shown(document, form, short=call.switch("short")), end="")


def _shown(document: Document, form: str, *, short: bool) -> str:
    if form == "pem":
        return document.pem
    return short_text(document) if short else full_text(document)


@command(
    "certificate fingerprint",
    usage="<crt-file>",
    flags=(
        text("format", help="hex, base64, base64-url, base64-raw, base64-url-raw or emoji", default="hex"),
        _BUNDLE,
        _ROOTS,
        _SERVER_NAME,
        _insecure("do not verify the server of a URL; allow SHA-1"),
        switch("sha1", help="SHA-1 instead of SHA-256; needs --insecure"),
    ),
    most=1,
    reads_defaults=False,
)
def fingerprint(call: Call) -> None:
    """print the fingerprint of a certificate

    The argument is a file (PEM or DER), a URL such as https://ca.internal, or - for stdin, which is also the default.
    """
    if call.switch("sha1") and not call.switch("insecure"):
        # step-ca: names the flag so.
        raise exits.requires_flag("sha", "insecure")
    documents = _documents(call)
    for number, document in enumerate(documents):
        digest = document.digest("sha1" if call.switch("sha1") else "sha256")
        try:
            shown = encode_fingerprint(digest, call.text("format"))
        except ValueError as error:
            raise CommandError(f"error parsing fingerprint format: {error}") from error
        output.data(f"{number}: {shown}" if call.switch("bundle") else shown)


def _documents(call: Call) -> Sequence[Document]:
    """What the argument holds; the first of it without `--bundle`."""
    found = read_documents(
        call.arguments[0] if call.arguments else "-",
        roots=call.text("roots"),
        server_name=call.text("servername"),
        trust_anybody=call.switch("insecure"),
    )
    return found if call.switch("bundle") else found[:1]


@command(
    "certificate verify",
    usage="<crt-file> [--host=<host>]",
    flags=(
        text("host", help="the DNS name or address that the certificate has to be for", metavar="HOST"),
        _ROOTS,
        _SERVER_NAME,
        switch("v", "verbose", help="say what was found out"),
        _insecure("do not verify the server of a URL while asking it"),
        unbuilt("issuing-ca"),
        *(unbuilt(name, kind=switch(name).kind) for name in ("verify-ocsp", "verify-crl")),
        unbuilt("ocsp-endpoint"),
        unbuilt("crl-endpoint"),
    ),
    least=1,
    most=1,
    reads_defaults=False,
)
def verify(call: Call) -> None:
    """verify a certificate

    Silent when all is well. The roots are those of the system unless --roots names others.
    """
    place = call.arguments[0]
    roots = trusted(call.text("roots"))
    ders = _chain_at(place, call, roots)
    try:
        leaf, *intermediates = map(parse_certificate, ders)
    except Malformed as error:
        raise CommandError(f"error parsing {place}: {error.detail}") from error
    try:
        verify_chain(
            leaf, intermediates, _readable(roots), host=call.text("host"), now=datetime.now(UTC).replace(microsecond=0)
        )
    except Unauthenticated as error:
        raise CommandError(f"failed to verify certificate: {error.detail}") from error
    if call.switch("verbose"):
        output.data("certificate validated against roots")
        output.data("certficiate is valid")  # step-ca: spelt so


def _chain_at(place: str, call: Call, roots: Sequence[bytes]) -> list[bytes]:
    if is_url(place):
        return fetch_peer_chain(place, call.text("servername"), None if call.switch("insecure") else roots)
    content = files.read_file(place)
    found = [block.der for block in parse_blocks(content) if block.label == "CERTIFICATE"]
    if found:
        return found
    if b"-----BEGIN " in content:
        raise CommandError(f"{place} contains no PEM certificate blocks")
    return [content]


def _readable(ders: Sequence[bytes]) -> list[Certificate]:
    """Roots of other people may be of kinds that nobody here reads; they verify nothing then."""
    found = []
    for der in ders:
        try:
            found.append(parse_certificate(der))
        except Malformed:
            continue
    return found
