"""What the middle needs from outside, split by who uses it, and the data that crosses the line.

The write side is one primitive: an `Entry` is guards, writes and one audit event, and a store's
`commit(entries) -> outcomes` does all of an entry or nothing of it. Everything here is plain data
so that it crosses a process border as JSON (serials have more bits than msgpack knows).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from msgspec import Struct

IssuerID = bytes
"""SHA-256 of the issuer certificate's DER (32 bytes)."""

EntryID = bytes
"""16 bytes: 48 bits of milliseconds, 80 random bits. Also the id of the entry's audit event."""


# -- guards: what must hold in the store at the moment of the commit ---------------------------


class Unspent(Struct, frozen=True, tag="unspent"):
    """The token key has not been used."""

    key: str


class NotRevoked(Struct, frozen=True, tag="not-revoked"):
    """No revocation of this serial is recorded for this issuer."""

    issuer: IssuerID
    serial: int


class FreshSerial(Struct, frozen=True, tag="fresh-serial"):
    """No certificate of this issuer has this serial."""

    issuer: IssuerID
    serial: int


class Epoch(Struct, frozen=True, tag="epoch"):
    """The configuration epoch the decision was made under is still the current one."""

    number: int


class MetaIs(Struct, frozen=True, tag="meta-is"):
    """A value of the meta table is this one (None: absent). Compare-and-set with `PutMeta`."""

    key: str
    value: str | None


class LeaseHeld(Struct, frozen=True, tag="lease-held"):
    """The job's fence is this number: nobody has taken a lease since it was read."""

    kind: str
    key: str
    fence: int


Guard = Unspent | NotRevoked | FreshSerial | Epoch | MetaIs | LeaseHeld


# -- writes -------------------------------------------------------------------------------------


class SpendToken(Struct, frozen=True, tag="spend-token"):
    """`expires`: unix seconds after which the row may be dropped, None to keep it for ever.

    `outcome` is a word ("granted" or the error code), `digest` the SHA-256 of the request.
    """

    key: str
    expires: int | None
    outcome: str
    digest: bytes


class RecordRevocation(Struct, frozen=True, tag="record-revocation"):
    """One revoked X.509 serial. Times are unix seconds; `expires` None when the certificate is unknown."""

    issuer: IssuerID
    serial: int
    reason_code: int
    reason: str
    revoked_at: int
    expires: int | None
    provisioner_id: str
    token_id: str
    mtls: bool


class PutMeta(Struct, frozen=True, tag="put-meta"):
    key: str
    value: str


class PutCRL(Struct, frozen=True, tag="put-crl"):
    """The newest CRL of an issuer. Times are unix seconds."""

    issuer: IssuerID
    number: int
    this_update: int
    next_update: int
    der: bytes


class PutIssuer(Struct, frozen=True, tag="put-issuer"):
    """Make an issuer known, or change its `state` (next, active, retiring, disabled)."""

    id: IssuerID
    certificate: bytes
    state: str


class TakeLease(Struct, frozen=True, tag="take-lease"):
    """Lease a due job until `until` (unix seconds); the store raises its fence by one."""

    kind: str
    key: str
    until: int


class ScheduleJob(Struct, frozen=True, tag="schedule-job"):
    """Make a job due at `due` (unix seconds), releasing its lease. Creates the job if it is new.

    A job woken since its lease was taken keeps the earlier time: what woke it may have come too late
    for the run that ends here.
    """

    kind: str
    key: str
    due: int


class WakeJob(Struct, frozen=True, tag="wake-job"):
    """Make a job due at `due` (unix seconds) at the latest, leaving a lease in force. Creates the job if it is new."""

    kind: str
    key: str
    due: int


class DropSpentTokens(Struct, frozen=True, tag="drop-spent-tokens"):
    """Forget at most `limit` token rows that expired before `before` (unix seconds)."""

    before: int
    limit: int


class DropReceipts(Struct, frozen=True, tag="drop-receipts"):
    """Forget at most `limit` receipts (of entries without an event) from before `before` (unix seconds)."""

    before: int
    limit: int


