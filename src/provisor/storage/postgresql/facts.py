"""What the database knows of the things a batch is about: asked for all of it at once, then judged without asking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, assert_never, final

from msgspec import Struct

from provisor.ports import (
    AppendLog,
    DropEvents,
    DropExpired,
    DropHeads,
    DropReceipts,
    DropSpentTokens,
    Entry,
    EntryID,
    Epoch,
    FreshSerial,
    IndexTerms,
    IssuerID,
    JobRecord,
    LeaseHeld,
    MetaIs,
    NotRevoked,
    PutCRL,
    PutHead,
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
from provisor.storage.encoding import encode_serial, hash_token_key
from provisor.storage.judging import EPOCH, INDEXED, Place, Recorded
from provisor.storage.postgresql.connect import Connection

KEPT: Final = 2**63 - 1
"""Column `expires` of a token that is kept for ever."""

JobKey = tuple[str, str]

# What an optimistic batch asks: the rest, its inserts would run into. A token may lie in any partition.
_COMMON: Final = """
SELECT 'spent' AS kind, key AS a, 0 AS n, NULL::text AS b FROM provisor.tokens WHERE key = ANY($1::bytea[])
UNION ALL
SELECT 'revoked', r.serial, r.issuer_n, NULL FROM provisor.revocations r
    JOIN unnest($2::int[], $3::bytea[]) AS u(n, s) ON r.issuer_n = u.n AND r.serial = u.s
UNION ALL
SELECT 'expired', c.serial, c.issuer_n, NULL FROM provisor.expired_certificates c
    JOIN unnest($5::int[], $6::bytea[]) AS u(n, s) ON c.issuer_n = u.n AND c.serial = u.s
UNION ALL
SELECT 'meta', convert_to(key, 'UTF8'), 0, value FROM provisor.meta WHERE key = ANY($4::text[])
UNION ALL
SELECT 'process', NULL, pg_backend_pid(), NULL
"""

_STRICT: Final = """
SELECT 'serial' AS kind, c.issuer_n, c.serial, NULL::bytea AS id, NULL::bytea AS der FROM provisor.certificates c
    JOIN unnest($1::int[], $2::bytea[]) AS u(n, s) ON c.issuer_n = u.n AND c.serial = u.s
UNION ALL
SELECT 'serial', c.issuer_n, c.serial, NULL, NULL FROM provisor.expired_certificates c
    JOIN unnest($1::int[], $2::bytea[]) AS u(n, s) ON c.issuer_n = u.n AND c.serial = u.s
UNION ALL
SELECT 'entry', e.issuer_n, e.serial, e.id, c.der FROM provisor.events e
    LEFT JOIN provisor.certificates c ON c.issuer_n = e.issuer_n AND c.serial = e.serial
    WHERE e.id = ANY($3::bytea[])
UNION ALL
SELECT 'entry', NULL, NULL, r.id, NULL FROM provisor.receipts r WHERE r.id = ANY($3::bytea[])
"""

_ISSUERS: Final = "SELECT id, n, certificate, state FROM provisor.issuers ORDER BY n"

_JOBS: Final = """
SELECT j.kind, j.key, j.due, j.leased_until, j.fence, j.woken FROM provisor.jobs j
    JOIN unnest($1::text[], $2::text[]) AS u(kind, key) ON j.kind = u.kind AND j.key = u.key
"""

_CRLS: Final = "SELECT issuer_n, number FROM provisor.crls"

_LOG: Final = """
SELECT coalesce((SELECT tile * 256 + length(hashes) / 32 FROM provisor.log_tiles WHERE level = 0
    ORDER BY tile DESC LIMIT 1), 0), coalesce((SELECT max(size) FROM provisor.log_heads), 0)
