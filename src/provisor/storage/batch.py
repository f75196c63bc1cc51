"""Judging the entries of one transaction in their order, and writing what they say sorted by key."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from operator import itemgetter
from typing import Final, assert_never, final

from provisor.ports import (
    DropSpentTokens,
    Entry,
    Epoch,
    FreshSerial,
    IssuerID,
    LeaseHeld,
    MetaIs,
    NotRevoked,
    Outcome,
    PutCRL,
    PutIssuer,
    PutMeta,
    RecordRevocation,
    ScheduleJob,
    SpendToken,
    TakeLease,
    Unspent,
    WakeJob,
    Write,
)
from provisor.storage import queries
from provisor.storage.base import CLOCK_TOLERANCE_SECONDS, SignedCertificate
from provisor.storage.encoding import encode_serial, hash_token_key
from provisor.storage.guards import AnyGuard, LeaseFree, NewerCRL, all_guards, tag_of

_ENTRY_ID_BYTES: Final = 16
EPOCH: Final = "epoch"
HIGH_WATER: Final = "high_water"
_OWN_META: Final = frozenset({HIGH_WATER, "schema_version", "oldest_program", "authority_id"})

_NOBODY: Final = -1
_Serial = tuple[int, bytes]
_Row = tuple[object, ...]


@final
class Batch:
    """The entries of one transaction. What is only appended waits for `flush`; the guards see it before."""

    def __init__(self, connection: sqlite3.Connection, *, now: int, high_water: int) -> None:
        self._connection = connection
        self._now = now
        self._high_water = high_water
        self._issuers: dict[IssuerID, int] = {}
        self._metas: dict[str, str | None] = {}
        self._certificates: dict[_Serial, _Row] = {}
        self._revocations: dict[_Serial, _Row] = {}
        self._tokens: dict[bytes, _Row] = {}
        self._events: dict[bytes, _Row] = {}

    def judge(self, entry: Entry) -> Outcome | None:
        """The outcome of an entry that will not be written: recorded already, rejected, refused. Else None."""
        objection = self._find_objection(entry)
        if objection:
            return Outcome(entry.id, "rejected", reason=objection)
        recorded = self._find_recorded(entry)
        if recorded is not None:
            return recorded
        for guard in all_guards(entry):
            if not self._holds(guard):
                return Outcome(entry.id, "refused", guard=tag_of(guard))
        return None

    def admit(self, entry: Entry, signed: SignedCertificate | None) -> Outcome:
        """Judge an entry and, if nothing stands against it, take its writes into the transaction."""
        outcome = self.judge(entry)
        if outcome is not None:
            return outcome
        if (entry.sign is None) != (signed is None):
            return Outcome(entry.id, "rejected", reason="the certificate of the entry is missing")
        for write in entry.writes:
            self._apply(write)
        self._append(entry, signed)
        return Outcome(entry.id, "committed", certificate=signed.der if signed else b"")

    def flush(self) -> None:
        """Write what waits, sorted by key: neighbours share pages, and databases with row locks do not deadlock."""
        _insert(self._connection, "certificates", self._certificates)
        _insert(self._connection, "revocations", self._revocations)
        _insert(self._connection, "tokens", self._tokens)
        _insert(self._connection, "events", self._events)

    # -- judging --------------------------------------------------------------------------------

    def _find_objection(self, entry: Entry) -> str:
        """Why the store will not have the entry, whatever its guards; empty if it will."""
        if len(entry.id) != _ENTRY_ID_BYTES:
            return f"an entry id has {_ENTRY_ID_BYTES} octets"
        named = [write.issuer for write in entry.writes if isinstance(write, RecordRevocation | PutCRL)]
        if entry.sign is not None:
            named.append(entry.sign.issuer)
        if any(self._issuer_number(issuer) == _NOBODY for issuer in named):
            return "unknown issuer"
        for write in entry.writes:
            if isinstance(write, PutMeta) and write.key in _OWN_META:
                return f"meta {write.key} is the store's own"
            if isinstance(write, DropSpentTokens) and write.before > self._now:
                return "tokens whose time is not over are not forgotten"
            # A clock that is set back must not bring spent tokens to life again.
            if isinstance(write, DropSpentTokens) and self._now < self._high_water - CLOCK_TOLERANCE_SECONDS:
                return "the clock stands behind the store's time: nothing is forgotten"
        return ""

    def _find_recorded(self, entry: Entry) -> Outcome | None:
        """Committed, for an entry that is repeated; rejected, for another one under an id that is taken."""
        row = self._events.get(entry.id)
        if row is None:
            query = "SELECT id, issuer_n, serial FROM events WHERE id = ?"
            row = self._connection.execute(query, (entry.id,)).fetchone()
        if row is None:
            return None
        key = None if entry.sign is None else self._key(entry.sign.issuer, entry.sign.serial)
        if (None if row[1] is None else (row[1], row[2])) != key:
            return Outcome(entry.id, "rejected", reason="the id belongs to another entry")
        waiting = None if key is None else self._certificates.get(key)
        if waiting is not None:
            return Outcome(entry.id, "committed", certificate=_bytes(waiting[-1]))
        return queries.find_outcome(self._connection, entry.id) or Outcome(entry.id, "committed")

    def _holds(self, guard: AnyGuard) -> bool:
        match guard:
            case Unspent():
                waiting = hash_token_key(guard.key) in self._tokens
                return not waiting and not queries.is_spent(self._connection, guard.key)
            case NotRevoked():
                waiting = self._key(guard.issuer, guard.serial) in self._revocations
                return not waiting and not queries.is_revoked(self._connection, guard.issuer, guard.serial)
            case FreshSerial():
                waiting = self._key(guard.issuer, guard.serial) in self._certificates
                return not waiting and not queries.has_serial(self._connection, guard.issuer, guard.serial)
            case Epoch():
                return self._meta(EPOCH) == str(guard.number)
            case MetaIs():
                return self._meta(guard.key) == guard.value
            case LeaseHeld():
                job = queries.find_job(self._connection, guard.kind, guard.key)
                return job is not None and job.fence == guard.fence
            case LeaseFree():
                job = queries.find_job(self._connection, guard.kind, guard.key)
                return job is not None and job.due <= self._now and job.leased_until <= self._now
            case NewerCRL():
                number = queries.find_crl_number(self._connection, guard.issuer)
                return number is None or guard.number > number
            case _:
                assert_never(guard)

    def _meta(self, key: str) -> str | None:
        if key not in self._metas:
            self._metas[key] = queries.find_meta(self._connection, key)
        return self._metas[key]

    def _key(self, issuer: IssuerID, serial: int) -> _Serial:
        return self._issuer_number(issuer), encode_serial(serial)

    def _issuer_number(self, issuer: IssuerID) -> int:
        number = self._issuers.get(issuer)
        if number is None:
            row = self._connection.execute("SELECT n FROM issuers WHERE id = ?", (issuer,)).fetchone()
            number = self._issuers[issuer] = _NOBODY if row is None else int(row[0])
        return number

    # -- writing --------------------------------------------------------------------------------

    def _append(self, entry: Entry, signed: SignedCertificate | None) -> None:
        sign = entry.sign
        if sign is None or signed is None:
            self._events[entry.id] = (entry.id, None, None, entry.event)
            return
        key = self._key(sign.issuer, sign.serial)
        self._certificates[key] = (
            *key,
            encode_serial(sign.lineage),
            None if sign.predecessor is None else encode_serial(sign.predecessor),
            signed.not_before,
            signed.not_after,
            sign.provisioner_id,
            sign.provisioner_name,
            sign.provisioner_kind,
            sign.csr_digest,
            0,
            signed.der,
        )
        self._events[entry.id] = (entry.id, *key, entry.event)

    def _apply(self, write: Write) -> None:
        match write:
            case SpendToken():
                key = hash_token_key(write.key)
                self._tokens[key] = (key, write.expires, write.outcome, write.digest)
            case RecordRevocation():
                self._record_revocation(write)
            case PutMeta():
                self._metas.pop(write.key, None)
                self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (write.key, write.value))
            case PutIssuer():
                self._issuers.pop(write.id, None)
                query = (
                    "INSERT INTO issuers (id, certificate, state) VALUES (?, ?, ?)"
                    " ON CONFLICT (id) DO UPDATE SET state = excluded.state"
                )
                self._connection.execute(query, (write.id, write.certificate, write.state))
            case PutCRL():
                values = (
                    self._issuer_number(write.issuer),
                    write.number,
                    write.this_update,
                    write.next_update,
                    write.der,
                )
                self._connection.execute("INSERT OR REPLACE INTO crls VALUES (?, ?, ?, ?, ?)", values)
            case DropSpentTokens():
                query = (
                    "DELETE FROM tokens WHERE key IN"
                    " (SELECT key FROM tokens WHERE expires < ? ORDER BY expires LIMIT ?)"
                )
                self._connection.execute(query, (write.before, max(0, write.limit)))
            case TakeLease() | ScheduleJob() | WakeJob():
                self._change_job(write)
            case _:
                assert_never(write)

    def _record_revocation(self, write: RecordRevocation) -> None:
        key = self._key(write.issuer, write.serial)
        self._revocations[key] = (
            *key,
            write.reason_code,
            write.reason,
            write.revoked_at,
            write.expires,
            write.provisioner_id,
            write.token_id,
            int(write.mtls),
        )

    def _change_job(self, write: TakeLease | ScheduleJob | WakeJob) -> None:
        execute = self._connection.execute
        match write:
            case TakeLease():
                execute(
                    "UPDATE jobs SET leased_until = ?, fence = fence + 1, woken = NULL WHERE kind = ? AND key = ?",
                    (write.until, write.kind, write.key),
                )
            case ScheduleJob():
                execute(
                    "INSERT INTO jobs (kind, key, due) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET"
                    " due = min(excluded.due, ifnull(woken, excluded.due)), leased_until = 0, woken = NULL",
                    (write.kind, write.key, write.due),
                )
            case WakeJob():
                # leased_until is 0 from the end of one run to the lease of the next: only between, a wake is kept.
                execute(
                    "INSERT INTO jobs (kind, key, due) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET"
                    " due = min(due, excluded.due),"
                    " woken = CASE WHEN leased_until > 0 THEN min(ifnull(woken, excluded.due), excluded.due) END",
                    (write.kind, write.key, write.due),
                )


def _insert(connection: sqlite3.Connection, table: str, rows: Mapping[bytes, _Row] | Mapping[_Serial, _Row]) -> None:
    if not rows:
        return
    ordered = [row for _, row in sorted(rows.items(), key=itemgetter(0))]
    marks = ", ".join("?" * len(ordered[0]))
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", ordered)


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
