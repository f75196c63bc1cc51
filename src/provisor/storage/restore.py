"""What has to change in a database of an earlier moment before a CA may go on with it.

What happened since is unknown, but it happened: tokens were spent, numbers of revocation lists given out, epochs
passed, and heads of the log signed and taken away.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from provisor.ports import EntryID, IssuerID, LogFork
from provisor.storage.archive_log import FORKS, log_forks, next_place
from provisor.storage.backup import BACKUP_AT, Position, read_position
from provisor.storage.encoding import decode_serial
from provisor.storage.judging import EPOCH, HIGH_WATER, TOKENS_NOT_BEFORE

LEEWAY: Final = 61
"""Seconds that a token's time may lie ahead of its use, and one: what is issued later cannot have been used before."""

STEP: Final = 1000
"""Added to every number beside the seconds that have passed: no list and no epoch is made twice a second."""


class Changes(Struct, frozen=True):
    """What was set. Tokens issued before `tokens_not_before` (unix seconds) are refused from now on."""

    tokens_not_before: int
    epoch: int
    crl_numbers: dict[str, int]
    fork: LogFork


class Issued(Struct, frozen=True):
    """A certificate that a database records and the other one does not."""

    issuer: IssuerID
    serial: int
    not_after: int
    place: int


def made_at(connection: sqlite3.Connection) -> int:
    """When a database was copied, or last written if it is no copy (unix seconds)."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (BACKUP_AT,)).fetchone()
    return int(row[0]) if row is not None else read_position(connection).high_water


def go_on(connection: sqlite3.Connection, *, now: int, entry: EntryID, event: bytes) -> Changes:
    """Make the database one to go on with, in one transaction. `event` tells of it in the log, under the id `entry`.

    It has the first place behind those of the backup.

    Raises `sqlite3.Error`.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        changes = _change(connection, now)
        place = next_place(connection)
        connection.execute("INSERT INTO events (n, id, body) VALUES (?, ?, ?)", (place, entry, event))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return changes


def _change(connection: sqlite3.Connection, now: int) -> Changes:
    position, copied_at = read_position(connection), made_at(connection)
    passed = max(0, now - min(copied_at, position.high_water or copied_at)) + STEP
    epoch = position.epoch + passed
    numbers = dict(_jump_lists(connection, passed, now))
    fork = LogFork(position.log_end, now, copied_at)
    not_before = max(now, position.high_water) + LEEWAY
    metas = (
        (TOKENS_NOT_BEFORE, str(not_before)),
        (EPOCH, str(epoch)),
        (HIGH_WATER, str(max(now, position.high_water))),
        (FORKS, msgspec.json.encode([*_forks(connection), fork]).decode()),
    )
    connection.executemany("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", metas)
    connection.execute("DELETE FROM meta WHERE key = ?", (BACKUP_AT,))
    # Nobody holds a lease of that time any more; lists are due at once, whatever they waited for.
    connection.execute("UPDATE jobs SET leased_until = 0, fence = fence + ?, woken = NULL", (passed,))
    connection.execute("UPDATE jobs SET due = min(due, ?) WHERE kind = 'crl'", (now,))
    return Changes(not_before, epoch, numbers, fork)


def _forks(connection: sqlite3.Connection) -> list[LogFork]:
    return msgspec.json.decode(log_forks(connection) or "[]", type=list[LogFork])


def _jump_lists(connection: sqlite3.Connection, passed: int, now: int) -> Iterator[tuple[str, int]]:
    """The next list of every issuer has a number that none since can have had. The list itself stays until then.

    An issuer that had none gets a place for one, over already.
    """
    connection.execute(
        "INSERT INTO crls (issuer_n, number, this_update, next_update, der)"
        " SELECT n, 0, 0, 0, x'' FROM issuers WHERE n NOT IN (SELECT issuer_n FROM crls)"
    )
    rows = connection.execute(
        "SELECT c.issuer_n, i.id, c.number FROM crls c JOIN issuers i ON i.n = c.issuer_n"
    ).fetchall()
    for n, issuer, number in rows:
        connection.execute("UPDATE crls SET number = ? WHERE issuer_n = ?", (number + passed, n))
        connection.execute(
            "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)",
            (f"crl-number-{issuer.hex()}", str(number + passed)),
        )
        yield issuer.hex(), number + passed


# -- what is unknown now --------------------------------------------------------------------------------


def issued_after(connection: sqlite3.Connection, place: int) -> Iterator[Issued]:
    """Certificates that have a place in the log behind this one. Raises `sqlite3.Error`."""
    rows = connection.execute(
        "SELECT i.id, c.serial, c.not_after, e.n FROM events e JOIN certificates c"
        " ON c.issuer_n = e.issuer_n AND c.serial = e.serial JOIN issuers i ON i.n = c.issuer_n"
        " WHERE e.n > ? ORDER BY e.n",
        (place,),
    )
    for issuer, serial, end, n in rows:
        yield Issued(issuer, decode_serial(serial), end, n)


def revoked_after(connection: sqlite3.Connection, at: int) -> list[tuple[IssuerID, int, int, int]]:
    """Issuer, serial, reason and time of revocations since `at` (unix seconds). Raises `sqlite3.Error`."""
    rows = connection.execute(
        "SELECT i.id, r.serial, r.reason_code, r.revoked_at FROM revocations r JOIN issuers i ON i.n = r.issuer_n"
        " WHERE r.revoked_at >= ? ORDER BY r.revoked_at",
        (at,),
    )
    return [(issuer, decode_serial(serial), code, when) for issuer, serial, code, when in rows]


def serials_between(since: int, until: int) -> tuple[int, int]:
    """Serials that were given out between these times (unix seconds): they begin with the millisecond."""
    return (since * 1000) << 80, ((until * 1000) << 80) - 1


def is_newer(there: Position, backup: Position) -> bool:
    """Whether something would be lost."""
    return there.authority == backup.authority and (there.log_end, there.high_water) > (
        backup.log_end,
        backup.high_water,
    )


def files_of(database: Path) -> tuple[Path, ...]:
    """The file, its log, and the index of that."""
    return tuple(database.with_name(database.name + suffix) for suffix in ("", "-wal", "-shm"))