"""

_HIGH_WATER: Final = "SELECT coalesce(max(at), 0) FROM provisor.clock"


Step = DropSpentTokens | DropReceipts | DropExpired | DropEvents | AppendLog | PutHead | DropHeads
"""Writes that are carried out one by one behind all the rest."""


class Job(Struct):
    """A row of `jobs`."""

    due: int
    leased_until: int = 0
    fence: int = 0
    woken: int | None = None


@final
class Needs:
    """What the entries of a batch are about."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.ids = [entry.id for entry in entries]
        self.tokens: set[bytes] = set()
        self.revoked: set[tuple[IssuerID, int]] = set()
        self.serials: set[tuple[IssuerID, int]] = set()
        self.metas: set[str] = set()
        self.jobs: set[JobKey] = set()
        self.issuers: set[IssuerID] = set()
        self.crls = self.drops = self.new_issuers = self.log = False
        for entry in entries:
            for guard in entry.guards:
                self._add_guard(guard)
            for write in entry.writes:
                self._add_write(write)
            if entry.sign is not None:
                self.serials.add((entry.sign.issuer, entry.sign.serial))
                self.issuers.add(entry.sign.issuer)

    def _add_guard(self, guard: object) -> None:
        match guard:
            case Unspent():
                self.tokens.add(hash_token_key(guard.key))
            case NotRevoked():
                self.revoked.add((guard.issuer, guard.serial))
                self.issuers.add(guard.issuer)
            case FreshSerial():
                self.serials.add((guard.issuer, guard.serial))
                self.issuers.add(guard.issuer)
            case Epoch():
                self.metas.add(EPOCH)
            case MetaIs():
                self.metas.add(guard.key)
            case LeaseHeld():
                self.jobs.add((guard.kind, guard.key))
            case _:
                raise TypeError(f"unknown guard {type(guard).__name__}")

    def _add_write(self, write: Write) -> None:
        match write:
            case SpendToken():
                self.tokens.add(hash_token_key(write.key))
            case RecordRevocation():
                self.revoked.add((write.issuer, write.serial))
                self.issuers.add(write.issuer)
            case PutCRL():
                self.crls = True
                self.issuers.add(write.issuer)
            case PutIssuer():
                self.new_issuers = True
            case TakeLease() | ScheduleJob() | WakeJob():
                self.jobs.add((write.kind, write.key))
            case IndexTerms():
                self.metas.add(INDEXED)
            case DropExpired():
                self.drops = True
                self.issuers.add(write.issuer)
            case DropSpentTokens() | DropReceipts() | DropEvents():
                self.drops = True
            case AppendLog() | PutHead() | DropHeads():
                self.log = True
            case PutMeta():
                pass
            case _:
                assert_never(write)


