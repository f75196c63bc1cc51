"""`db check`: pages, rows, index and log of a database."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from provisor.app.db_check import Checked, Depth, check_database
from provisor.cli import output
from provisor.cli.audit import SOURCE, reading
from provisor.cli.database import as_table, counted, find_database, shown_progress
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, Flag, FlagKind, command, switch
from provisor.cli.rows import printable

SAMPLE = Flag(
    names=("sample",),
    kind=FlagKind.INT,
    metavar="number",
    help="compare the rows of about so many certificates only (default: all)",
    ignores_environment=True,
)
NO_SIGNATURES = switch("no-signatures", help="do not verify the signature of every certificate")
_SHOWN = 50


def depth_of(call: Call) -> Depth:
    """Raises `CommandError`."""
    sample = call.number("sample") if call.is_set("sample") else None
    if sample is not None and sample < 1:
        raise CommandError("flag '--sample' must be at least 1")
    return Depth(signatures=not call.switch("no-signatures"), sample=sample)


@command(
    "db check",
    usage="",
    flags=(SAMPLE, NO_SIGNATURES, switch("json", help="the report as JSON"), *SOURCE),
    reads_defaults=False,
    own=True,
)
def check(call: Call) -> None:
    """check the database, its rows and its log

    Reads it while it may be in use: the pages of the file, every row against the certificate in it, the index, and
    the audit log with what its events say. The status is 0 when nothing is wrong, and 1 otherwise.
    """
    place = find_database(call)
    now = int(datetime.now(UTC).timestamp())
    path = place if isinstance(place, Path) else None
    with reading(call) as store, shown_progress("Checking", hidden=call.switch("json")) as progress:
        checked = store.run(check_database(store.archive, path, now=now, depth=depth_of(call), progress=progress))
    output.data(msgspec.json.encode(checked).decode() if call.switch("json") else as_text(checked))
    if not checked.passed:
        count = len(checked.faults)
        raise CommandError(f"the database is not as it was: {count} {'fault' if count == 1 else 'faults'}")


def as_text(checked: Checked) -> str:
    """The report for people."""
    lines = [output.marked("✗", "\033[31m", fault.where, printable(fault.text), sys.stdout) for fault in checked.faults]
    if len(lines) > _SHOWN:
        lines = [*lines[:_SHOWN], f"... and {len(lines) - _SHOWN} more; --json shows all"]
    lines += [f"note: {printable(note)}" for note in checked.notes]
    if checked.passed:
        seen = f"{checked.certificates} certificates compared, {checked.events} events of the audit log verified"
        lines.append(output.marked("✔", "\033[32m", "Sound", seen, sys.stdout))
    if checked.rows:
        lines.append(as_table(counted(checked.rows)))
    return "\n".join(lines)