class DropExpired(Struct, frozen=True, tag="drop-expired"):
    """Forget certificates of an issuer that ended before `before` (unix seconds): serials, with places in the log.

    Their lines, ends and fingerprints stay. `terms` are those of the index that lead to them. Of those whose event
    is older than `events_before` (None: of none) the event goes too, if events have been dropped that far.
    """

    issuer: IssuerID
    before: int
    certificates: tuple[tuple[int, int], ...]
    terms: tuple[tuple[bytes, int], ...]
    events_before: int | None = None


class DropEvents(Struct, frozen=True, tag="drop-events"):
    """Forget events from before `before` (unix seconds) whose certificates are gone; their hashes stay in the log.

    At most `limit` rows are looked at, from where the last such write ended. Where events lie in a table for each
    month, one whole table of those that nobody needs any more is dropped beside, some time after the commit.
    """

    before: int
    limit: int


class IndexTerms(Struct, frozen=True, tag="index-terms"):
    """Terms (core/terms.py) with the places of their certificates in the log, all of those up to the place `upto`.

    The index reaches there then. It is not done twice: that it has not reached there is its own guard.
    """

    upto: int
    terms: tuple[tuple[bytes, int], ...]


class LogTile(Struct, frozen=True):
    """Hashes of the audit log's tree, one behind the other (core/merkle.py)."""

    level: int
    index: int
    hashes: bytes


class AppendLog(Struct, frozen=True, tag="append-log"):
    """The next events of the audit log, behind the `size` that its tree has, and every tile that this changes.

    That the tree has that size is its own guard. `ids` are the entries of the events, in their order. `gaps` are
    places among them whose event is missing (`LogArchive.unsequenced`); the store takes none whose event it has.
    """

    size: int
    ids: tuple[EntryID, ...]
    tiles: tuple[LogTile, ...]
    gaps: tuple[int, ...] = ()


class PutHead(Struct, frozen=True, tag="put-head"):
    """A signed head of the log's tree at a size that it has reached (core/tree_head.py). `at` is unix seconds.

    That no head of this size or a greater one is recorded is its own guard.
    """

    size: int
    at: int
    text: bytes
    signature: bytes


class DropHeads(Struct, frozen=True, tag="drop-heads"):
    """Forget the heads of these sizes; the newest head stays even if it is named."""

    sizes: tuple[int, ...]


Write = (
    SpendToken
    | RecordRevocation
    | PutMeta
    | PutCRL
    | PutIssuer
    | TakeLease
    | ScheduleJob
    | WakeJob
    | DropSpentTokens
    | DropReceipts
    | DropExpired
    | DropEvents
    | IndexTerms
    | AppendLog
    | PutHead
    | DropHeads
)


# -- signing ------------------------------------------------------------------------------------


class ToSign(Struct, frozen=True):
    """A checked draft on its way to the notary, with what the ledger records about it.

    `tbs` is the exact DER of the TBSCertificate. `predecessor` and `lineage` are serials: the
    certificate this one renews, and the first of its line (its own serial if it is the first).
    """

    issuer: IssuerID
    tbs: bytes
    serial: int
    provisioner_id: str
    provisioner_name: str
    provisioner_kind: str
    lineage: int
    predecessor: int | None
    csr_digest: bytes


class Entry(Struct, frozen=True):
    """One decision to make durable: all of it or nothing.

    `event` is the canonical audit event, stored under the entry's own id. `sign` asks the notary
    to sign, and to record the certificate with the entry.
    """

    id: EntryID
    guards: tuple[Guard, ...] = ()
    writes: tuple[Write, ...] = ()
    event: bytes | None = None
    sign: ToSign | None = None


class Outcome(Struct, frozen=True):
    """What became of one entry.

    `status` is "committed", "refused" (a guard did not hold: `guard` is its tag), "rejected" (the
    gate or the store would not have it: `reason`, nothing was written) or "unavailable" (nothing
    was written, try again). `certificate` is the DER that was signed and recorded.
    """

    id: EntryID
    status: str
    guard: str = ""
    reason: str = ""
    certificate: bytes = b""

    @property
    def committed(self) -> bool:
        return self.status == "committed"


# -- reading ------------------------------------------------------------------------------------


class CertificateRecord(Struct, frozen=True):
    """A ledger row. Times are unix seconds."""

    issuer: IssuerID
    serial: int
    not_before: int
    not_after: int
    provisioner_id: str
    provisioner_name: str
    provisioner_kind: str
    lineage: int
    predecessor: int | None
    csr_digest: bytes
    der: bytes


