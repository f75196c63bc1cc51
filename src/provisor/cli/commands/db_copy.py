"""`db copy`: from a file to a PostgreSQL server, or to another file."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from provisor.cli import output
from provisor.cli.audit import SOURCE
from provisor.cli.database import as_table, counted, existing_file, find_database, shown_progress
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, switch, text
from provisor.storage.backup import back_up
from provisor.storage.locate import WriterLock
from provisor.storage.postgresql.dsn import Target, parse_target

_SERVER = ("postgresql://", "postgres://")


class _Made(Struct, frozen=True):
    target: str
    rows: dict[str, int]
    digest: str = ""


@command(
    "db copy",
    usage="--to <database>",
    flags=(
        text("to", metavar="file|URL", help="an empty database: a new file, or postgresql://user@host/name"),
        text("database", metavar="name", help="the name of the database on the server, if the URL has none"),
        text("database-password-file", metavar="file", help="file with the password of the server's database"),
        switch("json", help="what was copied, as JSON"),
        *SOURCE,
    ),
    reads_defaults=False,
    own=True,
)
def copy(call: Call) -> None:
    """copy everything into another, empty database

    Spent tokens, revocations, the numbers of lists, the epoch, the authority's id and the audit log in its order come
    along. Not while a server runs: what it would still write would be lost. Every row is compared at the end.
    """
    to = call.required("to")
    place = find_database(call)
    if isinstance(place, Target):
        raise CommandError("only a database in a file can be copied")
    source = existing_file(place)
    lock = WriterLock(source)
    try:
        made = _to_server(call, source, to) if to.startswith(_SERVER) else _to_file(call, source, Path(to))
    finally:
        lock.release()
    if call.switch("json"):
        output.data(msgspec.json.encode(made).decode())
        return
    digest = [("digest", made.digest)] if made.digest else []
    output.data(as_table([("to", made.target), *counted(made.rows), *digest]))


def _to_file(call: Call, source: Path, target: Path) -> _Made:
    if target.exists():
        raise CommandError(f"{target} is there already")
    with shown_progress("Copying", hidden=call.switch("json")) as progress:
        copied = back_up(source, target, now=int(datetime.now(UTC).timestamp()), progress=progress)
    return _Made(copied.path, copied.rows)


def _to_server(call: Call, source: Path, url: str) -> _Made:
    from provisor.storage.postgresql.copy import copy_to_server

    target = parse_target(url, call.text("database"), password_file=call.text("database-password-file"))
    with shown_progress("Copying", hidden=call.switch("json")) as progress:
        moved = asyncio.run(copy_to_server(source, target, progress=progress))
    return _Made(moved.target, moved.rows, moved.digest)
