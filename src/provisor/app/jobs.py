"""Leased background work: the revocation list, and forgetting tokens that are long over.

Every process that runs jobs may try; the fence of a job decides who does it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, final

from provisor.authority.lists import CRL_JOB, crl_due, refresh_crl
from provisor.authority.snapshot import Snapshot
from provisor.errors import Unavailable
from provisor.ports import DropSpentTokens, Entry, JobRecord, LeaseHeld, ScheduleJob, TakeLease, WakeJob, Write

PAUSE_SECONDS: Final = 0.1
"""Between two looks for due jobs: how late a revocation reaches the list, beside the list's own pace."""

_ASLEEP: Final = 10 * 365 * 24 * 3600

_CLEANING_JOB: Final = "forget-tokens"
_CLEANING_KEY: Final = "tokens"
_CLEANING_PERIOD: Final = 600
_CLEANING_LEASE: Final = 60
_CLEANING_BATCH: Final = 5000


async def schedule_first(ca: Snapshot) -> None:
    """Make due what every start begins with: a new list, and cleaning. Raises `Unavailable`."""
    now = int(ca.clock().timestamp())
    writes: tuple[Write, ...] = (WakeJob(_CLEANING_JOB, _CLEANING_KEY, now),)
    if ca.config.crl.enabled:
        writes = (*writes, crl_due(ca.issuer.id, now))
    await ca.notary.submit(Entry(id=ca.generate_id(ca.clock()), writes=writes))


@final
class JobRunner:
    """Runs what is due, one job after the other. `report` hears of what failed; the job is tried again."""

    def __init__(self, current: Callable[[], Snapshot], report: Callable[[str], None]) -> None:
        self._current = current
        self._report = report
        self._handlers: dict[str, Callable[[Snapshot, JobRecord], Awaitable[object]]] = {
            CRL_JOB: _crl,
            _CLEANING_JOB: _forget_tokens,
        }

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.run_due()
            except Unavailable as error:
                self._report(f"jobs: {error.detail}")
                await asyncio.sleep(1)
            await asyncio.sleep(PAUSE_SECONDS)

    async def run_due(self) -> None:
        """Everything that is due now and not leased. Raises `Unavailable`."""
        ca = self._current()
        now = int(ca.clock().timestamp())
        for job in await ca.ledger.due_jobs(now):
            handler = self._handlers.get(job.kind)
            if handler is not None and job.leased_until <= now:
                await handler(ca, job)


async def _crl(ca: Snapshot, job: JobRecord) -> None:
    """At most one list a second: one made within the present second would carry the same time as the last."""
    if not ca.config.crl.enabled or job.key != ca.issuer.id.hex():
        await _put_to_sleep(ca, job)
        return
    newest = await ca.ledger.find_crl(ca.issuer.id)
    if newest is None or newest.this_update < int(ca.clock().timestamp()):
        await refresh_crl(ca, job)


async def _put_to_sleep(ca: Snapshot, job: JobRecord) -> None:
    """Lists are switched off, or another issuer makes them now: whoever makes them again wakes the job."""
    moment = ca.clock()
    writes = (ScheduleJob(job.kind, job.key, int(moment.timestamp()) + _ASLEEP),)
    guards = (LeaseHeld(job.kind, job.key, job.fence),)
    await ca.notary.submit(Entry(id=ca.generate_id(moment), guards=guards, writes=writes))


async def _forget_tokens(ca: Snapshot, job: JobRecord) -> None:
    """Spent tokens whose own end lies behind them; the store refuses while its clock is in doubt."""
    moment = ca.clock()
    now = int(moment.timestamp())
    guards = (LeaseHeld(job.kind, job.key, job.fence),)
    lease = TakeLease(job.kind, job.key, now + _CLEANING_LEASE)
    if not (await ca.notary.submit(Entry(id=ca.generate_id(moment), guards=guards, writes=(lease,)))).committed:
        return
    writes = (DropSpentTokens(now, _CLEANING_BATCH), ScheduleJob(job.kind, job.key, now + _CLEANING_PERIOD))
    fenced = (LeaseHeld(job.kind, job.key, job.fence + 1),)
    await ca.notary.submit(Entry(id=ca.generate_id(moment), guards=fenced, writes=writes))
