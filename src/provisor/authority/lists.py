"""The certificate revocation list (RFC 5280 section 5): made by a job, served from memory.

The job runs at start, when the list is due, and after revocations if the configuration says so; it is
leased, so that of several processes one makes the list, and its number is a guard, so that no two
lists share one.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final, final

from provisor.authority.snapshot import Snapshot
from provisor.core.durations import SECOND
from provisor.core.x509.crl import encode_revoked, encode_tbs_crl
from provisor.core.x509.issuer import Issuer
from provisor.errors import Unavailable
from provisor.ports import (
    CRLRecord,
    Entry,
    IssuerID,
    JobRecord,
    LeaseHeld,
    MetaIs,
    PutCRL,
    PutMeta,
    RevocationRecord,
    ScheduleJob,
    TakeLease,
    WakeJob,
)

CRL_JOB: Final = "crl"
_LEASE_SECONDS: Final = 30
_EXPIRED_KEPT: Final = 3600
"""Seconds an expired certificate stays on the list."""

_FRESH_TRIES: Final = 30
_FRESH_PAUSE: Final = 0.05


def crl_due(issuer: IssuerID, at: int) -> WakeJob:
    """The write that makes the list of an issuer due: part of the commit of a revocation."""
    return WakeJob(CRL_JOB, issuer.hex(), at)


async def refresh_crl(ca: Snapshot, job: JobRecord) -> bool:
    """Make and publish the active issuer's list now. False if another process was faster.

    Raises `Unavailable` when the store or the key is away.
    """
    now = ca.clock()
    fence = await _take_lease(ca, now, job)
    if fence is None:
        return False
    issuer = ca.issuer
    number_key = f"crl-number-{issuer.id.hex()}"
    previous = await ca.ledger.find_crl(issuer.id)
    number = 0 if previous is None else previous.number + 1
    record = await _make(ca, issuer, number, now)
    renew_after = ca.config.crl.renew_period // SECOND
    outcome = await ca.notary.submit(
        Entry(
            id=ca.generate_id(now),
            guards=(
                LeaseHeld(CRL_JOB, issuer.id.hex(), fence),
                MetaIs(number_key, None if previous is None else str(previous.number)),
            ),
            writes=(
                PutCRL(issuer.id, number, record.this_update, record.next_update, record.der),
                PutMeta(number_key, str(number)),
                ScheduleJob(CRL_JOB, issuer.id.hex(), record.this_update + max(1, renew_after)),
            ),
        )
    )
    if outcome.status in ("unavailable", "rejected"):
        raise Unavailable(f"CRL not recorded: {outcome.reason}")
    return outcome.committed


async def _take_lease(ca: Snapshot, now: datetime, job: JobRecord) -> int | None:
    """The fence the lease is held under, or None if somebody else took it since `job` was read."""
    until = int(now.timestamp()) + _LEASE_SECONDS
    entry = Entry(
        id=ca.generate_id(now),
        guards=(LeaseHeld(job.kind, job.key, job.fence),),
        writes=(TakeLease(job.kind, job.key, until),),
    )
    return job.fence + 1 if (await ca.notary.submit(entry)).committed else None


async def _make(ca: Snapshot, issuer: Issuer, number: int, now: datetime) -> CRLRecord:
    this_update = now.replace(microsecond=0)
    next_update = this_update + timedelta(microseconds=ca.config.crl.cache_duration // 1000)
    # step-ca: its one list holds what earlier issuers of the authority issued, too.
    alive_at = int(now.timestamp()) - _EXPIRED_KEPT
    found = [entry for each in ca.issuers for entry in await ca.ledger.revocations(each, alive_at)]
    revoked = sorted({entry.serial: entry for entry in found}.values(), key=lambda entry: entry.serial)
    tbs = encode_tbs_crl(
        issuer,
        number=number,
        this_update=this_update,
        next_update=next_update,
        entries=[_encode(entry) for entry in revoked],
        idp_url=ca.config.crl_idp_url,
    )
    der = await ca.notary.sign_crl(issuer.id, tbs)
    return CRLRecord(number, int(this_update.timestamp()), int(next_update.timestamp()), der)


def _encode(entry: RevocationRecord) -> bytes:
    return encode_revoked(entry.serial, datetime.fromtimestamp(entry.revoked_at, UTC), entry.reason_code)


@final
class CRLCache:
    """One process's copy of the newest list, replaced when the store has a newer one."""

    def __init__(self) -> None:
        self._record: CRLRecord | None = None

    async def get(self, ca: Snapshot) -> CRLRecord:
        """The newest list; waits for one that is due or being made, 1.5 s at most.

        So whoever revoked sees it on the list at the next look. Raises `Unavailable` before the first.
        """
        for _ in range(_FRESH_TRIES):
            if not await _pending(ca):
                break
            await asyncio.sleep(_FRESH_PAUSE)
        number = await ca.ledger.find_crl_number(ca.issuer.id)
        if self._record is None or self._record.number != number:
            self._record = await ca.ledger.find_crl(ca.issuer.id)
        if self._record is None:
            raise Unavailable("the first CRL is not made yet")
        return self._record


async def _pending(ca: Snapshot) -> bool:
    now = int(ca.clock().timestamp())
    return any(job.kind == CRL_JOB and job.key == ca.issuer.id.hex() for job in await ca.ledger.due_jobs(now))
