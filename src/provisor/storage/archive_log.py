"""The audit log in SQLite: one function a question, over any connection to it, and the one write.

An event has its place from the moment it is inserted; the tree only follows.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from provisor.ports import FARTHEST, AppendLog, EntryID, HeadRecord, IssuerID, LogEvent, LogTile, RevocationTrace
from provisor.storage import queries
from provisor.storage.encoding import decode_serial, encode_serial

FORKS: Final = "log_forks"
"""Meta: where the log went on from an earlier moment, as a JSON array of `LogFork`."""

GAPS: Final = "log_gaps"
"""Meta: how many places of the log the sequencer has found without an event."""


_EVENT: Final = (
    "SELECT e.n, e.id, e.body, i.id, e.serial, {der}, {fingerprint} FROM events e"
    " LEFT JOIN issuers i ON i.n = e.issuer_n {joins} WHERE e.n {bound} ? ORDER BY e.n {order} LIMIT ?"
)
_FORWARD: Final = _EVENT.format(der="NULL", fingerprint="NULL", joins="", bound=">=", order="")
_BACKWARD: Final = _EVENT.format(der="NULL", fingerprint="NULL", joins="", bound="<", order="DESC")
_EVIDENCE: Final = _EVENT.format(
    der="c.der",
    fingerprint="x.fingerprint",
    joins="LEFT JOIN certificates c ON c.issuer_n = e.issuer_n AND c.serial = e.serial"
    " LEFT JOIN expired_certificates x ON x.issuer_n = e.issuer_n AND x.serial = e.serial",
    bound=">=",
    order="",
)
_BEYOND: Final = (1 << 63) - 1

# Serials and the ids of entries both begin with the millisecond of the request: octets 2 to 7 of a serial's key are
# octets 1 to 6 of the id. So an event is found by the index on ids.
_NEAR: Final = (
    "e.id >= substr({serial}, 2, 6) AND e.id <= CAST(substr({serial}, 2, 6) || x'ffffffffffffffffffff' AS BLOB)"
    " AND e.issuer_n = {issuer} AND e.serial = {serial}"
)


_SIZE: Final = "SELECT tile * 256 + length(hashes) / 32 FROM log_tiles WHERE level = 0 ORDER BY tile DESC LIMIT 1"
_END_AND_SIZE: Final = f"SELECT ifnull((SELECT max(n) FROM events), 0), ifnull(({_SIZE}), 0)"


def append(connection: sqlite3.Connection, write: AppendLog) -> None:
    """Raises `ValueError` unless the ids are those of the next events, and the tiles hold as many leaves.

    A gap is only one if there is no event at its place and one behind it, so that no other will come there.
    """
    size = write.size + len(write.ids)
    gaps = set(write.gaps)
    if gaps and not write.size < min(gaps) <= max(gaps) <= min(size, log_end(connection) - 1):
        raise ValueError("there are no gaps of the audit log at these places")
    query = "SELECT n, id FROM events WHERE n > ? AND n <= ? ORDER BY n"
    expected = [(n, entry) for n, entry in enumerate(write.ids, start=write.size + 1) if n not in gaps]
    if connection.execute(query, (write.size, size)).fetchall() != expected:
        raise ValueError("these are not the next events of the audit log")
    rows = [(tile.level, tile.index, tile.hashes) for tile in write.tiles]
    connection.executemany("INSERT OR REPLACE INTO log_tiles VALUES (?, ?, ?)", rows)
    if log_size(connection) != size:
        raise ValueError("the tiles do not hold a leaf for each of these events")
    if gaps:
        values = (GAPS, str(log_gaps(connection) + len(gaps)))
        connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", values)


def log_size(connection: sqlite3.Connection) -> int:
    row = connection.execute(_SIZE).fetchone()
    return 0 if row is None else int(row[0])


def log_end(connection: sqlite3.Connection) -> int:
    return _find_end(connection)[0]


def _find_end(connection: sqlite3.Connection) -> tuple[int, int]:
    """The last place of an event, and the size of the tree.

    Not the place of an event that somebody has moved far away: else one row would keep all others out of the log.
    """
    end, size = connection.execute(_END_AND_SIZE).fetchone()
    while end - size > FARTHEST:
        (last,) = connection.execute("SELECT ifnull(max(n), 0) FROM events WHERE n < ?", (end,)).fetchone()
        before = max(size, last)
        if end - before <= FARTHEST:
            break
        end = before
    return end, size


def next_place(connection: sqlite3.Connection) -> int:
    """For the next event. No place that the tree has is given a second time, whatever became of its event."""
    return max(_find_end(connection)) + 1


def log_forks(connection: sqlite3.Connection) -> str:
    return queries.find_meta(connection, FORKS) or ""


def log_gaps(connection: sqlite3.Connection) -> int:
    return int(queries.find_meta(connection, GAPS) or "0")


def head_size(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT ifnull(max(size), 0) FROM log_heads").fetchone()[0])


def authority_id(connection: sqlite3.Connection) -> str:
    return str(connection.execute("SELECT value FROM meta WHERE key = 'authority_id'").fetchone()[0])


def events_dropped(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT value FROM meta WHERE key = 'events_dropped'").fetchone()
    return 0 if row is None else int(row[0])


def unsequenced(connection: sqlite3.Connection, size: int, limit: int) -> list[tuple[EntryID, bytes | None]]:
    """Places are given by inserting, so one that is left out between two events had one that is gone."""
    rows = connection.execute("SELECT n, id, body FROM events WHERE n > ? ORDER BY n LIMIT ?", (size, limit))
    found: list[tuple[EntryID, bytes | None]] = []
    for n, entry, body in rows:
        missing = n - size - len(found) - 1
        if missing >= FARTHEST:
            break
        found += [(b"", None)] * min(missing, limit - len(found))
        if len(found) == limit:
            break
        found.append((entry, body))
    return found


def events(connection: sqlite3.Connection, first: int, limit: int) -> list[LogEvent]:
    return _events(connection, _FORWARD, first, limit)


def events_before(connection: sqlite3.Connection, n: int | None, limit: int) -> list[LogEvent]:
    return _events(connection, _BACKWARD, _BEYOND if n is None else n, limit)


def evidence(connection: sqlite3.Connection, first: int, limit: int) -> list[LogEvent]:
    return _events(connection, _EVIDENCE, first, limit)


def _events(connection: sqlite3.Connection, query: str, bound: int, limit: int) -> list[LogEvent]:
    return [
        LogEvent(n, entry, body, issuer, _serial(serial), der or b"", fingerprint or b"")
        for n, entry, body, issuer, serial, der, fingerprint in connection.execute(query, (bound, limit))
    ]


def _serial(key: bytes | None) -> int | None:
    """-1 for a key that is none: it is no certificate's, and compares with nothing."""
    try:
        return None if key is None else decode_serial(key)
    except ValueError:
        return -1


