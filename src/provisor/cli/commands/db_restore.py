"""`db restore`: a backup in the place of the database."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from provisor.app.db_restore import Lost, Restored, Wish, restore_server
from provisor.app.db_restore import restore as restore_file
from provisor.cli import output
from provisor.cli.audit import SOURCE
from provisor.cli.commands.db_check import NO_SIGNATURES, SAMPLE, as_text, depth_of
from provisor.cli.database import as_table, find_database, instant, shown_progress
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, Flag, command, switch
from provisor.storage.postgresql.dsn import Target

_SHOWN = 20


@command(
    "db restore",
    usage="<backup>",
    flags=(
        switch("f", "force", help="even if the database is newer than the backup, or of another authority"),
        switch("check-only", help="look at the backup, change nothing"),
        SAMPLE,
        NO_SIGNATURES,
        Flag(
            names=("issued-after",),
            metavar="file",
            many=True,
            ignores_environment=True,
            help="what may tell of certificates issued since: a log, exported events, a database; may be repeated",
        ),
        switch("json", help="the report as JSON"),
        *SOURCE,
    ),
    least=1,
    most=1,
    reads_defaults=False,
    own=True,
)
def restore(call: Call) -> None:
    """go on from a backup

    Not while a server runs. Every row of the backup is compared with its certificate and the audit log verified;
    then tokens issued until now are refused, revocation lists and epochs get higher numbers, and the log says that it
    goes on from an earlier moment. What is known to have been issued since is listed: nobody else remembers it.
    """
    place = find_database(call)
    wish = Wish(
        depth=depth_of(call),
        force=call.switch("force"),
        check_only=call.switch("check-only"),
        tellers=tuple(map(Path, call.texts("issued-after"))),
    )
    backup, now = Path(call.arguments[0]), datetime.now(UTC)
    with shown_progress("Checking" if wish.check_only else "Restoring", hidden=call.switch("json")) as progress:
        if isinstance(place, Target):
            restored = restore_server(backup, place, wish, now=now, progress=progress)
        else:
            restored = restore_file(backup, place, wish, now=now, progress=progress)
    if call.switch("json"):
        output.data(msgspec.json.encode(restored).decode())
    else:
        _print(restored, place.shown if isinstance(place, Target) else str(place))
    if not restored.checked.passed:
        count = len(restored.checked.faults)
        raise CommandError(f"the backup does not hold: {count} {'fault' if count == 1 else 'faults'}")


def _print(restored: Restored, place: str) -> None:
    output.data(as_text(restored.checked))
    rows = [
        ("backup of", instant(restored.backup_at)),
        ("audit log", f"{restored.backup.log_end} events, the newest signed head over {restored.backup.log_size}"),
    ]
    if restored.changes is not None:
        changes = restored.changes
        rows += [
            ("database", place),
            ("the old one", restored.set_aside or "there was none"),
            ("tokens", f"refused if issued before {instant(changes.tokens_not_before)}"),
            ("epoch", str(changes.epoch)),
            *((f"list of {issuer[:16]}", f"goes on above {number}") for issuer, number in changes.crl_numbers.items()),
        ]
    output.data("\n" + as_table(rows))
    output.data("\n" + "\n".join(_lost_lines(restored.lost)))


def _lost_lines(lost: Lost) -> list[str]:
    lines = [
        f"Unknown: whatever was issued or revoked from {instant(lost.since)} to {instant(lost.until)}.",
        f"Serials given out in that time are from {lost.first_serial} to {lost.last_serial}.",
    ]
    if lost.sources:
        end = ":" if lost.issued else "."
        lines.append(f"Of certificates issued since, {', '.join(lost.sources)} tell {len(lost.issued) or 'none'}{end}")
        lines += [f"  {serial}" for serial in lost.issued[:_SHOWN]]
        if len(lost.issued) > _SHOWN:
            lines.append(f"  ... and {len(lost.issued) - _SHOWN} more; --json shows all")
    if lost.revocations:
        lines.append(f"Revocations that are to be made again: {len(lost.revocations)}")
        lines += [
            f"  {each.serial} (reason {each.reason_code}, {instant(each.revoked_at)})"
            for each in lost.revocations[:_SHOWN]
        ]
    return lines
