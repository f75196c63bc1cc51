"""`certificate inspect` and `fingerprint`: looking at certificates wherever they are."""

from __future__ import annotations

import json
from collections.abc import Sequence

from provisor.cli import exits, output
from provisor.cli.certificates import remote
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, switch, text
from provisor.cli.inspection.as_json import json_members
from provisor.cli.inspection.document import Document
from provisor.cli.inspection.fingerprint import encode_fingerprint
from provisor.cli.inspection.source import read_documents
from provisor.cli.inspection.text import full_text, short_text
from provisor.cli.inspection.words import name_text

_BUNDLE = switch("bundle", help="all certificates, not just the first")


@command(
    "certificate inspect",
    usage="<crt-file>",
    flags=(
        text("format", help="text, json or pem", default="text", metavar="FORMAT"),
        remote.ROOTS,
        remote.SERVER_NAME,
        _BUNDLE,
        switch("short", help="a few lines instead of everything"),
        switch("json", help="the same as --format json"),
        remote.insecure("do not verify the server of a URL"),
    ),
    most=1,
    reads_defaults=False,
)
def inspect(call: Call) -> None:
    """print the details of a certificate or request

    The argument is a file (PEM or DER), a URL such as https://ca.internal, or - for stdin, which is also the default.
    """
    form = "json" if call.switch("json") else call.text("format")
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
        remote.ROOTS,
        remote.SERVER_NAME,
        remote.insecure("do not verify the server of a URL; allow SHA-1"),
        switch("sha1", help="SHA-1 instead of SHA-256; needs --insecure"),
        switch("json", help="as JSON, with the subjects"),
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
    fingerprints = [_fingerprint(call, document) for document in documents]
    if call.switch("json"):
        output.data(json.dumps([_facts(*pair) for pair in zip(documents, fingerprints, strict=True)], indent=2))
        return
    for number, shown in enumerate(fingerprints):
        output.data(f"{number}: {shown}" if call.switch("bundle") else shown)


def _fingerprint(call: Call, document: Document) -> str:
    digest = document.digest("sha1" if call.switch("sha1") else "sha256")
    try:
        return encode_fingerprint(digest, call.text("format"))
    except ValueError as error:
        raise CommandError(f"error parsing fingerprint format: {error}") from error


def _facts(document: Document, fingerprint: str) -> dict[str, str]:
    kind = "request" if document.is_request else "certificate"
    return {"kind": kind, "subject": name_text(document.subject), "fingerprint": fingerprint}


def _documents(call: Call) -> Sequence[Document]:
    """What the argument holds; the first of it without `--bundle`."""
    found = read_documents(
        call.arguments[0] if call.arguments else "-",
        roots=call.text("roots"),
        server_name=call.text("servername"),
        trust_anybody=call.switch("insecure"),
    )
    return found if call.switch("bundle") else found[:1]
