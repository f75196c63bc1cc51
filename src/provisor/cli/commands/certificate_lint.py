"""`certificate lint`: what a certificate does against the rules."""

from __future__ import annotations

import json
import sys
import time

from provisor.cli import files, output
from provisor.cli.certificates import reading, remote
from provisor.cli.certificates.linting import Report, Severity, lint_certificate
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, switch
from provisor.cli.inspection.source import fetch_peer_chain, is_url, trusted
from provisor.cli.rows import printable
from provisor.core.pem import parse_blocks


@command(
    "certificate lint",
    usage="<crt-file> [--roots=<root-bundle>]",
    flags=(
        remote.ROOTS,
        remote.insecure("do not verify the server of a URL"),
        remote.SERVER_NAME,
        switch("json", help="JSON on a terminal too"),
    ),
    least=1,
    most=1,
    reads_defaults=False,
)
def lint(call: Call) -> None:
    """check a certificate against the rules of RFC 5280

    The argument is a file (PEM or DER) or a URL such as https://ca.internal. The result is JSON, or on a terminal a
    line for each finding. What is found does not change the exit status. Needs the extra 'lint' of Provisor.
    """
    report = lint_certificate(_der(call))
    if call.switch("json") or not sys.stdout.isatty():
        output.data(json.dumps(_members(report), indent=1, ensure_ascii=False))
        return
    if not report.findings:
        output.data(f"No findings in {len(report.rules)} rules.")
        return
    for finding in report.findings:
        where = f" ({printable(finding.details)})" if finding.details else ""
        output.data(f"{finding.severity.upper():<6} {finding.rule}{where}")


def _der(call: Call) -> bytes:
    place = call.arguments[0]
    if is_url(place):
        roots = None if call.switch("insecure") else trusted(call.text("roots"))
        return fetch_peer_chain(place, call.text("servername"), roots)[0]
    content = files.read_file(place)
    if not reading.is_pem(content):
        if not content.startswith(b"\x30"):
            raise CommandError(f"could not parse certificate file '{place}'")
        return content
    blocks = parse_blocks(content)
    if not blocks or blocks[0].label != reading.CERTIFICATE_LABEL:
        raise CommandError(f"could not parse certificate file '{place}'")
    return blocks[0].der


def _members(report: Report) -> dict[str, object]:
    return {
        "version": 3,
        "timestamp": int(time.time()),
        "lints": report.results(),
        "notices_present": report.has(Severity.NOTICE),
        "warnings_present": report.has(Severity.WARNING),
        "errors_present": report.has(Severity.ERROR),
        "fatals_present": report.has(Severity.FATAL),
    }
