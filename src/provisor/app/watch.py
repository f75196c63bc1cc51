"""Gauges that nobody sets by working: looked up in the store and asked of the notary, a few times a minute.

What a job should have done is read from what the store lacks, not told by the job: one that hangs
would tell nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final, final

from provisor.authority.snapshot import Snapshot
from provisor.errors import Unavailable
from provisor.ports import Archive, EntryID
from provisor.server.metrics import Metrics

EVERY_SECONDS: Final = 5.0
_LOOKED_AT: Final = 10


@final
class Watch:
    """Of the process that runs the jobs."""

    def __init__(self, current: Callable[[], Snapshot], metrics: Metrics) -> None:
        self._current = current
        self._metrics = metrics
        self._crl: tuple[bytes, int] | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY_SECONDS)

    async def look(self) -> None:
        """Set every gauge once. Where the store cannot be read the rest keep what they were; `store_writable` tells."""
        ca = self._current()
        await self._look_at_writing(ca)
        try:
            await self._look_at_crl(ca)
            if ca.archive is not None:
                await self._look_at_lag(ca.archive, ca.clock())
        except Unavailable:
            return

    async def _look_at_writing(self, ca: Snapshot) -> None:
        """A notary that is away takes the store with it."""
        up = writable = False
        try:
            writable = (await ca.notary.health()).writable
            up = True
        except Unavailable:
            pass
        self._metrics.notary_up.set(up)
        self._metrics.store_writable.set(writable)

    async def _look_at_crl(self, ca: Snapshot) -> None:
        if not ca.config.crl.enabled:
            return
        number = await ca.ledger.find_crl_number(ca.issuer.id)
        if number is None or (ca.issuer.id, number) == self._crl:
            return
        record = await ca.ledger.find_crl(ca.issuer.id)
        if record is not None:
            self._crl = (ca.issuer.id, record.number)
            self._metrics.crl_next_update.set(record.next_update)

    async def _look_at_lag(self, archive: Archive, now: datetime) -> None:
        # Of events that are gone the store may not know the id.
        waiting = await archive.unsequenced(await archive.log_size(), _LOOKED_AT)
        known = [entry for entry, _ in waiting if entry]
        self._metrics.log_lag.set(_age(known[0], now) if known else 0)
        self._metrics.log_gaps.set(await archive.log_gaps())
        reach = await archive.index_reach()
        lacking = await archive.events(reach.indexed + 1, 1) if reach.indexed < reach.end else ()
        self._metrics.index_lag.set(_age(lacking[0].id, now) if lacking else 0)


def _age(entry: EntryID, now: datetime) -> float:
    """Seconds since an entry was made: its id begins with the milliseconds."""
    return max(0.0, now.timestamp() - int.from_bytes(entry[:6], "big") / 1000)
