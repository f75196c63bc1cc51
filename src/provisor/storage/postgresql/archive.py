"""The reading half for operators and background work: the inventory and the audit log.

An event's place in the log is its number in `log_entries`. Every question is a range of an index, `limit` rows of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Self, final

from provisor.core.terms import lineage_term
from provisor.ports import (
    CertificateRecord,
    EntryID,
    ExpiredRecord,
    HeadRecord,
    IndexReach,
    InventoryRow,
    IssuerID,
    IssuerRecord,
    Leftovers,
    LogEvent,
    LogTile,
    Placeless,
    RevocationDetail,
    RevocationTrace,
    StoreFacts,
    TermPlace,
    Unindexed,
)
from provisor.storage.archive_log import FORKS, GAPS
from provisor.storage.encoding import decode_serial, encode_serial
from provisor.storage.postgresql.connect import Connection
from provisor.storage.postgresql.dsn import Target
from provisor.storage.postgresql.partitions import EVENTS_DROPPED
from provisor.storage.postgresql.reader import Reader
from provisor.storage.postgresql.retention import first_id, has_old_events

COUNTED_TO: Final = 100_000
_LAST_PLACE: Final = 2**63 - 1

_CERTIFICATE: Final = (
    "i.id, c.serial, c.not_before, c.not_after, c.provisioner_id, c.provisioner_name, c.provisioner_kind, c.lineage,"
    " c.predecessor, c.csr_digest, c.der"
)
_REVOCATION: Final = "r.revoked_at, r.reason_code, r.reason, r.provisioner_id, r.token_id, r.mtls"
_NO_REVOCATION: Final = "NULL::bigint, NULL::bigint, NULL, NULL, NULL, NULL::bool"
_JOIN: Final = (
    " JOIN provisor.issuers i ON i.n = c.issuer_n LEFT JOIN provisor.revocations r"
    " ON r.issuer_n = c.issuer_n AND r.serial = c.serial"
)
_OF_EVENT: Final = (
    " JOIN provisor.events e ON e.id = l.id"
    " JOIN provisor.certificates c ON c.issuer_n = e.issuer_n AND c.serial = e.serial" + _JOIN
)
_INDEXED: Final = "coalesce((SELECT value::bigint FROM provisor.meta WHERE key = 'projected'), 0)"
_ISSUER: Final = "(SELECT n FROM provisor.issuers WHERE id = $1)"

_LOGGED: Final = f"""
SELECT {_CERTIFICATE}, {_NO_REVOCATION}, l.n, e.body, ''::bytea FROM provisor.log_entries l
    JOIN provisor.events e ON e.id = l.id
    JOIN provisor.certificates c ON c.issuer_n = e.issuer_n AND c.serial = e.serial
    JOIN provisor.issuers i ON i.n = c.issuer_n WHERE l.n > $1 AND l.n <= $2 ORDER BY l.n
"""
_BY_TERM: Final = (
    f"SELECT {_CERTIFICATE}, {_REVOCATION}, l.n, e.body, t.term FROM provisor.terms t"
    f" JOIN provisor.log_entries l ON l.n = t.n{_OF_EVENT}"
)
_ALONE: Final = f"SELECT {_CERTIFICATE}, {_REVOCATION}, NULL::bigint, ''::bytea, ''::bytea FROM"

_EVENT: Final = (
    "SELECT l.n, l.id, e.body, i.id, e.serial, {der}, {fingerprint} FROM provisor.log_entries l"
    " JOIN provisor.events e ON e.id = l.id LEFT JOIN provisor.issuers i ON i.n = e.issuer_n {joins}"
    " WHERE l.n {bound} $1 ORDER BY l.n {order} LIMIT $2"
)
_FORWARD: Final = _EVENT.format(der="NULL::bytea", fingerprint="NULL::bytea", joins="", bound=">=", order="")
_BACKWARD: Final = _EVENT.format(der="NULL::bytea", fingerprint="NULL::bytea", joins="", bound="<", order="DESC")
_EVIDENCE_JOINS: Final = (
    "LEFT JOIN provisor.certificates c ON c.issuer_n = e.issuer_n AND c.serial = e.serial"
    " LEFT JOIN provisor.expired_certificates x ON x.issuer_n = e.issuer_n AND x.serial = e.serial"
)
_EVIDENCE: Final = _EVENT.format(der="c.der", fingerprint="x.fingerprint", joins=_EVIDENCE_JOINS, bound=">=", order="")

# Places end with the tree: it grows in the same transaction. What stands behind it, somebody else has written.
_SIZE: Final = (
    "coalesce((SELECT tile * 256 + length(hashes) / 32 FROM provisor.log_tiles WHERE level = 0"
    " ORDER BY tile DESC LIMIT 1), 0)"
)
_END: Final = f"coalesce((SELECT max(n) FROM provisor.log_entries WHERE n <= {_SIZE}), 0)"

# What has a place does not wait for one, whoever wrote that it does.
_PLACED: Final = f"EXISTS (SELECT FROM provisor.log_entries l WHERE l.id = u.id AND l.n <= {_SIZE})"
_WAITS: Final = f"NOT {_PLACED}"
_UNSEQUENCED: Final = f"""
SELECT u.id, e.body FROM provisor.unsequenced u LEFT JOIN provisor.events e ON e.id = u.id
    WHERE {_WAITS} ORDER BY u.id LIMIT $1
