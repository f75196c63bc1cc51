"""`ca audit verify`: of the store, of an export, of a proof."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
from msgspec.structs import replace

from provisor.authority.log_export import verify_export
from provisor.authority.log_heads import Signers
from provisor.authority.log_proof import ConsistencyProof, parse_proof, verify_consistency_proof, verify_proof
from provisor.authority.log_report import LogReport
from provisor.authority.log_verify import Auditor, verify_log
from provisor.cli import files, output
from provisor.cli.audit import SOURCE, read_certificates, read_head, reading
from provisor.cli.commands.ca_audit import exported_files
from provisor.cli.database import shown_progress
from provisor.cli.exits import CommandError
from provisor.cli.files import system_text
from provisor.cli.grammar import Call, Flag, command, switch
from provisor.cli.rows import printable
from provisor.errors import Malformed


def _file(name: str, help: str, *, many: bool = False) -> Flag:
    return Flag(names=(name,), help=help, metavar="file", many=many, ignores_environment=True)


@command(
    "ca audit verify",
    usage="[<export>]",
    flags=(
        _file("head", "a signed head that somebody kept; may be repeated", many=True),
        _file("root", "believe only issuers among these certificates, or signed by them", many=True),
        _file("proof", "verify this proof of `ca audit proof`"),
        _file("cert", "the certificate that the proof is of"),
        switch("fast", help="do not verify the signature of every certificate"),
        switch("accept-restores", help="that the log went on from a backup, as it says itself, is no fault"),
        switch("json", help="the report as JSON"),
        *SOURCE,
    ),
    most=1,
    reads_defaults=False,
    own=True,
)
def verify(call: Call) -> None:
    """verify that nothing in the audit log was changed

    Without an argument it reads the database, not the server: every event is hashed again and compared with the
    tree, the signed heads, the certificates and the revocations. With one, the files of `ca audit export` (a file, a
    folder, - for stdin). The status is 0 when nothing is wrong, and 1 otherwise.
    """
    if call.text("proof") and call.arguments:
        raise CommandError("flag '--proof' is incompatible with '<export>'")
    report = _verify(call)
    output.data(_as_json(report) if call.switch("json") else _as_text(report))
    if not report.passed:
        count = len(report.findings) + report.more
        raise CommandError(f"the audit log is not as it was: {count} {'finding' if count == 1 else 'findings'}")


def _verify(call: Call) -> LogReport:
    if call.text("proof"):
        return _verify_proof(call)
    auditor = Auditor(
        now=int(datetime.now(UTC).timestamp()),
        kept=tuple(map(read_head, call.texts("head"))),
        anchors=tuple(each for path in call.texts("root") for each in read_certificates(path)),
        signatures=not call.switch("fast"),
        accept_restores=call.switch("accept-restores"),
    )
    if call.arguments:
        names = exported_files(call.arguments[0])
        if not names:
            raise CommandError(f"{call.arguments[0]} holds no file of an export")
        return verify_export([(name, _lines(name)) for name in names], auditor)
    with reading(call) as store, shown_progress("Verifying", hidden=call.switch("json")) as progress:
        return store.run(verify_log(store.archive, replace(auditor, progress=progress)))


def _verify_proof(call: Call) -> LogReport:
    try:
        proof = parse_proof(files.read_file(call.text("proof")))
    except Malformed as error:
        raise CommandError(f"{call.text('proof')}: {error.detail}") from error
    anchors = [each for path in call.texts("root") for each in read_certificates(path)]
    kept = [read_head(path) for path in call.texts("head")]
    if isinstance(proof, ConsistencyProof):
        if call.text("cert"):
            raise CommandError("the proof is about two heads, not about a certificate")
        signers = Signers([proof.older.issuer, proof.newer.issuer], anchors)
        return verify_consistency_proof(proof, signers, kept=kept)
    if len(kept) > 1:
        raise CommandError("a proof is verified under one head")
    certificates = read_certificates(call.text("cert")) if call.text("cert") else ()
    if call.text("cert") and not certificates:
        raise CommandError(f"{call.text('cert')} holds no certificate")
    return verify_proof(
        proof,
        Signers([proof.issuer], anchors),
        kept=kept[0] if kept else None,
        certificate=certificates[0].der if certificates else None,
    )


def _lines(name: str) -> Iterator[bytes]:
    if name == "-":
        yield from sys.stdin.buffer
        return
    try:
        with open(name, "rb") as file:
            yield from file
    except OSError as error:
        raise CommandError(f"open {name} failed: {system_text(error)}") from error


def _as_text(report: LogReport) -> str:
    lines = [printable(str(finding)) for finding in report.findings]
    if report.more:
        lines.append(f"... and {report.more} findings more")
    lines += [f"note: {printable(note)}" for note in report.notes]
    lines += [f"signed by issuer {fingerprint}" for fingerprint in report.issuers]
    counts = (
        (report.events, "event"),
        (report.heads, "head"),
        (report.certificates, "certificate"),
        (report.revocations, "revocation"),
    )
    seen = ", ".join(f"{count} {word if count == 1 else word + 's'}" for count, word in counts if count)
    mark, colour, label = ("✔", "\033[32m", "Intact") if report.passed else ("✗", "\033[31m", "Not intact")
    lines.append(output.marked(mark, colour, label, f"{seen or 'an empty log'} of {report.authority}", sys.stdout))
    return "\n".join(lines)


def _as_json(report: LogReport) -> str:
    document = {
        "ok": report.passed,
        "authority": report.authority,
        "size": report.size,
        "events": report.events,
        "heads": report.heads,
        "certificates": report.certificates,
        "revocations": report.revocations,
        "newestHead": report.newest_head.decode("ascii", "replace"),
        "issuers": report.issuers,
        "findings": report.findings,
        "moreFindings": report.more,
        "notes": report.notes,
    }
    return msgspec.json.encode(document).decode()
