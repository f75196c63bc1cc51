"""The cleaning job: forgets, a little at a time, what is over.

Every piece is a commit of its own, of some milliseconds, so that issuance goes on between two. A run is short
too: what is left over after it is the next run's, a second later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby
from typing import Final

from provisor.authority.projector import terms_of
from provisor.authority.snapshot import Snapshot
from provisor.core.durations import SECOND, Duration
from provisor.core.terms import expiring
from provisor.errors import Unavailable
from provisor.ports import (
    Archive,
    DropEvents,
    DropExpired,
    DropReceipts,
    DropSpentTokens,
    Entry,
    Guard,
    InventoryRow,
    JobRecord,
    LeaseHeld,
    ScheduleJob,
    TakeLease,
    WakeJob,
    Write,
)

CLEANING_JOB: Final = "forget-tokens"
_KEY: Final = "tokens"

TOKENS_KEPT: Final = 600
"""Seconds after its end. A token is taken for a while longer (`check_times`), so it is remembered for longer still."""

_RECEIPTS_KEPT: Final = 3600

_PERIOD: Final = 600
_LEASE: Final = 60
_PIECES: Final = 6
"""Commits of a run, after which other jobs have their turn."""

_PAUSE_SECONDS: Final = 0.02
_TOKENS: Final = 2000
_RECEIPTS: Final = 2000
_CERTIFICATES: Final = 40
_EVENTS: Final = 300
"""Of one commit: some milliseconds of the notary."""


def cleaning_due(at: int) -> WakeJob:
    """The write that has the job run at this time (unix seconds)."""
    return WakeJob(CLEANING_JOB, _KEY, at)


async def clean(ca: Snapshot, job: JobRecord) -> None:
    """One run, if the lease is free. Raises `Unavailable`. The store refuses while its clock is in doubt."""
    now = int(ca.clock().timestamp())
    if not await _submit(ca, job.fence, job, TakeLease(job.kind, job.key, now + _LEASE)):
        return
    fence = job.fence + 1
    more = False
    for _ in range(_PIECES):
        writes, more = await _find_work(ca, now)
        if not writes or not await _submit(ca, fence, job, *writes) or not more:
            break
        await asyncio.sleep(_PAUSE_SECONDS)
    following = ScheduleJob(job.kind, job.key, now + (1 if more else _PERIOD))
    await _submit(ca, fence, job, *_last_writes(ca, now), following)


def _last_writes(ca: Snapshot, now: int) -> Sequence[Write]:
    """Of every run, whatever was left over: a store may only now drop whole days and months."""
    events_before = _before(ca.config.provisor.retention.events, now)
    tokens = DropSpentTokens(now - TOKENS_KEPT, _TOKENS)
    return (tokens,) if events_before is None else (tokens, DropEvents(events_before, _EVENTS))


async def _submit(ca: Snapshot, fence: int, job: JobRecord, *writes: Write) -> bool:
    """Whether it was committed, under the lease."""
    guards: tuple[Guard, ...] = (LeaseHeld(job.kind, job.key, fence),)
    outcome = await ca.notary.submit(Entry(id=ca.generate_id(ca.clock()), guards=guards, writes=writes))
    if outcome.status == "unavailable":
        raise Unavailable(f"cleaning: {outcome.reason}")
    return outcome.committed


async def _find_work(ca: Snapshot, now: int) -> tuple[Sequence[Write], bool]:
    """What to forget in the next commit, of one kind only; and whether there may be more behind it."""
    tokens = DropSpentTokens(now - TOKENS_KEPT, _TOKENS)
    receipts = DropReceipts(now - _RECEIPTS_KEPT, _RECEIPTS)
    if ca.archive is None:
        return (receipts,), False
    kept = ca.config.provisor.retention
    events_before = _before(kept.events, now)
    left = await ca.archive.leftovers(tokens=tokens.before, receipts=receipts.before, events=events_before)
    if left.tokens:
        return (tokens,), True
    if left.receipts:
        return (receipts,), True
    before = _before(kept.certificates, now)
    if before is not None and (expired := await _find_expired(ca.archive, before, events_before)):
        return expired, True
    if left.events and events_before is not None:
        return (DropEvents(events_before, _EVENTS),), True
    return (), False


def _before(kept: Duration | None, now: int) -> int | None:
    return None if kept is None else now - kept // SECOND


async def _find_expired(archive: Archive, before: int, events_before: int | None) -> Sequence[Write]:
    """Certificates by their ends, the oldest first: what the index does not know is not over for long."""
    bounds = expiring(None, before)
    rows = await archive.issued_in_range(bounds.low, bounds.high, None, _CERTIFICATES)
    by_issuer = groupby(rows, key=lambda row: row.certificate.issuer)
    return [_drop(list(some), before, events_before) for _, some in by_issuer]


def _drop(rows: Sequence[InventoryRow], before: int, events_before: int | None) -> DropExpired:
    return DropExpired(
        issuer=rows[0].certificate.issuer,
        before=before,
        certificates=tuple((row.certificate.serial, row.place or 0) for row in rows),
        terms=tuple((term, row.place or 0) for row in rows for term in {row.term, *terms_of(row)}),
        events_before=events_before,
    )