@final
class LoadedFacts:
    """`judging.Facts` as they were loaded, changed by what the batch itself writes; `changed_*` is to be written."""

    def __init__(self, numbers: dict[IssuerID, int]) -> None:
        """`numbers` are the issuers that are known; a number never changes."""
        self.numbers = dict(numbers)
        self.spent: set[bytes] = set()
        self.revoked: set[Place] = set()
        self.serials: set[Place] = set()
        self.recorded: dict[EntryID, Recorded] = {}
        self.metas: dict[str, str] = {}
        self.jobs: dict[JobKey, Job] = {}
        self.crls: dict[int, int] = {}
        self.high_water: int | None = None
        self.process = 0
        self.changed_metas: dict[str, str] = {}
        self.changed_jobs: dict[JobKey, Job] = {}
        self.changed_issuers: dict[IssuerID, PutIssuer] = {}
        self.changed_crls: dict[int, PutCRL] = {}
        self.terms: set[tuple[bytes, int]] = set()
        self.log = 0
        self.head = 0
        self.steps: list[Step] = []

    # -- judging.Facts --------------------------------------------------------------------------

    def find_recorded(self, entry: EntryID) -> Recorded | None:
        return self.recorded.get(entry)

    def find_issuer_number(self, issuer: IssuerID) -> int | None:
        return self.numbers.get(issuer)

    def is_spent(self, key: bytes) -> bool:
        return key in self.spent

    def is_revoked(self, place: Place) -> bool:
        return place in self.revoked

    def has_serial(self, place: Place) -> bool:
        return place in self.serials

    def find_meta(self, key: str) -> str | None:
        return self.metas.get(key)

    def find_job(self, kind: str, key: str) -> JobRecord | None:
        job = self.jobs.get((kind, key))
        return None if job is None else JobRecord(kind, key, job.due, job.leased_until, job.fence)

    def find_crl_number(self, issuer: IssuerID) -> int | None:
        number = self.numbers.get(issuer)
        return None if number is None else self.crls.get(number)

    def log_size(self) -> int:
        return self.log

    def head_size(self) -> int:
        return self.head

    # -- loading --------------------------------------------------------------------------------

    async def load(self, connection: Connection, needs: Needs, *, strict: bool) -> None:
        """Ask for everything in few questions. With `strict` also for what an insert would run into."""
        if needs.new_issuers or not needs.issuers <= self.numbers.keys():
            await self.load_issuers(connection)
        revoked, serials = self._places(needs.revoked), self._places(needs.serials)
        rows = await connection.fetch(
            _COMMON,
            list(needs.tokens),
            [number for number, _ in revoked],
            [serial for _, serial in revoked],
            list(needs.metas),
            [number for number, _ in serials],
            [serial for _, serial in serials],
        )
        for kind, octets, number, text in rows:
            match kind:
                case "spent":
                    self.spent.add(octets)
                case "revoked":
                    self.revoked.add((number, octets))
                case "expired":
                    self.serials.add((number, octets))
                case "meta":
                    self.metas[octets.decode()] = text
                case _:
                    self.process = number
        if strict:
            await self.load_strictly(connection, needs)
        if needs.jobs:
            jobs = sorted(needs.jobs)
            for row in await connection.fetch(_JOBS, [kind for kind, _ in jobs], [key for _, key in jobs]):
                self.jobs[row["kind"], row["key"]] = Job(row["due"], row["leased_until"], row["fence"], row["woken"])
        if needs.crls:
            self.crls = {row["issuer_n"]: row["number"] for row in await connection.fetch(_CRLS)}
        if needs.log:
            self.log, self.head = await connection.fetchrow(_LOG)
        if needs.drops:
            self.high_water = await connection.fetchval(_HIGH_WATER)

    async def load_issuers(self, connection: Connection) -> None:
        self.numbers = {row["id"]: row["n"] for row in await connection.fetch(_ISSUERS)}

    async def load_strictly(self, connection: Connection, needs: Needs) -> None:
        serials = self._places(needs.serials)
        rows = await connection.fetch(
            _STRICT, [number for number, _ in serials], [serial for _, serial in serials], needs.ids
        )
        for row in rows:
            place = None if row["issuer_n"] is None else (row["issuer_n"], row["serial"])
            if row["kind"] == "serial":
                assert place is not None
                self.serials.add(place)
            else:
                self.recorded[row["id"]] = Recorded(place, row["der"] or b"")

    def _places(self, things: set[tuple[IssuerID, int]]) -> list[Place]:
        """Those of known issuers, in order."""
        known = ((self.numbers.get(issuer), serial) for issuer, serial in things)
        return sorted((number, encode_serial(serial)) for number, serial in known if number is not None)

    # -- what the batch writes ------------------------------------------------------------------

    def apply(self, write: Write) -> None:
        """A write that is no appended row: seen by the entries behind it, written with all the rest."""
        match write:
            case PutMeta():
                self.metas[write.key] = self.changed_metas[write.key] = write.value
            case PutIssuer():
                self._put_issuer(write)
            case PutCRL():
                number = self.numbers[write.issuer]
                self.crls[number] = write.number
                self.changed_crls[number] = write
            case TakeLease() | ScheduleJob() | WakeJob():
                self._change_job(write)
            case IndexTerms():
                self.terms.update(write.terms)
                self.metas[INDEXED] = self.changed_metas[INDEXED] = str(write.upto)
            case AppendLog():
                self.log = write.size + len(write.ids)
                self.steps.append(write)
            case PutHead():
                self.head = write.size
                self.steps.append(write)
            case DropSpentTokens() | DropReceipts() | DropExpired() | DropEvents() | DropHeads():
                self.steps.append(write)
            case SpendToken() | RecordRevocation():
                raise AssertionError("an appended row")
            case _:
                assert_never(write)

    def _put_issuer(self, write: PutIssuer) -> None:
        if write.id not in self.numbers:
            self.numbers[write.id] = max(self.numbers.values(), default=0) + 1
        before = self.changed_issuers.get(write.id)
        certificate = write.certificate if before is None else before.certificate
        self.changed_issuers[write.id] = PutIssuer(write.id, certificate, write.state)

    def _change_job(self, write: TakeLease | ScheduleJob | WakeJob) -> None:
        key = (write.kind, write.key)
        job = self.jobs.get(key)
        match write:
            case TakeLease():
                assert job is not None  # LeaseFree held
                job = Job(job.due, write.until, job.fence + 1)
            case ScheduleJob():
                woken = None if job is None else job.woken
                due = write.due if woken is None else min(write.due, woken)
                job = Job(due, 0, 0 if job is None else job.fence)
            case WakeJob():
                job = _woken(job, write.due)
        self.jobs[key] = self.changed_jobs[key] = job


def _woken(job: Job | None, due: int) -> Job:
    """`leased_until` is 0 from the end of one run to the lease of the next: only between, a wake is kept."""
    if job is None:
        return Job(due)
    woken = min(due, due if job.woken is None else job.woken) if job.leased_until > 0 else None
    return Job(min(job.due, due), job.leased_until, job.fence, woken)


def columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Rows turned into columns, as `unnest` takes them."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
