"""Background work: the revocation list, the order of the audit log, the inventory's index, and forgetting.

Every process that runs jobs may try; the fence of a job decides who does it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Final, final

from provisor.app.retention import CLEANING_JOB, clean, cleaning_due
from provisor.authority.lists import CRL_JOB, crl_due, refresh_crl
from provisor.authority.log import LOG_JOB, Sequencer, log_due
from provisor.authority.projector import Projector
from provisor.authority.snapshot import Snapshot
from provisor.errors import Unavailable
from provisor.ports import Entry, JobRecord, LeaseHeld, ScheduleJob, Write
from provisor.server.metrics import Metrics

PAUSE_SECONDS: Final = 0.1
"""Between two looks for due jobs: how late a revocation reaches the list, beside the list's own pace."""

_ASLEEP: Final = 10 * 365 * 24 * 3600


async def schedule_first(ca: Snapshot) -> None:
    """Make due what every start begins with: a new list, cleaning, and the log. Raises `Unavailable`."""
    now = int(ca.clock().timestamp())
    writes: tuple[Write, ...] = (cleaning_due(now), log_due(now))
    if ca.config.crl.enabled:
        writes = (*writes, crl_due(ca.issuer.id, now))
    await ca.notary.submit(Entry(id=ca.generate_id(ca.clock()), writes=writes))


@final
class JobRunner:
    """Runs what is due, one job after the other. `report` hears of what failed; the job is tried again."""

    def __init__(
        self, current: Callable[[], Snapshot], report: Callable[[str], None], metrics: Metrics | None = None
    ) -> None:
        self._current = current
        self._report = report
        self._metrics = metrics or Metrics()
        self._sequencer = Sequencer(report)
        self._projector = Projector()
        self._handlers: dict[str, Callable[[Snapshot, JobRecord], Awaitable[object]]] = {
            CRL_JOB: _crl,
            CLEANING_JOB: clean,
        }
        for kind in self._handlers:
            self._metrics.jobs_failed.inc(kind, by=0)

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
            if job.kind == LOG_JOB:
                # Goes on under the lease that it has.
                await self._sequencer.run(ca, job)
            handler = self._handlers.get(job.kind)
            if handler is not None and job.leased_until <= now:
                with self._timed(job.kind):
                    await handler(ca, job)
        await self._projector.advance(ca)

    @contextmanager
    def _timed(self, kind: str) -> Iterator[None]:
        """Tells the metrics of a run, and whether it failed."""
        began = perf_counter()
        try:
            yield
        except Exception:
            self._metrics.jobs_failed.inc(kind)
            raise
        self._metrics.job_seconds.observe(perf_counter() - began, kind)


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