class RevocationRecord(Struct, frozen=True):
    """A revoked serial as the CRL needs it. Times are unix seconds."""

    serial: int
    reason_code: int
    revoked_at: int
    expires: int | None


class CRLRecord(Struct, frozen=True):
    number: int
    this_update: int
    next_update: int
    der: bytes


class IssuerRecord(Struct, frozen=True):
    """`state` is next, active, retiring or disabled."""

    id: IssuerID
    certificate: bytes
    state: str


class JobRecord(Struct, frozen=True):
    kind: str
    key: str
    due: int
    leased_until: int
    fence: int


class StoreHealth(Struct, frozen=True):
    """`high_water` is the latest time the store has seen (unix seconds), `authority` the id it got when it was made,
    `configuration` the digest of the one in force, where several replicas share a store. Tokens issued before
    `tokens_not_before` (unix seconds) may have been spent, and the store does not know.
    """

    writable: bool
    high_water: int
    epoch: int
    reason: str = ""
    authority: str = ""
    configuration: str = ""
    tokens_not_before: int = 0


class Ledger(Protocol):
    """The reading half of the store. Raises `Unavailable` when it cannot answer; never guesses."""

    async def is_spent(self, key: str) -> bool: ...

    async def is_revoked(self, issuer: IssuerID, serial: int) -> bool: ...

    async def find_certificate(self, issuer: IssuerID, serial: int) -> CertificateRecord | None: ...

    async def find_outcome(self, entry: EntryID) -> Outcome | None:
        """The outcome of an entry whose commit was lost: committed, or None if it never happened."""
        ...

    async def revocations(self, issuer: IssuerID, alive_at: int) -> Sequence[RevocationRecord]:
        """Revocations whose certificate is unknown or expires after `alive_at`, by ascending serial."""
        ...

    async def find_crl(self, issuer: IssuerID) -> CRLRecord | None: ...

    async def find_crl_number(self, issuer: IssuerID) -> int | None:
        """The number of the newest CRL: a cheap look whether a copy is still the newest."""
        ...

    async def issuers(self) -> Sequence[IssuerRecord]: ...

    async def due_jobs(self, now: int) -> Sequence[JobRecord]:
        """Jobs whose time has come (unix seconds), those that somebody has leased included."""
        ...

    async def health(self) -> StoreHealth: ...


class TermPlace(Struct, frozen=True):
    """A row of the index: the term, and the place in the log of the certificate it is of."""

    term: bytes
    place: int


class RevocationDetail(Struct, frozen=True):
    """All that is recorded of a revocation. Times are unix seconds."""

    revoked_at: int
    reason_code: int
    reason: str
    provisioner_id: str
    token_id: str
    mtls: bool


class InventoryRow(Struct, frozen=True):
    """A recorded certificate, its revocation, and its event at `place` of the log (None: it has no place yet).

    `term` is what it was found by, if by a term. `event` is empty where the question does not lead by the log.
    """

    certificate: CertificateRecord
    revocation: RevocationDetail | None = None
    place: int | None = None
    event: bytes = b""
    term: bytes = b""


class Unindexed(Struct, frozen=True):
    """What the index lacks: a piece of the log up to `upto`, and the certificates that were signed in it."""

    upto: int
    certificates: tuple[InventoryRow, ...]


class IndexReach(Struct, frozen=True):
    """How far the index reaches in the log, and where the log ends."""

    indexed: int
    end: int


class ExpiredRecord(Struct, frozen=True):
    """What stays of a certificate whose row was dropped. `fingerprint` is the SHA-256 of its DER."""

    issuer: IssuerID
    serial: int
    lineage: int
    predecessor: int | None
    not_after: int
    fingerprint: bytes


class StoreFacts(Struct, frozen=True):
    """The store in figures. `certificates` is by its newest and oldest row, the rest counted up to `counted_to`."""

    kind: str
    place: str
    octets: int
    certificates: int
    revocations: int
    tokens: int
    counted_to: int


