"""What SQLite forgets: receipts, certificates that expired long ago, the bodies of old events."""

from __future__ import annotations

import hashlib
import sqlite3
from typing import Final

from provisor.ports import DropEvents, DropExpired, Leftovers
from provisor.storage import queries
from provisor.storage.encoding import encode_serial
from provisor.storage.token_days import has_tokens_over

EVENTS_DROPPED: Final = "events_dropped"
"""Meta: up to this place of the log events may be gone. Their hashes are in the log's tree."""

_DROPPED: Final = f"ifnull((SELECT CAST(value AS INTEGER) FROM meta WHERE key = '{EVENTS_DROPPED}'), 0)"


def first_id(at: int) -> bytes:
    """The least id of an entry of that time (unix seconds)."""
    return max(0, at * 1000).to_bytes(6, "big")


def leftovers(connection: sqlite3.Connection, tokens: int, receipts: int, events: int | None) -> Leftovers:
    """See `ports.Retention`."""
    return Leftovers(
        tokens=has_tokens_over(connection, tokens),
        receipts=has_receipts(connection, receipts),
        events=events is not None and has_old_events(connection, events),
    )


def drop_receipts(connection: sqlite3.Connection, before: int, limit: int) -> None:
    """Receipts of entries before `before`, the oldest first: neighbours, whose pages are freed together."""
    row = connection.execute(
        "SELECT max(id) FROM (SELECT id FROM receipts WHERE id < ? ORDER BY id LIMIT ?)", (first_id(before), limit)
    ).fetchone()
    if row[0] is not None:
        connection.execute("DELETE FROM receipts WHERE id <= ?", row)


def has_receipts(connection: sqlite3.Connection, before: int) -> bool:
    """Whether `drop_receipts` would find anything."""
    return connection.execute("SELECT 1 FROM receipts WHERE id < ? LIMIT 1", (first_id(before),)).fetchone() is not None


def drop_expired(connection: sqlite3.Connection, write: DropExpired) -> None:
    """Each certificate leaves the line it is of, its end and its fingerprint; one that is not over stays as it is."""
    issuer = queries.find_issuer_number(connection, write.issuer)
    places: list[int] = []
    for serial, place in write.certificates:
        key = encode_serial(serial)
        row = connection.execute(
            "SELECT der FROM certificates WHERE issuer_n = ? AND serial = ? AND not_after < ?",
            (issuer, key, write.before),
        ).fetchone()
        if row is None:
            continue
        connection.execute(
            "INSERT INTO expired_certificates"
            " (issuer_n, serial, lineage, predecessor, not_after, provisioner_n, fingerprint)"
            " SELECT issuer_n, serial, lineage, predecessor, not_after, provisioner_n, ?"
            " FROM certificates WHERE issuer_n = ? AND serial = ?",
            (hashlib.sha256(row[0]).digest(), issuer, key),
        )
        connection.execute("DELETE FROM certificates WHERE issuer_n = ? AND serial = ?", (issuer, key))
        places.append(place)
    gone = set(places)
    terms = sorted((term, place) for term, place in write.terms if place in gone)
    connection.executemany("DELETE FROM terms WHERE term = ? AND n = ?", terms)
    if write.events_before is not None:
        connection.executemany(
            f"DELETE FROM events WHERE n = ? AND n <= {_DROPPED} AND id < ?",
            [(place, first_id(write.events_before)) for place in places],
        )


def drop_events(connection: sqlite3.Connection, write: DropEvents) -> None:
    """Events of before `before`, unless their certificate is still there; at most `limit` are looked at."""
    upto = _find_last_old(connection, write.before, write.limit)
    if upto is None:
        return
    connection.execute(
        f"DELETE FROM events WHERE n > {_DROPPED} AND n <= ? AND NOT EXISTS"
        " (SELECT 1 FROM certificates c WHERE c.issuer_n = events.issuer_n AND c.serial = events.serial)",
        (upto,),
    )
    connection.execute(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (EVENTS_DROPPED, str(upto)),
    )


def has_old_events(connection: sqlite3.Connection, before: int) -> bool:
    """Whether `drop_events` would find any to look at."""
    return _find_last_old(connection, before, 1) is not None


def _find_last_old(connection: sqlite3.Connection, before: int, limit: int) -> int | None:
    """The last event to look at, of those behind the last time's: in the signed log and in the index, and all old."""
    known = (
        "min(ifnull((SELECT max(size) FROM log_heads), 0),"
        " ifnull((SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'projected'), 0))"
    )
    found: int | None = None
    rows = connection.execute(
        f"SELECT n, id FROM events WHERE n > {_DROPPED} AND n <= {known} ORDER BY n LIMIT ?", (max(0, limit),)
    )
    for n, entry in rows.fetchall():
        if entry >= first_id(before):
            break
        found = n
    return found
