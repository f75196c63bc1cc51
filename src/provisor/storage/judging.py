"""What becomes of the entries of one transaction, judged in their order over facts of the database.

No database is asked here but through `Facts`, so every store judges alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, assert_never, final

from msgspec import Struct

from provisor.ports import (
    DropEvents,
    DropExpired,
    DropReceipts,
    DropSpentTokens,
    Entry,
    EntryID,
    Epoch,
    FreshSerial,
    IssuerID,
    JobRecord,
    LeaseHeld,
    MetaIs,
    NotRevoked,
    Outcome,
    PutCRL,
    PutHead,
    PutMeta,
    RecordRevocation,
    SpendToken,
    Unspent,
    Write,
)
from provisor.storage.base import CLOCK_TOLERANCE_SECONDS, SignedCertificate
from provisor.storage.encoding import encode_serial, hash_token_key
from provisor.storage.guards import (
    AnyGuard,
    LeaseFree,
    LogSizeIs,
    NewerCRL,
    NewerHead,
    NotIndexed,
    implied_guards,
    tag_of,
)

_ENTRY_ID_BYTES: Final = 16
EPOCH: Final = "epoch"
HIGH_WATER: Final = "high_water"
INDEXED: Final = "projected"
"""The place in the log that the inventory's index reaches."""
TOKENS_NOT_BEFORE: Final = "tokens_not_before"
"""Tokens of before this time (unix seconds) were spent in a database that is lost, or were not: nobody knows."""
_OWN_META: Final = frozenset(
    {
        HIGH_WATER,
        INDEXED,
        TOKENS_NOT_BEFORE,
        "schema_version",
        "oldest_program",
        "authority_id",
        "log_forks",
        "log_gaps",
    }
)

_Drop = DropSpentTokens | DropReceipts | DropExpired | DropEvents
_LEAST_AGE: Final[dict[type[_Drop], int]] = {
    DropSpentTokens: 0,
    DropReceipts: 3600,
    DropExpired: 24 * 3600,
    DropEvents: 24 * 3600,
}
"""Seconds that must have passed since the end of what is forgotten, whoever asks for it."""

Place = tuple[int, bytes]
"""A certificate in the store: the short number of its issuer, and the key of its serial (`encode_serial`)."""

Row = tuple[object, ...]


class Recorded(Struct, frozen=True):
    """An entry that was committed before: the certificate it was signed with, if it was."""

    place: Place | None
    der: bytes


class Facts(Protocol):
    """What the database knows, as of the transaction in which it is asked."""

    def find_recorded(self, entry: EntryID) -> Recorded | None: ...

    def find_issuer_number(self, issuer: IssuerID) -> int | None: ...

    def is_spent(self, key: bytes) -> bool:
        """`key` as `hash_token_key` makes it."""
        ...

    def is_revoked(self, place: Place) -> bool: ...

    def has_serial(self, place: Place) -> bool: ...

    def find_meta(self, key: str) -> str | None: ...

    def find_job(self, kind: str, key: str) -> JobRecord | None: ...

    def find_crl_number(self, issuer: IssuerID) -> int | None: ...

    def log_size(self) -> int:
        """How many events the tree of the audit log has."""
        ...

    def head_size(self) -> int:
        """The size of the newest head of that tree; 0 if there is none."""
        ...


@final
class Rows:
    """What a transaction appends, each row under its key; the values are in the order of the table's columns."""

    __slots__ = ("certificates", "events", "receipts", "revocations", "tokens")

    def __init__(self) -> None:
        self.certificates: dict[Place, Row] = {}
        self.revocations: dict[Place, Row] = {}
        self.tokens: dict[bytes, Row] = {}
        self.events: dict[EntryID, Row] = {}
        self.receipts: dict[EntryID, Row] = {}


class Surprise(Exception):
    """What an optimistic judge took for granted does not hold: judge again, strictly."""