class Inventory(Protocol):
    """What was issued, found by any property. Raises `Unavailable` when the store cannot answer.

    Places are those of the log. Where rows come newest first, `before` is the place of the last one seen.
    """

    async def index_reach(self) -> IndexReach: ...

    async def unindexed(self, after: int, limit: int) -> Unindexed:
        """The next `limit` events of the log behind the place `after`."""
        ...

    async def issued_newest(self, before: int | None, limit: int) -> Sequence[InventoryRow]:
        """Newest first, whatever has a place in the log."""
        ...

    async def issued_with_term(self, term: bytes, before: int | None, limit: int) -> Sequence[InventoryRow]:
        """Newest first, those of exactly this term."""
        ...

    async def issued_in_range(
        self, low: bytes, high: bytes, after: TermPlace | None, limit: int
    ) -> Sequence[InventoryRow]:
        """By term and place, terms from `low` on and below `high`: a certificate once for each of its terms there."""
        ...

    async def issued_revoked(self, before: tuple[IssuerID, int] | None, limit: int) -> Sequence[InventoryRow]:
        """Revoked certificates, the newest serial of the newest issuer first; without place and event."""
        ...

    async def find_issued(self, issuer: IssuerID, serial: int) -> InventoryRow | None:
        """Also what the index does not know yet."""
        ...

    async def unindexed_of_line(self, lineage: int) -> Sequence[InventoryRow]:
        """The certificates of a line that the index does not know yet, newest last."""
        ...

    async def find_expired(self, issuer: IssuerID, serial: int) -> ExpiredRecord | None: ...

    async def store_facts(self) -> StoreFacts: ...


FARTHEST: Final = 1_000_000
"""Places of the log that may be without an event in a row. What stands farther from the others was moved there."""


class LogEvent(Struct, frozen=True):
    """The event at place `n` of the audit log, from 1, with the certificate that was signed with it, if one was.

    `der` is empty where the certificate's row was dropped; then `fingerprint`, the SHA-256 of it, is what stayed.
    """

    n: int
    id: EntryID
    body: bytes
    issuer: IssuerID | None = None
    serial: int | None = None
    der: bytes = b""
    fingerprint: bytes = b""


class HeadRecord(Struct, frozen=True):
    """A signed head of the log's tree as it was recorded. `at` is unix seconds."""

    size: int
    at: int
    text: bytes
    signature: bytes


class LogFork(Struct, frozen=True):
    """The log up to `size` events is that of a backup; what had places behind it is lost. Times are unix seconds."""

    size: int
    at: int
    backup_at: int


class Placeless(Struct, frozen=True):
    """Events that neither have a place in the log nor wait for one, of a piece that ends with the id `upto`.

    `upto` is None at the end.
    """

    ids: tuple[EntryID, ...]
    upto: EntryID | None


class RevocationTrace(Struct, frozen=True):
    """A recorded revocation, for comparison with its event. Times are unix seconds."""

    issuer: IssuerID
    serial: int
    reason_code: int
    revoked_at: int
    expires: int | None