def tiles(connection: sqlite3.Connection, level: int, first: int, limit: int) -> list[LogTile]:
    query = "SELECT level, tile, hashes FROM log_tiles WHERE level = ? AND tile >= ? ORDER BY tile LIMIT ?"
    return [LogTile(*row) for row in connection.execute(query, (level, first, limit))]


def newest_head(connection: sqlite3.Connection) -> HeadRecord | None:
    row = connection.execute("SELECT size, at, text, signature FROM log_heads ORDER BY size DESC LIMIT 1").fetchone()
    return None if row is None else HeadRecord(*row)


def heads(connection: sqlite3.Connection, size: int, limit: int) -> list[HeadRecord]:
    query = "SELECT size, at, text, signature FROM log_heads WHERE size >= ? ORDER BY size LIMIT ?"
    return [HeadRecord(*row) for row in connection.execute(query, (size, limit))]


def find_place(connection: sqlite3.Connection, issuer: IssuerID, serial: int) -> int | None:
    number = connection.execute("SELECT n FROM issuers WHERE id = ?", (issuer,)).fetchone()
    if number is None:
        return None
    values = {"issuer": number[0], "serial": encode_serial(serial)}
    near = _NEAR.format(issuer=":issuer", serial=":serial")
    # A certificate that somebody else numbered is looked for among all.
    for condition in (near, "e.issuer_n = :issuer AND e.serial = :serial"):
        row = connection.execute(f"SELECT e.n FROM events e WHERE {condition} ORDER BY e.n LIMIT 1", values).fetchone()
        if row is not None:
            return int(row[0])
    return None


def find_serial(connection: sqlite3.Connection, fingerprint: bytes) -> tuple[IssuerID, int] | None:
    """By the inventory's index, or what stayed of a dropped certificate."""
    row = connection.execute(
        "SELECT i.id, e.serial FROM terms t JOIN events e ON e.n = t.n JOIN issuers i ON i.n = e.issuer_n"
        " WHERE t.term = ? LIMIT 1",
        (b"f" + fingerprint[:16],),
    ).fetchone()
    return None if row is None else (row[0], decode_serial(row[1]))


def eventless(connection: sqlite3.Connection, limit: int) -> list[tuple[IssuerID, int]]:
    near = _NEAR.format(issuer="c.issuer_n", serial="c.serial")
    rows = connection.execute(
        f"SELECT i.id, c.serial FROM certificates c JOIN issuers i ON i.n = c.issuer_n"
        f" WHERE NOT EXISTS (SELECT 1 FROM events e WHERE {near}) LIMIT ?",
        (limit,),
    )
    return [(issuer, decode_serial(serial)) for issuer, serial in rows]


_TRACE: Final = (
    "SELECT i.id, r.serial, r.reason_code, r.revoked_at, r.expires"
    " FROM revocations r JOIN issuers i ON i.n = r.issuer_n"
)


def revocation_of(connection: sqlite3.Connection, serial: int) -> list[RevocationTrace]:
    # By issuer, so that the primary key is of use.
    query = f"{_TRACE} WHERE r.issuer_n IN (SELECT n FROM issuers) AND r.serial = ?"
    return [_trace(row) for row in connection.execute(query, (encode_serial(serial),))]


def revocation_traces(
    connection: sqlite3.Connection, after: tuple[IssuerID, int] | None, limit: int
) -> list[RevocationTrace]:
    issuer, key = (0, b"")
    if after is not None:
        found = connection.execute("SELECT n FROM issuers WHERE id = ?", (after[0],)).fetchone()
        issuer, key = found[0], encode_serial(after[1])
    query = f"{_TRACE} WHERE (r.issuer_n, r.serial) > (?, ?) ORDER BY r.issuer_n, r.serial LIMIT ?"
    return [_trace(row) for row in connection.execute(query, (issuer, key, limit))]


def _trace(row: tuple[bytes, bytes, int, int, int | None]) -> RevocationTrace:
    return RevocationTrace(row[0], decode_serial(row[1]), row[2], row[3], row[4])


def certificate_end(connection: sqlite3.Connection, serial: int) -> int | None:
    query = (
        "SELECT not_after FROM certificates WHERE issuer_n IN (SELECT n FROM issuers) AND serial = :serial UNION ALL"
        " SELECT not_after FROM expired_certificates WHERE issuer_n IN (SELECT n FROM issuers) AND serial = :serial"
    )
    row = connection.execute(query, {"serial": encode_serial(serial)}).fetchone()
    return None if row is None else int(row[0])
