"""`ca certificates`: what this CA issued, asked of the server on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from provisor.cli import exits, files, output, rows
from provisor.cli.admin import CONDITIONS, PLACE, conditions, find_paths, open_admin, plain_json
from provisor.cli.commands.common import FORCE
from provisor.cli.grammar import Call, Flag, FlagKind, command, switch, text
from provisor.cli.inspection.document import parse_document
from provisor.cli.inspection.text import short_text
from provisor.cli.rows import printable
from provisor.core.pem import parse_certificates
from provisor.wire.admin import CertificateBody, CertificatePage, DroppedBody, LineMember

Form = Callable[[Iterable[CertificatePage]], Iterator[str]]

_BULK: Final = 64 * 1024

_CURSOR: Final = Flag(
    names=("cursor", "page"), help="go on where a list ended", metavar="cursor", ignores_environment=True
)


@command(
    "ca certificates list",
    usage="[--name=<pattern>]",
    flags=(
        *CONDITIONS,
        Flag(names=("limit",), help="how many at most; 0: all", kind=FlagKind.INT, default="100", metavar="number"),
        _CURSOR,
        switch("json", help="a JSON array on one line"),
        switch("csv", help="comma-separated values with a heading"),
        *PLACE,
    ),
    reads_defaults=False,
    own=True,
)
def list_certificates(call: Call) -> None:
    """list the certificates that the CA issued

    Every condition has to hold. The newest come first; under a pattern they come by name, in a span of time by
    their end. What was issued in the last seconds may be missing.
    """
    if call.switch("json") and call.switch("csv"):
        raise exits.exclusive_flags("json", "csv")
    limit = call.number("limit")
    if limit < 0:
        raise exits.invalid_value(call.text("limit"), "limit", "a number from 0")
    form: Form = rows.as_json_array if call.switch("json") else rows.as_csv if call.switch("csv") else rows.as_table
    asked = conditions(call)
    with open_admin(call, find_paths(call)) as admin:
        pages = _Remembering(admin.certificates(asked, cursor=call.text("cursor"), limit=limit))
        for part in form(pages):
            output.data(part, end="")
    if pages.last.cursor:
        output.note(f"There are more: --cursor {pages.last.cursor}")


class _Remembering:
    """The pages, and which one was the last."""

    def __init__(self, pages: Iterable[CertificatePage]) -> None:
        self._pages = pages
        self.last = CertificatePage(())

    def __iter__(self) -> Iterator[CertificatePage]:
        for page in self._pages:
            self.last = page
            yield page


@command(
    "ca certificates show",
    usage="<serial|fingerprint>",
    flags=(switch("json", help="everything as JSON"), *PLACE),
    least=1,
    most=1,
    reads_defaults=False,
    own=True,
)
def show(call: Call) -> None:
    """show everything that is known of a certificate

    The argument is its serial number (decimal, 0x... or aa:bb:...) or its SHA-256 fingerprint in hex.
    """
    with open_admin(call, find_paths(call)) as admin:
        body = admin.certificate(call.arguments[0])
    if call.switch("json"):
        output.data(plain_json(body))
    elif isinstance(body, DroppedBody):
        output.data(_facts(_dropped(body)), end="")
    else:
        output.data(short_text(parse_document(parse_certificates(body.certificate.certificate.encode())[0])), end="")
        output.data(_facts(_record(body)), end="")
        output.data(_line_text(body), end="")


def _facts(facts: Mapping[str, str]) -> str:
    shown = {name: value for name, value in facts.items() if value}
    width = max(map(len, shown)) + 1
    return "".join(f"{name + ':':<{width}} {printable(value)}\n" for name, value in shown.items())


def _dropped(body: DroppedBody) -> Mapping[str, str]:
    return {
        "Serial": body.serial,
        "State": f"expired on {body.not_after}; its record was dropped",
        "Fingerprint": body.fingerprint,
        "Renews": body.predecessor,
        "Line": body.lineage,
    }


def _record(body: CertificateBody) -> Mapping[str, str]:
    item, revocation = body.certificate, body.revocation
    facts = {
        "Serial": item.serial,
        "State": item.state,
        "Fingerprint": item.fingerprint,
        "Key": f"{body.key}, SHA-256 {body.key_digest}",
        "Issuer": f"{body.issuer} ({body.issuer_id[:16]})",
        "Provisioner": f"{item.provisioner} [{item.kind}], id {body.provisioner_id}",
        "Request": body.request_digest,
        "Audit log": "no place yet" if item.place is None else f"event {item.place}",
        "Inventory": "" if body.indexed else "not in the index yet",
    }
    if revocation is not None:
        why = f" ({revocation.reason})" if revocation.reason else ""
        by = f", by {revocation.provisioner}" if revocation.method == "token" else ""
        facts["Revoked"] = f"{revocation.at}, reason code {revocation.reason_code}{why}, {revocation.method}{by}"
    if body.predecessor is not None:
        facts["Renews"] = _member(body.predecessor)
    facts["Renewed by"] = ", ".join(body.successors)
    return facts


def _member(member: LineMember) -> str:
    return f"{member.serial} ({member.state}{', until ' + member.not_after if member.not_after else ''})"


def _line_text(body: CertificateBody) -> str:
    """The line, the newest first, this certificate marked."""
    own = body.certificate.serial
    lines = [f"Line of {body.certificate.lineage}: {body.line_size} recorded"]
    lines += [f"  {'*' if member.serial == own else ' '} {_member(member)}" for member in body.line]
    if body.line_size > len(body.line):
        lines.append(f"    ... provisor ca certificates list --lineage {own} has all of them")
    return "\n".join(lines) + "\n"


_FORMS: Final[Mapping[str, Form]] = {"pem": rows.as_pem, "csv": rows.as_csv, "ndjson": rows.as_json_lines}


@command(
    "ca certificates export",
    usage="[<file>] [--format=<format>]",
    flags=(*CONDITIONS, text("format", help="pem, csv or ndjson", default="pem", metavar="format"), FORCE, *PLACE),
    most=1,
    reads_defaults=False,
    own=True,
)
def export(call: Call) -> None:
    """write all certificates that meet the conditions into a file, or to stdout"""
    form = _FORMS.get(call.text("format"))
    if form is None:
        raise exits.invalid_value(call.text("format"), "format", tuple(_FORMS))
    asked = conditions(call) | ({} if form is rows.as_csv else {"pem": "1"})
    to_file = bool(call.arguments) and call.arguments[0] != "-"
    with open_admin(call, find_paths(call)) as admin:
        parts = _in_bulk(form(admin.certificates(asked)))
        if to_file:
            files.write_parts(call.arguments[0], parts, force=call.switch("force"))
            output.note(f"The certificates have been saved in {call.arguments[0]}.")
        else:
            for part in parts:
                output.data_bytes(part)


def _in_bulk(texts: Iterable[str]) -> Iterator[bytes]:
    """The same in pieces that are worth a write."""
    held: list[str] = []
    size = 0
    for each in texts:
        held.append(each)
        size += len(each)
        if size >= _BULK:
            yield "".join(held).encode()
            held, size = [], 0
    yield "".join(held).encode()