"""
_WAITING: Final = f"""
SELECT 0, u.id, coalesce(e.body, ''), i.id, e.serial, c.der, x.fingerprint FROM provisor.unsequenced u
    LEFT JOIN provisor.events e ON e.id = u.id LEFT JOIN provisor.issuers i ON i.n = e.issuer_n {_EVIDENCE_JOINS}
    WHERE u.id > $1 AND {_WAITS} ORDER BY u.id LIMIT $2
"""
_PLACELESS: Final = f"""
SELECT u.id, {_PLACED} OR EXISTS (SELECT FROM provisor.unsequenced w WHERE w.id = u.id)
    FROM (SELECT id FROM provisor.events WHERE id > $1 ORDER BY id LIMIT $2) u
"""

# Serials and the ids of entries both begin with the millisecond of the request: octets 2 to 7 of a serial's key are
# octets 1 to 6 of the id. So an event is found by the index on ids.
_NEAR: Final = (
    "e.id >= substr({serial}, 2, 6) AND e.id <= substr({serial}, 2, 6) || '\\xffffffffffffffffffff'::bytea"
    " AND e.issuer_n = {issuer} AND e.serial = {serial}"
)
_META: Final = "SELECT value FROM provisor.meta WHERE key = $1"
_TRACE: Final = (
    "SELECT i.id, r.serial, r.reason_code, r.revoked_at, r.expires FROM provisor.revocations r"
    " JOIN provisor.issuers i ON i.n = r.issuer_n"
)


@final
class PostgreSQLArchive:
    """`ports.Archive`."""

    def __init__(self, reader: Reader, place: str) -> None:
        self._reader = reader
        self._place = place

    @classmethod
    def open(cls, target: Target, *, name: str = "provisor jobs") -> Self:
        """On a connection of its own, opened at the first question; `name` is what the server calls it by."""
        return cls(Reader(target, name=name), target.shown)

    def close(self) -> None:
        """Let go of the connection; another question opens it again."""
        self._reader.drop()

    # -- the inventory --------------------------------------------------------------------------

    async def index_reach(self) -> IndexReach:
        ((indexed, end),) = await self._reader.fetch(f"SELECT {_INDEXED}, {_END}")
        return IndexReach(indexed, end)

    async def unindexed(self, after: int, limit: int) -> Unindexed:
        query = (
            "SELECT coalesce(max(n), $1) FROM"
            f" (SELECT n FROM provisor.log_entries WHERE n > $1 AND n <= {_SIZE} ORDER BY n LIMIT $2) s"
        )
        upto = await self._reader.fetchval(query, after, limit)
        return Unindexed(upto, tuple(await self._rows(_LOGGED, after, upto)))

    async def issued_newest(self, before: int | None, limit: int) -> Sequence[InventoryRow]:
        query = (
            f"SELECT {_CERTIFICATE}, {_REVOCATION}, l.n, e.body, ''::bytea FROM provisor.log_entries l{_OF_EVENT}"
            " WHERE l.n < $1 ORDER BY l.n DESC LIMIT $2"
        )
        return await self._rows(query, _LAST_PLACE if before is None else before, limit)

    async def issued_with_term(self, term: bytes, before: int | None, limit: int) -> Sequence[InventoryRow]:
        query = f"{_BY_TERM} WHERE t.term = $1 AND t.n < $2 ORDER BY t.n DESC LIMIT $3"
        return await self._rows(query, term, _LAST_PLACE if before is None else before, limit)

    async def issued_in_range(
        self, low: bytes, high: bytes, after: TermPlace | None, limit: int
    ) -> Sequence[InventoryRow]:
        start = TermPlace(low, 0) if after is None or after.term < low else after
        query = f"{_BY_TERM} WHERE (t.term, t.n) > ($1, $2) AND t.term < $3 ORDER BY t.term, t.n LIMIT $4"
        return await self._rows(query, start.term, start.place, high, limit)

    async def issued_revoked(self, before: tuple[IssuerID, int] | None, limit: int) -> Sequence[InventoryRow]:
        joined = (
            " provisor.revocations r JOIN provisor.certificates c ON c.issuer_n = r.issuer_n AND c.serial = r.serial"
            " JOIN provisor.issuers i ON i.n = c.issuer_n"
        )
        order = "ORDER BY r.issuer_n DESC, r.serial DESC LIMIT"
        if before is None:
            return await self._rows(f"{_ALONE}{joined} {order} $1", limit)
        query = f"{_ALONE}{joined} WHERE (r.issuer_n, r.serial) < ({_ISSUER}, $2) {order} $3"
        return await self._rows(query, before[0], encode_serial(before[1]), limit)

    async def find_issued(self, issuer: IssuerID, serial: int) -> InventoryRow | None:
        key = encode_serial(serial)
        query = f"{_ALONE} provisor.certificates c{_JOIN} WHERE c.issuer_n = {_ISSUER} AND c.serial = $2"
        found = await self._rows(query, issuer, key)
        if not found:
            return None
        (row,) = found
        event = await self._find_event(issuer, key, row.certificate.lineage)
        return row if event is None else InventoryRow(row.certificate, row.revocation, event[0], event[1])

    async def _find_event(self, issuer: IssuerID, key: bytes, lineage: int) -> tuple[int, bytes] | None:
        """Where the log has a certificate: among its line, or in what the index does not know yet."""
        known = (
            "SELECT l.n, e.body FROM provisor.terms t JOIN provisor.log_entries l ON l.n = t.n"
            f" JOIN provisor.events e ON e.id = l.id WHERE t.term = $3 AND e.issuer_n = {_ISSUER} AND e.serial = $2"
        )
        rows = await self._reader.fetch(known, issuer, key, lineage_term(lineage))
        if not rows:
            newer = (
                "SELECT l.n, e.body FROM provisor.log_entries l JOIN provisor.events e ON e.id = l.id"
                f" WHERE l.n > {_INDEXED} AND e.issuer_n = {_ISSUER} AND e.serial = $2"
            )
            rows = await self._reader.fetch(newer, issuer, key)
        return (rows[0][0], rows[0][1]) if rows else None

    async def unindexed_of_line(self, lineage: int) -> Sequence[InventoryRow]:
        query = (
            f"SELECT {_CERTIFICATE}, {_REVOCATION}, l.n, e.body, ''::bytea FROM provisor.log_entries l{_OF_EVENT}"
            f" WHERE l.n > {_INDEXED} AND c.lineage = $1 ORDER BY l.n"
        )
        return await self._rows(query, encode_serial(lineage))

    async def find_expired(self, issuer: IssuerID, serial: int) -> ExpiredRecord | None:
        rows = await self._reader.fetch(
            "SELECT lineage, predecessor, not_after, fingerprint FROM provisor.expired_certificates"
            f" WHERE issuer_n = {_ISSUER} AND serial = $2",
            issuer,
            encode_serial(serial),
        )
        if not rows:
            return None
        lineage, predecessor, not_after, fingerprint = rows[0]
        before = None if predecessor is None else decode_serial(predecessor)
        return ExpiredRecord(issuer, serial, decode_serial(lineage), before, not_after, fingerprint)

    async def store_facts(self) -> StoreFacts:
        octets = "SELECT pg_database_size(current_database())"
        estimate = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'provisor.certificates'::regclass"
        estimated = await self._reader.fetchval(estimate)
        return StoreFacts(
            kind="postgresql",
            place=self._place,
            octets=await self._reader.fetchval(octets),
            certificates=estimated if estimated > COUNTED_TO else await self._count("certificates"),
            revocations=await self._count("revocations"),
            tokens=await self._count("tokens"),
            counted_to=COUNTED_TO,
        )

    async def _count(self, table: str) -> int:
        query = f"SELECT count(*) FROM (SELECT FROM provisor.{table} LIMIT {COUNTED_TO + 1}) s"
        return int(await self._reader.fetchval(query))

    async def _rows(self, query: str, *values: Any) -> list[InventoryRow]:
        return [_row(row) for row in await self._reader.fetch(query, *values)]

    # -- what is over ---------------------------------------------------------------------------

    async def leftovers(self, *, tokens: int, receipts: int, events: int | None) -> Leftovers:
        async def look(connection: Connection) -> Leftovers:
            old_tokens = "SELECT EXISTS (SELECT FROM provisor.tokens_other WHERE expires < $1)"
            old_receipts = "SELECT EXISTS (SELECT FROM provisor.receipts WHERE id < $1)"
            return Leftovers(
                tokens=await connection.fetchval(old_tokens, tokens),
                receipts=await connection.fetchval(old_receipts, first_id(receipts)),
                events=events is not None and await has_old_events(connection, events),
            )

        return await self._reader.ask(look)

    # -- the audit log --------------------------------------------------------------------------

    async def authority_id(self) -> str:
        return str(await self._reader.fetchval("SELECT value FROM provisor.meta WHERE key = 'authority_id'"))

    async def issuers(self) -> Sequence[IssuerRecord]:
        query = "SELECT id, certificate, state FROM provisor.issuers ORDER BY n"
        return [IssuerRecord(*row) for row in await self._reader.fetch(query)]

    async def log_size(self) -> int:
        return int(await self._reader.fetchval(f"SELECT {_SIZE}"))

    async def log_end(self) -> int:
        return int(await self._reader.fetchval(f"SELECT {_END}"))

    async def log_forks(self) -> str:
        return str(await self._reader.fetchval(_META, FORKS) or "")

    async def log_gaps(self) -> int:
        return int(await self._reader.fetchval(_META, GAPS) or 0)

    async def events_dropped(self) -> int:
        return int(await self._reader.fetchval(_META, EVENTS_DROPPED) or 0)

    async def unsequenced(self, size: int, limit: int) -> Sequence[tuple[EntryID, bytes | None]]:
        return [(entry, body) for entry, body in await self._reader.fetch(_UNSEQUENCED, limit)]

    async def count_waiting(self) -> int:
        return int(await self._reader.fetchval("SELECT count(*) FROM provisor.unsequenced"))

    async def waiting(self, after: EntryID, limit: int) -> Sequence[LogEvent]:
        return [_event(row) for row in await self._reader.fetch(_WAITING, after, limit)]

    async def placeless(self, after: EntryID, limit: int) -> Placeless:
        rows = await self._reader.fetch(_PLACELESS, after, limit)
        lost = tuple(entry for entry, known in rows if not known)
        return Placeless(lost, max(entry for entry, _ in rows) if len(rows) == limit else None)

    async def events(self, first: int, limit: int) -> Sequence[LogEvent]:
        return await self._events(_FORWARD, first, limit)

    async def events_before(self, n: int | None, limit: int) -> Sequence[LogEvent]:
        return await self._events(_BACKWARD, _LAST_PLACE if n is None else n, limit)

    async def evidence(self, first: int, limit: int) -> Sequence[LogEvent]:
        return await self._events(_EVIDENCE, first, limit)

    async def _events(self, query: str, bound: int, limit: int) -> list[LogEvent]:
        return [_event(row) for row in await self._reader.fetch(query, bound, limit)]

    async def tiles(self, level: int, first: int, limit: int) -> Sequence[LogTile]:
        query = (
            "SELECT level, tile, hashes FROM provisor.log_tiles WHERE level = $1 AND tile >= $2 ORDER BY tile LIMIT $3"
        )
        return [LogTile(*row) for row in await self._reader.fetch(query, level, first, limit)]

    async def newest_head(self) -> HeadRecord | None:
        query = "SELECT size, at, text, signature FROM provisor.log_heads ORDER BY size DESC LIMIT 1"
        rows = await self._reader.fetch(query)
        return HeadRecord(*rows[0]) if rows else None

    async def heads(self, size: int, limit: int) -> Sequence[HeadRecord]:
        query = "SELECT size, at, text, signature FROM provisor.log_heads WHERE size >= $1 ORDER BY size LIMIT $2"
        return [HeadRecord(*row) for row in await self._reader.fetch(query, size, limit)]

    async def find_place(self, issuer: IssuerID, serial: int) -> int | None:
        near = _NEAR.format(issuer=_ISSUER, serial="$2::bytea")
        # A certificate that somebody else numbered is looked for among all.
        for condition in (near, f"e.issuer_n = {_ISSUER} AND e.serial = $2"):
            query = (
                "SELECT l.n FROM provisor.events e JOIN provisor.log_entries l ON l.id = e.id"
                f" WHERE {condition} ORDER BY l.n LIMIT 1"
            )
            place = await self._reader.fetchval(query, issuer, encode_serial(serial))
            if place is not None:
                return int(place)
        return None

    async def find_serial(self, fingerprint: bytes) -> tuple[IssuerID, int] | None:
        query = (
            "SELECT i.id, e.serial FROM provisor.terms t JOIN provisor.log_entries l ON l.n = t.n"
            " JOIN provisor.events e ON e.id = l.id JOIN provisor.issuers i ON i.n = e.issuer_n"
            " WHERE t.term = $1 LIMIT 1"
        )
        rows = await self._reader.fetch(query, b"f" + fingerprint[:16])
        return (rows[0][0], decode_serial(rows[0][1])) if rows else None

    async def eventless(self, limit: int) -> Sequence[tuple[IssuerID, int]]:
        near = _NEAR.format(issuer="c.issuer_n", serial="c.serial")
        rows = await self._reader.fetch(
            "SELECT i.id, c.serial FROM provisor.certificates c JOIN provisor.issuers i ON i.n = c.issuer_n"
            f" WHERE NOT EXISTS (SELECT FROM provisor.events e WHERE {near}) LIMIT $1",
            limit,
        )
        return [(issuer, decode_serial(serial)) for issuer, serial in rows]

    async def revocation_of(self, serial: int) -> Sequence[RevocationTrace]:
        # By issuer, so that the primary key is of use.
        query = f"{_TRACE} WHERE r.issuer_n = ANY(ARRAY(SELECT n FROM provisor.issuers)) AND r.serial = $1"
        return [_trace(row) for row in await self._reader.fetch(query, encode_serial(serial))]

    async def revocation_traces(self, after: tuple[IssuerID, int] | None, limit: int) -> Sequence[RevocationTrace]:
        order = "ORDER BY r.issuer_n, r.serial LIMIT"
        if after is None:
            rows = await self._reader.fetch(f"{_TRACE} {order} $1", limit)
        else:
            query = f"{_TRACE} WHERE (r.issuer_n, r.serial) > ({_ISSUER}, $2) {order} $3"
            rows = await self._reader.fetch(query, after[0], encode_serial(after[1]), limit)
        return [_trace(row) for row in rows]

    async def certificate_end(self, serial: int) -> int | None:
        known = "issuer_n = ANY(ARRAY(SELECT n FROM provisor.issuers)) AND serial = $1"
        query = (
            f"SELECT not_after FROM provisor.certificates WHERE {known}"
            f" UNION ALL SELECT not_after FROM provisor.expired_certificates WHERE {known}"
        )
        end = await self._reader.fetchval(query, encode_serial(serial))
        return None if end is None else int(end)


def _row(values: Sequence[Any]) -> InventoryRow:
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
        predecessor=None if predecessor is None else decode_serial(predecessor),
        csr_digest=digest,
        der=der,
    )
    revocation = RevocationDetail(*values[11:17]) if values[11] is not None else None
    place, event, term = values[17:]
    return InventoryRow(record, revocation, place, event, term)


def _event(row: Sequence[Any]) -> LogEvent:
    n, entry, body, issuer, serial, der, fingerprint = row
    return LogEvent(n, entry, body, issuer, _serial(serial), der or b"", fingerprint or b"")


def _serial(key: bytes | None) -> int | None:
    """-1 for a key that is none: it is no certificate's, and compares with nothing."""
    try:
        return None if key is None else decode_serial(key)
    except ValueError:
        return -1


def _trace(row: Sequence[Any]) -> RevocationTrace:
    return RevocationTrace(row[0], decode_serial(row[1]), row[2], row[3], row[4])
