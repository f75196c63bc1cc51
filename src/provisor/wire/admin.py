"""What is said on the administrator's socket. Serials are decimal, times RFC 3339, digests hex."""

from __future__ import annotations

import msgspec
from msgspec import Struct

LARGEST_PAGE = 500


class CertificateItem(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One line of a list. `state` is valid, expired or revoked; `certificate` PEM, where it was asked for.

    `place` is that of its event in the audit log, None while it has none.
    """

    serial: str
    fingerprint: str
    names: tuple[str, ...]
    provisioner: str
    kind: str
    not_before: str
    not_after: str
    state: str
    lineage: str
    predecessor: str = ""
    revoked_at: str = ""
    place: int | None = None
    certificate: str = ""


class CertificatePage(Struct, frozen=True, rename="camel", omit_defaults=True):
    """`cursor` is where the next page begins; empty behind the last one. A page may be short, or empty, before."""

    certificates: tuple[CertificateItem, ...]
    cursor: str = ""


class RevocationBody(Struct, frozen=True, rename="camel", omit_defaults=True):
    """`provisioner` is the id of the one whose token it was, `method` certificate, token or admin-socket."""

    at: str
    reason_code: int
    method: str
    reason: str = ""
    provisioner: str = ""
    token: str = ""


class LineMember(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A certificate of a line. `state` is valid, expired, revoked, or dropped: expired, and its row is gone."""

    serial: str
    state: str
    not_after: str
    not_before: str = ""
    predecessor: str = ""


class CertificateBody(Struct, frozen=True, rename="camel", omit_defaults=True):
    """All that is known of one certificate. `line` has the newest of its line first, `line_size` says how many
    there are, as far as they were counted; `successors` are those that renew this one. `event` is the audit event."""

    certificate: CertificateItem
    issuer: str
    issuer_id: str
    subject: str
    key: str
    key_digest: str
    provisioner_id: str
    request_digest: str
    line: tuple[LineMember, ...]
    line_size: int
    indexed: bool
    revocation: RevocationBody | None = None
    predecessor: LineMember | None = None
    successors: tuple[str, ...] = ()
    event: msgspec.Raw = msgspec.Raw(b"null")


class DroppedBody(Struct, frozen=True, rename="camel"):
    """What stays of a certificate that expired long ago."""

    serial: str
    fingerprint: str
    lineage: str
    predecessor: str
    not_after: str
    state: str = "dropped"


class RevokeLineageRequest(Struct, frozen=True, rename="camel"):
    reason_code: int = 0
    reason: str = ""


class RevokeLineageResponse(Struct, frozen=True, rename="camel"):
    """`revoked` are the serials that this call revoked; `already` how many of the line were revoked before."""

    lineage: str
    revoked: tuple[str, ...]
    already: int


class ProcessBody(Struct, frozen=True, rename="camel"):
    role: str
    pid: int
    memory_bytes: int


class StoreBody(Struct, frozen=True, rename="camel"):
    """`certificates` is by the newest and oldest row; revocations and tokens are counted up to `counted_to`."""

    kind: str
    place: str
    bytes: int
    certificates: int
    revocations: int
    tokens: int
    counted_to: int


class LogBody(Struct, frozen=True, rename="camel"):
    """`events` are recorded; `sequenced` of them are in the log's tree, `indexed` in the inventory; the lags are
    the events that are not. The newest signed head covers `head_size`. `gaps` are events that were gone from the
    database before they were in the tree: somebody took them away."""

    events: int
    sequenced: int
    sequencer_lag: int
    indexed: int
    index_lag: int
    head_size: int
    head_age_seconds: int | None
    gaps: int = 0


class IssuerBody(Struct, frozen=True, rename="camel"):
    name: str
    id: str
    state: str
    not_after: str


class CRLBody(Struct, frozen=True, rename="camel"):
    number: int
    this_update: str
    next_update: str
    age_seconds: int


class JobBody(Struct, frozen=True, rename="camel"):
    kind: str
    key: str
    due: str
    leased: bool


class StatusBody(Struct, frozen=True, rename="camel"):
    """`crl` is None where there is no list."""

    version: str
    epoch: int
    started: str
    uptime_seconds: int
    config: str
    processes: tuple[ProcessBody, ...]
    store: StoreBody
    log: LogBody
    issuers: tuple[IssuerBody, ...]
    crl: CRLBody | None
    jobs: tuple[JobBody, ...]
