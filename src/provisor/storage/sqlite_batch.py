"""What SQLite answers while a batch is judged, and how it takes the batch in."""

from __future__ import annotations

import sqlite3
from typing import TypeVar, assert_never, final

from provisor.ports import (
    DropSpentTokens,
    EntryID,
    IssuerID,
    JobRecord,
    PutCRL,
    PutIssuer,
    PutMeta,
    RecordRevocation,
    ScheduleJob,
    SpendToken,
    TakeLease,
    WakeJob,
    Write,
)
from provisor.storage import queries
from provisor.storage.judging import Place, Recorded, Row, Rows

K = TypeVar("K", bytes, Place)


@final
class SQLiteFacts:
    """`judging.Facts`, each asked when it is wanted: of the one writer nothing is hidden."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def find_recorded(self, entry: EntryID) -> Recorded | None:
        return queries.find_recorded(self._connection, entry)

    def find_issuer_number(self, issuer: IssuerID) -> int | None:
        return queries.find_issuer_number(self._connection, issuer)

    def is_spent(self, key: bytes) -> bool:
        return queries.has_token(self._connection, key)

    def is_revoked(self, place: Place) -> bool:
        return self._connection.execute(_REVOKED, place).fetchone() is not None

    def has_serial(self, place: Place) -> bool:
        return self._connection.execute(_ISSUED, (*place, *place)).fetchone() is not None

    def find_meta(self, key: str) -> str | None:
        return queries.find_meta(self._connection, key)

    def find_job(self, kind: str, key: str) -> JobRecord | None:
        return queries.find_job(self._connection, kind, key)

    def find_crl_number(self, issuer: IssuerID) -> int | None:
        return queries.find_crl_number(self._connection, issuer)


_REVOKED = "SELECT 1 FROM revocations WHERE issuer_n = ? AND serial = ?"
_ISSUED = (
    "SELECT 1 FROM certificates WHERE issuer_n = ? AND serial = ?"
    " UNION ALL SELECT 1 FROM expired_certificates WHERE issuer_n = ? AND serial = ?"
)


def insert_certificates(connection: sqlite3.Connection, rows: Rows) -> None:
    """Sorted by key: neighbours share pages."""
    _insert(connection, "INSERT INTO certificates VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows.certificates)


def insert_rows(connection: sqlite3.Connection, rows: Rows) -> None:
    """All but the certificates."""
    _insert(connection, "INSERT INTO revocations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows.revocations)
    _insert(connection, "INSERT INTO tokens VALUES (?, ?, ?, ?)", rows.tokens)
    # In the order of arrival, which is the order of the log.
    connection.executemany("INSERT INTO events (id, issuer_n, serial, body) VALUES (?, ?, ?, ?)", rows.events.values())
    _insert(connection, "INSERT INTO receipts VALUES (?)", rows.receipts)


def _insert(connection: sqlite3.Connection, statement: str, rows: dict[K, Row]) -> None:
    if rows:
        connection.executemany(statement, [rows[key] for key in sorted(rows)])


def apply(connection: sqlite3.Connection, write: Write) -> None:
    """A write that is no appended row."""
    match write:
        case PutMeta():
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (write.key, write.value))
        case PutIssuer():
            query = (
                "INSERT INTO issuers (id, certificate, state) VALUES (?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET state = excluded.state"
            )
            connection.execute(query, (write.id, write.certificate, write.state))
        case PutCRL():
            number = queries.find_issuer_number(connection, write.issuer)
            values = (number, write.number, write.this_update, write.next_update, write.der)
            connection.execute("INSERT OR REPLACE INTO crls VALUES (?, ?, ?, ?, ?)", values)
        case DropSpentTokens():
            query = (
                "DELETE FROM tokens WHERE key IN (SELECT key FROM tokens WHERE expires < ? ORDER BY expires LIMIT ?)"
            )
            connection.execute(query, (write.before, max(0, write.limit)))
        case TakeLease() | ScheduleJob() | WakeJob():
            _change_job(connection, write)
        case SpendToken() | RecordRevocation():
            raise AssertionError("an appended row")
        case _:
            assert_never(write)


def _change_job(connection: sqlite3.Connection, write: TakeLease | ScheduleJob | WakeJob) -> None:
    match write:
        case TakeLease():
            connection.execute(
                "UPDATE jobs SET leased_until = ?, fence = fence + 1, woken = NULL WHERE kind = ? AND key = ?",
                (write.until, write.kind, write.key),
            )
        case ScheduleJob():
            connection.execute(
                "INSERT INTO jobs (kind, key, due) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET"
                " due = min(excluded.due, ifnull(woken, excluded.due)), leased_until = 0, woken = NULL",
                (write.kind, write.key, write.due),
            )
        case WakeJob():
            # leased_until is 0 from the end of one run to the lease of the next: only between, a wake is kept.
            connection.execute(
                "INSERT INTO jobs (kind, key, due) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET"
                " due = min(due, excluded.due),"
                " woken = CASE WHEN leased_until > 0 THEN min(ifnull(woken, excluded.due), excluded.due) END",
                (write.kind, write.key, write.due),
            )
