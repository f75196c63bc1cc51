"""What the middle needs from outside, split by who uses it, and the data that crosses the line.

The write side is one primitive: an `Entry` is guards, writes and one audit event, and a store's
`commit(entries) -> outcomes` does all of an entry or nothing of it. Everything here is plain data
so that it crosses a process border as JSON (serials have more bits than msgpack knows).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

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


Write = (
    SpendToken | RecordRevocation | PutMeta | PutCRL | PutIssuer | TakeLease | ScheduleJob | WakeJob | DropSpentTokens
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
    """`high_water` is the latest time the store has seen (unix seconds)."""

    writable: bool
    high_water: int
    epoch: int
    reason: str = ""


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

    async def health(self) -> StoreHealth:
        """Whether the store takes writes, as the one who writes knows it. Raises `Unavailable`."""
        ...