class LogArchive(Protocol):
    """The audit log as it is stored. Nothing read here is believed before it is verified. Raises `Unavailable`."""

    async def authority_id(self) -> str: ...

    async def issuers(self) -> Sequence[IssuerRecord]: ...

    async def log_size(self) -> int:
        """How many events the tree has."""
        ...

    async def log_end(self) -> int:
        """The greatest place that an event has; greater than the size while the tree is behind.

        What stands `FARTHEST` away from all others does not count.
        """
        ...

    async def log_forks(self) -> str:
        """What meta says of restorations: a JSON array of `LogFork`, "" if nothing."""
        ...

    async def log_gaps(self) -> int:
        """How many places the sequencer has found without an event."""
        ...

    async def events_dropped(self) -> int:
        """Up to this place events may have been forgotten; their hashes are in the tree."""
        ...

    async def unsequenced(self, size: int, limit: int) -> Sequence[tuple[EntryID, bytes | None]]:
        """Id and body of the events that come next in a tree of this size; the body None where one is missing.

        The id of a missing one is empty where nobody knows it. What stands `FARTHEST` away does not come.
        """
        ...

    async def count_waiting(self) -> int:
        """Events that get their places from the sequencer and have none yet, so that `log_end` does not count them."""
        ...

    async def waiting(self, after: EntryID, limit: int) -> Sequence[LogEvent]:
        """Those events by id, behind the id `after`, each with its certificate. `n` is 0; the body empty: missing."""
        ...

    async def placeless(self, after: EntryID, limit: int) -> Placeless:
        """Of the next `limit` events behind the id `after`, those that the log will never come to."""
        ...

    async def events(self, first: int, limit: int) -> Sequence[LogEvent]:
        """From the place `first`, by place, without certificates."""
        ...

    async def events_before(self, n: int | None, limit: int) -> Sequence[LogEvent]:
        """Newest first, those before the place `n`, without certificates."""
        ...

    async def evidence(self, first: int, limit: int) -> Sequence[LogEvent]:
        """As `events`, each with its certificate."""
        ...

    async def tiles(self, level: int, first: int, limit: int) -> Sequence[LogTile]:
        """The tiles of a level from the index `first`, by index."""
        ...

    async def newest_head(self) -> HeadRecord | None: ...

    async def heads(self, size: int, limit: int) -> Sequence[HeadRecord]:
        """Those of at least this size, by size."""
        ...

    async def find_place(self, issuer: IssuerID, serial: int) -> int | None:
        """The place of the event that a certificate was signed with."""
        ...

    async def find_serial(self, fingerprint: bytes) -> tuple[IssuerID, int] | None:
        """The certificate with this SHA-256."""
        ...

    async def eventless(self, limit: int) -> Sequence[tuple[IssuerID, int]]:
        """Certificates that have no event near the time in their serial: candidates for those that have none at all."""
        ...

    async def revocation_of(self, serial: int) -> Sequence[RevocationTrace]:
        """The revocations of a serial, of whatever issuer."""
        ...

    async def revocation_traces(self, after: tuple[IssuerID, int] | None, limit: int) -> Sequence[RevocationTrace]:
        """All revocations, in one fixed order, behind `after`."""
        ...

    async def certificate_end(self, serial: int) -> int | None:
        """When the recorded certificate with this serial, of whatever issuer, expires (unix seconds)."""
        ...


class Leftovers(Struct, frozen=True):
    """Whether there are rows that are kept no longer: of spent tokens, of receipts, of events.

    Not what goes as a whole table, some time after the commit of a `DropSpentTokens` or `DropEvents`.
    """

    tokens: bool
    receipts: bool
    events: bool


class Retention(Protocol):
    """What cleaning asks before it writes. Raises `Unavailable` when the store cannot answer."""

    async def leftovers(self, *, tokens: int, receipts: int, events: int | None) -> Leftovers:
        """What ended, or is, before these times (unix seconds); None: nobody asks."""
        ...


class Archive(Inventory, LogArchive, Retention, Protocol):
    """The other reading half, for operators: it may be slow, and no request of a stranger asks it."""


class Notary(Protocol):
    """The one process that holds the keys and writes."""

    async def submit(self, entry: Entry) -> Outcome:
        """Guard, check, sign and commit durably; returns only then.

        Raises `Unavailable` when nothing was written, `OutcomeUnknown` when that cannot be known.
        """
        ...

    async def sign_crl(self, issuer: IssuerID, tbs: bytes) -> bytes:
        """The DER of the CertificateList whose TBSCertList is `tbs`; the caller commits it (`PutCRL`)."""
        ...

    async def sign_head(self, issuer: IssuerID, text: bytes) -> bytes:
        """The signature over the head of the log's tree (core/tree_head.py), which has this size and root already.

        Empty while a costly key rests from the last one.
        """
        ...

    async def health(self) -> StoreHealth:
        """Whether the store takes writes, as the one who writes knows it. Raises `Unavailable`."""
        ...


# -- calls that leave the CA ---------------------------------------------------------------------


class CallReply(Struct, frozen=True):
    """What a server answered: its status and at most so many octets of its body as the caller reads."""

    status: int
    body: bytes


class Caller(Protocol):
    """HTTPS requests of the CA itself, by its rule of addresses; no redirect is followed."""

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, *, seconds: float, with_certificate: bool
    ) -> CallReply:
        """These exact octets. `with_certificate`: trust the CA's roots, and show the CA's own certificate when asked;

        else only the system's roots, and none is shown. Raises `CallFailed`.
        """
        ...
