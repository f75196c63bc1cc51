"""What the inventory asks of SQLite: one function a question, over any connection to the database.

Every question is a range of an index, `limit` rows of it: what it costs does not grow with the store.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

from provisor.core.terms import lineage_term
from provisor.ports import (
    CertificateRecord,
    ExpiredRecord,
    IndexReach,
    InventoryRow,
    IssuerID,
    RevocationDetail,
    StoreFacts,
    TermPlace,
    Unindexed,
)
from provisor.storage import queries
from provisor.storage.archive_log import log_end
from provisor.storage.encoding import decode_serial, encode_serial
from provisor.storage.judging import INDEXED

COUNTED_TO: Final = 100_000
_LAST_PLACE: Final = 2**63 - 1

_CERTIFICATE: Final = (
    "i.id, c.serial, c.not_before, c.not_after, p.id, p.name, p.kind, c.lineage, c.predecessor, c.csr_digest, c.der"
)
_REVOCATION: Final = "r.revoked_at, r.reason_code, r.reason, r.provisioner_id, r.token_id, r.mtls"
_ROW: Final = f"{_CERTIFICATE}, {_REVOCATION}"
_NAMED: Final = "JOIN issuers i ON i.n = c.issuer_n JOIN provisioners p ON p.n = c.provisioner_n"
_WITH_REVOCATION: Final = f" {_NAMED} LEFT JOIN revocations r ON r.issuer_n = c.issuer_n AND r.serial = c.serial"
# CROSS JOIN: in this order, by the range that was asked for; the planner knows no figures of the tables.
_OF_EVENT: Final = f" CROSS JOIN certificates c ON c.issuer_n = e.issuer_n AND c.serial = e.serial{_WITH_REVOCATION}"
_BY_TERM: Final = f"SELECT {_ROW}, e.n, e.body, t.term FROM terms t CROSS JOIN events e ON e.n = t.n{_OF_EVENT}"


def index_reach(connection: sqlite3.Connection) -> IndexReach:
    return IndexReach(_indexed(connection), log_end(connection))


def _indexed(connection: sqlite3.Connection) -> int:
    return int(queries.find_meta(connection, INDEXED) or "0")


def unindexed(connection: sqlite3.Connection, after: int, limit: int) -> Unindexed:
    (upto,) = connection.execute(
        "SELECT ifnull(max(n), ?1) FROM (SELECT n FROM events WHERE n > ?1 AND n <= ?3 ORDER BY n LIMIT ?2)",
        (after, limit, log_end(connection)),
    ).fetchone()
    return Unindexed(upto, tuple(_logged(connection, after, upto)))


def _logged(connection: sqlite3.Connection, after: int, upto: int) -> Iterable[InventoryRow]:
    """Certificates of the log behind `after`, up to `upto`, in its order. Nobody asks whether they are revoked."""
    query = (
        f"SELECT {_CERTIFICATE}, NULL, NULL, NULL, NULL, NULL, NULL, e.n, e.body, x'' FROM events e"
        " CROSS JOIN certificates c ON c.issuer_n = e.issuer_n AND c.serial = e.serial"
        f" {_NAMED} WHERE e.n > ? AND e.n <= ? ORDER BY e.n"
    )
    return (_row(values) for values in connection.execute(query, (after, upto)))


def issued_newest(connection: sqlite3.Connection, before: int | None, limit: int) -> Sequence[InventoryRow]:
    query = f"SELECT {_ROW}, e.n, e.body, x'' FROM events e{_OF_EVENT} WHERE e.n < ? ORDER BY e.n DESC LIMIT ?"
    return _rows(connection, query, (_LAST_PLACE if before is None else before, limit))


def issued_with_term(
    connection: sqlite3.Connection, term: bytes, before: int | None, limit: int
) -> Sequence[InventoryRow]:
    query = f"{_BY_TERM} WHERE t.term = ? AND t.n < ? ORDER BY t.n DESC LIMIT ?"
    return _rows(connection, query, (term, _LAST_PLACE if before is None else before, limit))


def issued_in_range(
    connection: sqlite3.Connection, low: bytes, high: bytes, after: TermPlace | None, limit: int
) -> Sequence[InventoryRow]:
    start = TermPlace(low, 0) if after is None or after.term < low else after
    query = f"{_BY_TERM} WHERE (t.term, t.n) > (?, ?) AND t.term < ? ORDER BY t.term, t.n LIMIT ?"
    return _rows(connection, query, (start.term, start.place, high, limit))


def issued_revoked(
    connection: sqlite3.Connection, before: tuple[IssuerID, int] | None, limit: int
) -> Sequence[InventoryRow]:
    where, values = "", tuple[Any, ...]()
    if before is not None:
        where = " WHERE (r.issuer_n, r.serial) < (?, ?)"
        values = (queries.find_issuer_number(connection, before[0]), encode_serial(before[1]))
    query = (
        f"SELECT {_ROW}, NULL, x'', x'' FROM revocations r"
        " CROSS JOIN certificates c ON c.issuer_n = r.issuer_n AND c.serial = r.serial"
        f" {_NAMED}{where} ORDER BY r.issuer_n DESC, r.serial DESC LIMIT ?"
    )
    return _rows(connection, query, (*values, limit))


def find_issued(connection: sqlite3.Connection, issuer: IssuerID, serial: int) -> InventoryRow | None:
    number, key = queries.find_issuer_number(connection, issuer), encode_serial(serial)
    query = f"SELECT {_ROW}, NULL, x'', x'' FROM certificates c{_WITH_REVOCATION} WHERE c.issuer_n = ? AND c.serial = ?"
    found = _rows(connection, query, (number, key))
    if not found:
        return None
    (row,) = found
    event = _find_event(connection, number, key, row.certificate.lineage)
    if event is None:
        return row
    return InventoryRow(row.certificate, row.revocation, event[0], event[1])


def _find_event(
    connection: sqlite3.Connection, issuer: int | None, serial: bytes, lineage: int
) -> tuple[int, bytes] | None:
    """Where the log has a certificate: among its line, or in what the index does not know yet."""
    found = connection.execute(
        "SELECT e.n, e.body FROM terms t CROSS JOIN events e ON e.n = t.n"
        " WHERE t.term = ? AND e.issuer_n = ? AND e.serial = ?",
        (lineage_term(lineage), issuer, serial),
    ).fetchone()
    if found is None:
        found = connection.execute(
            "SELECT n, body FROM events WHERE n > ? AND issuer_n = ? AND serial = ?",
            (_indexed(connection), issuer, serial),
        ).fetchone()
    return None if found is None else (found[0], found[1])


def unindexed_of_line(connection: sqlite3.Connection, lineage: int) -> Sequence[InventoryRow]:
    query = f"SELECT {_ROW}, e.n, e.body, x'' FROM events e{_OF_EVENT} WHERE e.n > ? AND c.lineage = ? ORDER BY e.n"
    return _rows(connection, query, (_indexed(connection), encode_serial(lineage)))


def find_expired(connection: sqlite3.Connection, issuer: IssuerID, serial: int) -> ExpiredRecord | None:
    row = connection.execute(
        "SELECT lineage, predecessor, not_after, fingerprint FROM expired_certificates"
        " WHERE issuer_n = ? AND serial = ?",
        (queries.find_issuer_number(connection, issuer), encode_serial(serial)),
    ).fetchone()
    if row is None:
        return None
    lineage, predecessor, not_after, fingerprint = row
    return ExpiredRecord(issuer, serial, decode_serial(lineage), _serial(predecessor), not_after, fingerprint)


def store_facts(connection: sqlite3.Connection) -> StoreFacts:
    oldest, newest = connection.execute(
        "SELECT (SELECT min(rowid) FROM certificates), (SELECT max(rowid) FROM certificates)"
    ).fetchone()
    (file,) = connection.execute("SELECT file FROM pragma_database_list WHERE name = 'main'").fetchone()
    return StoreFacts(
        kind="sqlite",
        place=file or "memory",
        octets=_octets(connection, file),
        certificates=0 if newest is None else newest - oldest + 1,
        revocations=_count(connection, "revocations"),
        tokens=_count(connection, "spent_tokens"),
        counted_to=COUNTED_TO,
    )


def _octets(connection: sqlite3.Connection, file: str) -> int:
    """Of the file and its log."""
    if not file:
        (octets,) = connection.execute(
            "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        ).fetchone()
        return int(octets)
    return sum(os.stat(each).st_size for each in (file, f"{file}-wal") if os.path.exists(each))


def _count(connection: sqlite3.Connection, table: str) -> int:
    """SQLite counts by looking at every row, so it stops in time."""
    query = f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT {COUNTED_TO + 1})"
    return int(connection.execute(query).fetchone()[0])


def _rows(connection: sqlite3.Connection, query: str, values: tuple[Any, ...]) -> list[InventoryRow]:
    return [_row(row) for row in connection.execute(query, values)]


def _row(values: tuple[Any, ...]) -> InventoryRow:
    issuer, serial, start, end, provisioner_id, name, kind, lineage, predecessor, digest, der = values[:11]
    record = CertificateRecord(
        issuer=issuer,
        serial=decode_serial(serial),
        not_before=start,
        not_after=end,
        provisioner_id=provisioner_id,
        provisioner_name=name,
        provisioner_kind=kind,
        lineage=decode_serial(lineage),
        predecessor=_serial(predecessor),
        csr_digest=digest,
        der=der,
    )
    revocation = None
    if values[11] is not None:
        at, code, reason, by, token, mtls = values[11:17]
        revocation = RevocationDetail(at, code, reason, by, token, bool(mtls))
    place, event, term = values[17:]
    return InventoryRow(record, revocation, place, event, term)


def _serial(key: bytes | None) -> int | None:
    return None if key is None else decode_serial(key)
