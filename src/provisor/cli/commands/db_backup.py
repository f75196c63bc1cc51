"""`db backup`: a copy of one moment, of a file by SQLite's own means, of a server's database by pg_dump."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from provisor.cli import output
from provisor.cli.audit import SOURCE
from provisor.cli.database import as_table, counted, existing_file, find_database, instant, shown_progress, size
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, switch
from provisor.storage.backup import Copied, back_up
from provisor.storage.postgresql.dsn import Target
from provisor.storage.postgresql.dump import dump


@command(
    "db backup",
    usage="<file>|<folder>",
    flags=(
        switch("f", "force", help="replace a file that is there"),
        switch("fast", help="do not look at every page of the copy"),
        switch("json", help="what was written, as JSON"),
        *SOURCE,
    ),
    least=1,
    most=1,
    reads_defaults=False,
    own=True,
)
def backup(call: Call) -> None:
    """copy the database while it is in use

    Copies it as it is at one moment, without holding up the server; the file appears when it is whole and was
    looked at. In a folder it is named after the time. A database on a PostgreSQL server is written by its own pg_dump.
    """
    now = datetime.now(UTC)
    place = find_database(call)
    target = _target(call.arguments[0], place, now)
    if target.exists() and not call.switch("force"):
        raise CommandError(f"{target} is there already: --force to replace it")
    if isinstance(place, Target):
        _dump(call, place, target, int(now.timestamp()))
        return
    with shown_progress("Copying", hidden=call.switch("json")) as progress:
        copied = back_up(
            existing_file(place), target, now=int(now.timestamp()), progress=progress, verify=not call.switch("fast")
        )
    _print(call, copied)


def _target(argument: str, place: Path | Target, now: datetime) -> Path:
    path = Path(argument)
    if not path.is_dir():
        return path
    ending = "dump" if isinstance(place, Target) else "db"
    return path / f"provisor-{now:%Y%m%dT%H%M%SZ}.{ending}"


def _print(call: Call, copied: Copied) -> None:
    if call.switch("json"):
        output.data(msgspec.json.encode(copied).decode())
        return
    position = copied.position
    rows = [
        ("file", copied.path),
        ("size", size(copied.octets)),
        ("time", instant(copied.at)),
        ("authority", position.authority),
        ("schema", str(position.schema)),
        ("epoch", str(position.epoch)),
        ("audit log", f"{position.log_end} events, the newest signed head over {position.log_size}"),
        *counted(copied.rows),
    ]
    output.data(as_table(rows))
    if position.head:
        output.data(f"\n{position.head}", end="")


def _dump(call: Call, database: Target, target: Path, now: int) -> None:
    with shown_progress("Dumping", hidden=call.switch("json")) as progress:
        dumped = dump(database, target, now=now, progress=progress)
    if call.switch("json"):
        output.data(msgspec.json.encode(dumped).decode())
        return
    rows = [("file", dumped.path), ("size", size(dumped.octets)), ("time", instant(dumped.at))]
    output.data(as_table([*rows, ("database", dumped.database), ("tables", str(dumped.tables))]))