@final
class Batch:
    """The entries of one transaction, and what they append.

    `apply` is called, in order, for every write that is no appended row. An optimistic batch does not ask
    what an insert would run into anyway (that a token is unspent, a serial fresh, an entry new): a store
    whose insert fails, or that sees a `Surprise`, begins again with a strict one.
    """

    def __init__(
        self, facts: Facts, apply: Callable[[Write], None], *, now: int, high_water: int, optimistic: bool = False
    ) -> None:
        self.rows = Rows()
        self._facts = facts
        self._apply = apply
        self._now = now
        self._high_water = high_water
        self._optimistic = optimistic
        self._issuers: dict[IssuerID, int | None] = {}
        self._metas: dict[str, str | None] = {}

    def judge(self, entry: Entry) -> Outcome | None:
        """The outcome of an entry that will not be written: recorded already, rejected, refused. Else None."""
        objection = self._find_objection(entry)
        if objection:
            return Outcome(entry.id, "rejected", reason=objection)
        recorded = self._find_recorded(entry)
        if recorded is not None:
            return recorded
        implied = implied_guards(entry)
        for guard in entry.guards:
            if not self._holds(guard, inserted=guard in implied):
                return Outcome(entry.id, "refused", guard=tag_of(guard))
        for also in implied:
            if also not in entry.guards and not self._holds(also, inserted=True):
                return Outcome(entry.id, "refused", guard=tag_of(also))
        return None

    def admit(self, entry: Entry, sign: Callable[[], SignedCertificate | Outcome]) -> Outcome:
        """Judge an entry and, if nothing stands against it, have it signed and take its rows and writes in."""
        outcome = self.judge(entry)
        if outcome is not None:
            return outcome
        if entry.sign is None:
            self.take(entry)
            return Outcome(entry.id, "committed")
        answer = sign()
        if isinstance(answer, Outcome):
            return answer
        self.take(entry)
        return self.certify(entry, answer)

    def take(self, entry: Entry) -> None:
        """The rows and writes of an entry that was judged, all but its certificate."""
        for write in entry.writes:
            self._take(write)
        if entry.event is None:
            self.rows.receipts[entry.id] = (entry.id,)
        elif entry.sign is None:
            self.rows.events[entry.id] = (entry.id, None, None, entry.event)
        else:
            place = self._place(entry.sign.issuer, entry.sign.serial)
            self.rows.events[entry.id] = (entry.id, *place, entry.event)

    def certify(self, entry: Entry, signed: SignedCertificate) -> Outcome:
        """The certificate of an entry that was taken. Raises `Surprise` for the second one of a serial."""
        sign = entry.sign
        assert sign is not None
        place = self._place(sign.issuer, sign.serial)
        if place in self.rows.certificates:
            raise Surprise
        self.rows.certificates[place] = (
            *place,
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
        return Outcome(entry.id, "committed", certificate=signed.der)

    # -- judging --------------------------------------------------------------------------------

    def _find_objection(self, entry: Entry) -> str:
        """Why the store will not have the entry, whatever its guards; empty if it will."""
        if len(entry.id) != _ENTRY_ID_BYTES:
            return f"an entry id has {_ENTRY_ID_BYTES} octets"
        if entry.sign is not None:
            if entry.event is None:
                return "a certificate without an audit event"
            if self._issuer_number(entry.sign.issuer) is None:
                return "unknown issuer"
        for write in entry.writes:
            if isinstance(write, SpendToken):
                continue
            if isinstance(write, RecordRevocation | PutCRL | DropExpired) and self._issuer_number(write.issuer) is None:
                return "unknown issuer"
            if isinstance(write, PutMeta) and write.key in _OWN_META:
                return f"meta {write.key} is the store's own"
            if isinstance(write, PutHead) and write.size > self._facts.log_size():
                return "a head of more events than the log's tree has"
            if isinstance(write, _Drop) and (objection := self._find_too_young(write)):
                return objection
        return ""

    def _find_too_young(self, write: _Drop) -> str:
        """Why what the write would forget must not be forgotten yet."""
        if write.before > self._now - _LEAST_AGE[type(write)]:
            return f"{type(write).__name__}: what is not over for long enough is not forgotten"
        # A clock that is set back must not bring spent tokens to life again.
        if self._now < self._high_water - CLOCK_TOLERANCE_SECONDS:
            return "the clock stands behind the store's time: nothing is forgotten"
        return ""

    def _find_recorded(self, entry: Entry) -> Outcome | None:
        """Committed, for an entry that is repeated; rejected, for another one under an id that is taken."""
        if entry.id in self.rows.events or entry.id in self.rows.receipts:
            if self._optimistic:
                raise Surprise
            recorded: Recorded | None = self._find_waiting(entry.id)
        else:
            recorded = None if self._optimistic else self._facts.find_recorded(entry.id)
        if recorded is None:
            return None
        if recorded.place != (None if entry.sign is None else self._place(entry.sign.issuer, entry.sign.serial)):
            return Outcome(entry.id, "rejected", reason="the id belongs to another entry")
        return Outcome(entry.id, "committed", certificate=recorded.der)

    def _find_waiting(self, entry: EntryID) -> Recorded:
        """An entry of this same batch."""
        row = self.rows.events.get(entry)
        if row is None or row[1] is None:
            return Recorded(None, b"")
        number, serial = row[1], row[2]
        assert isinstance(number, int)
        assert isinstance(serial, bytes)
        der = self.rows.certificates[number, serial][-1]
        assert isinstance(der, bytes)
        return Recorded((number, serial), der)

    def _holds(self, guard: AnyGuard, *, inserted: bool) -> bool:
        """`inserted`: the entry's own rows would run into the ones that speak against the guard."""
        known = inserted and self._optimistic
        match guard:
            case Unspent():
                key = hash_token_key(guard.key)
                return key not in self.rows.tokens and (known or not self._facts.is_spent(key))
            case NotRevoked():
                place = self._place(guard.issuer, guard.serial)
                return place not in self.rows.revocations and (known or not self._facts.is_revoked(place))
            case FreshSerial():
                place = self._place(guard.issuer, guard.serial)
                return place not in self.rows.certificates and (known or not self._facts.has_serial(place))
            case Epoch():
                return self._meta(EPOCH) == str(guard.number)
            case MetaIs():
                return self._meta(guard.key) == guard.value
            case LeaseHeld():
                job = self._facts.find_job(guard.kind, guard.key)
                return job is not None and job.fence == guard.fence
            case LeaseFree():
                job = self._facts.find_job(guard.kind, guard.key)
                return job is not None and job.due <= self._now and job.leased_until <= self._now
            case NewerCRL():
                number = self._facts.find_crl_number(guard.issuer)
                return number is None or guard.number > number
            case NotIndexed():
                return int(self._meta(INDEXED) or "0") < guard.place
            case LogSizeIs():
                return self._facts.log_size() == guard.size
            case NewerHead():
                return self._facts.head_size() < guard.size
            case _:
                assert_never(guard)

    def _meta(self, key: str) -> str | None:
        if key not in self._metas:
            self._metas[key] = self._facts.find_meta(key)
        return self._metas[key]

    def _place(self, issuer: IssuerID, serial: int) -> Place:
        """Of an issuer that nobody knows, a place that nothing is at."""
        number = self._issuer_number(issuer)
        return -1 if number is None else number, encode_serial(serial)

    def _issuer_number(self, issuer: IssuerID) -> int | None:
        number = self._issuers.get(issuer)
        if number is None:
            number = self._issuers[issuer] = self._facts.find_issuer_number(issuer)
        return number

    def _take(self, write: Write) -> None:
        match write:
            case SpendToken():
                key = hash_token_key(write.key)
                self.rows.tokens[key] = (key, write.expires, write.outcome, write.digest)
            case RecordRevocation():
                place = self._place(write.issuer, write.serial)
                self.rows.revocations[place] = (
                    *place,
                    write.reason_code,
                    write.reason,
                    write.revoked_at,
                    write.expires,
                    write.provisioner_id,
                    write.token_id,
                    int(write.mtls),
                )
            case _:
                self._metas.clear()
                self._issuers.clear()
                self._apply(write)
