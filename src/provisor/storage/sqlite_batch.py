"""What SQLite answers while a batch is judged, and how it takes the batch in."""

from __future__ import annotations

import sqlite3
from typing import TypeVar, assert_never, final

from provisor.ports import (
    AppendLog,
    DropEvents,
    DropExpired,
    DropHeads,
    DropReceipts,
    DropSpentTokens,
    EntryID,
    IndexTerms,
    IssuerID,
    JobRecord,
    PutCRL,
    PutHead,
    PutIssuer,
    PutMeta,
    RecordRevocation,
    ScheduleJob,
    SpendToken,
    TakeLease,
    WakeJob,
    Write,
)
from provisor.storage import archive_log, queries
from provisor.storage.judging import INDEXED, Place, Recorded, Row, Rows
from provisor.storage.sqlite_retention import drop_events, drop_expired, drop_receipts
from provisor.storage.token_days import drop_tokens, insert_tokens

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

    def log_size(self) -> int:
        return archive_log.log_size(self._connection)

    def head_size(self) -> int:
        return archive_log.head_size(self._connection)


_REVOKED = "SELECT 1 FROM revocations WHERE issuer_n = ? AND serial = ?"
_ISSUED = (
    "SELECT 1 FROM certificates WHERE issuer_n = ? AND serial = ?"
    " UNION ALL SELECT 1 FROM expired_certificates WHERE issuer_n = ? AND serial = ?"
)


def insert_certificates(connection: sqlite3.Connection, rows: Rows) -> None:
    """Sorted by key: neighbours share pages."""
    if not rows.certificates:
        return
    numbers: dict[Row, int] = {}
    values: list[Row] = []
    for place in sorted(rows.certificates):
        row = rows.certificates[place]
        provisioner = row[_PROVISIONER]
        number = numbers.get(provisioner)
        if number is None:
            number = numbers[provisioner] = _number_provisioner(connection, provisioner)
        values.append((*row[: _PROVISIONER.start], number, *row[_PROVISIONER.stop :]))
    if connection.executemany(_INSERT_CERTIFICATE, values).rowcount != len(values):
        raise sqlite3.IntegrityError("a serial is that of a certificate that expired")


def _number_provisioner(connection: sqlite3.Connection, provisioner: Row) -> int:
    """The short number of a provisioner's id, name and kind."""
    row = connection.execute(_FIND_PROVISIONER, provisioner).fetchone()
    if row is None:
        connection.execute("INSERT INTO provisioners (id, name, kind) VALUES (?, ?, ?)", provisioner)
        row = connection.execute(_FIND_PROVISIONER, provisioner).fetchone()
    return int(row[0])


def insert_rows(connection: sqlite3.Connection, rows: Rows, now: int) -> None:
    """All but the certificates. `now` is in unix seconds."""
    _insert(connection, _INSERT_REVOCATION, rows.revocations)
    if rows.tokens:
        insert_tokens(connection, rows.tokens, now)
    if rows.events:
        # In the order of arrival, which is the order of the log.
        events = enumerate(rows.events.values(), start=archive_log.next_place(connection))
        connection.executemany(_INSERT_EVENT, [(n, *row) for n, row in events])
    _insert(connection, "INSERT INTO receipts (id) VALUES (?)", rows.receipts)


# Columns are named: a newer program may have added some that have defaults.
_INSERT_CERTIFICATE = (
    "INSERT INTO certificates (issuer_n, serial, lineage, predecessor, not_before, not_after, provisioner_n,"
    " csr_digest, crl_shard, der) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10"
    " WHERE NOT EXISTS (SELECT 1 FROM expired_certificates WHERE issuer_n = ?1 AND serial = ?2)"
)
_PROVISIONER = slice(6, 9)
"""Where `Rows.certificates` has id, name and kind of the provisioner."""

_FIND_PROVISIONER = "SELECT n FROM provisioners WHERE id = ? AND name = ? AND kind = ?"
_INSERT_EVENT = "INSERT INTO events (n, id, issuer_n, serial, body) VALUES (?, ?, ?, ?, ?)"
_INSERT_REVOCATION = (
    "INSERT INTO revocations (issuer_n, serial, reason_code, reason, revoked_at, expires, provisioner_id, token_id,"
    " mtls) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_PUT_META = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_PUT_CRL = (
    "INSERT INTO crls (issuer_n, number, this_update, next_update, der) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (issuer_n) DO UPDATE SET number = excluded.number, this_update = excluded.this_update,"
    " next_update = excluded.next_update, der = excluded.der"
)


def _insert(connection: sqlite3.Connection, statement: str, rows: dict[K, Row]) -> None:
    if rows:
        connection.executemany(statement, [rows[key] for key in sorted(rows)])


def apply(connection: sqlite3.Connection, write: Write) -> None:
    """A write that is no appended row."""
    match write:
        case PutMeta():
            connection.execute(_PUT_META, (write.key, write.value))
        case PutIssuer():
            query = (
                "INSERT INTO issuers (id, certificate, state) VALUES (?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET state = excluded.state"
            )
            connection.execute(query, (write.id, write.certificate, write.state))
        case PutCRL():
            number = queries.find_issuer_number(connection, write.issuer)
            values = (number, write.number, write.this_update, write.next_update, write.der)
            connection.execute(_PUT_CRL, values)
        case DropSpentTokens():
            drop_tokens(connection, write.before, write.limit)
        case DropReceipts():
            drop_receipts(connection, write.before, max(0, write.limit))
        case DropExpired():
            drop_expired(connection, write)
        case DropEvents():
            drop_events(connection, write)
        case TakeLease() | ScheduleJob() | WakeJob():
            _change_job(connection, write)
        case IndexTerms():
            # In their order: neighbours share pages.
            connection.executemany("INSERT OR IGNORE INTO terms (term, n) VALUES (?, ?)", sorted(write.terms))
            connection.execute(_PUT_META, (INDEXED, str(write.upto)))
        case AppendLog():
            archive_log.append(connection, write)
        case PutHead():
            head = (write.size, write.at, write.text, write.signature)
            connection.execute("INSERT INTO log_heads (size, at, text, signature) VALUES (?, ?, ?, ?)", head)
        case DropHeads():
            newest = archive_log.head_size(connection)
            connection.executemany("DELETE FROM log_heads WHERE size = ?", [(s,) for s in write.sizes if s != newest])
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
