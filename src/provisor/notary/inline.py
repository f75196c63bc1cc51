"""The notary in one's own process, and the heart of the one that has its own.

Whatever arrives while a batch is written makes up the next batch: requests share a commit, and nobody
waits for company. Entries for a costly key wait outside until it has signed them; the others go on.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, final

from provisor.errors import OutcomeUnknown, ProvisorError
from provisor.kms.base import Signer
from provisor.notary.keyring import GateRules, Keyring
from provisor.notary.notary import UNKNOWN, Admitted, NotaryCore, failed_outcome
from provisor.notary.signers import PoolLimits, SignerPool
from provisor.ports import Entry, EntryID, IssuerID, Ledger, Outcome, StoreHealth
from provisor.storage.base import SignedCertificate

MAX_BATCH: Final = 256
MAX_WAITING: Final = 8192

Done = Callable[[Outcome], None]


class _Job:
    """An entry on its way, and who wants to know."""

    __slots__ = ("callbacks", "elsewhere", "entry", "signed")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.callbacks: list[Done] = []
        self.signed: SignedCertificate | None = None
        self.elsewhere = False


@final
class InlineNotary:
    """`ports.Notary` on the running loop. One batch is under way at a time."""

    def __init__(
        self,
        core: NotaryCore,
        *,
        pool_limits: PoolLimits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._core = core
        self._limits = pool_limits or PoolLimits()
        self._monotonic = monotonic
        self._pools: dict[int, tuple[Signer, SignerPool]] = {}
        self._jobs: dict[EntryID, _Job] = {}
        self._arrived: deque[_Job] = deque()
        self._signed: deque[_Job] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: asyncio.Task[None] | None = None
        self._committing = asyncio.Lock()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def ledger(self) -> Ledger:
        """Reading over the notary's own connection: the only way when the store is in memory."""
        return self._core.store.ledger

    async def install(
        self,
        keyring: Keyring,
        rules: GateRules,
        *,
        above: int = 0,
        configuration: str = "",
        event: bytes | None = None,
    ) -> int:
        """See `NotaryCore.install`. Signatures under way by keys that are gone are refused for their epoch."""
        async with self._committing:
            epoch = await self._core.install(keyring, rules, above=above, configuration=configuration, event=event)
        kept = {id(signing.signer) for signing in keyring.values()}
        for key in [key for key in self._pools if key not in kept]:
            self._pools.pop(key)[1].close()
        return epoch

    async def submit(self, entry: Entry) -> Outcome:
        """See `Notary.submit`. The entry goes on even if the caller gives up."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.enqueue(entry, lambda outcome: None if future.done() else future.set_result(outcome))
        return checked(await future)

    def enqueue(self, entry: Entry, done: Done) -> None:
        """Begin; `done` is called once with the outcome, whose status may be `UNKNOWN`.

        An entry that is under way already is not begun again: both callers get the one outcome.
        """
        job = self._jobs.get(entry.id)
        if job is not None and job.entry != entry:
            done(Outcome(entry.id, "rejected", reason="the id belongs to another entry"))
            return
        if job is None:
            if len(self._jobs) >= MAX_WAITING:
                done(Outcome(entry.id, "unavailable", reason="too many requests are waiting"))
                return
            job = self._jobs[entry.id] = _Job(entry)
            self._arrived.append(job)
            self._idle.clear()
            self._schedule()
        job.callbacks.append(done)

    async def find_outcome(self, entry: EntryID) -> Outcome | None:
        """The outcome of an entry, waiting for it if it is under way; None if nothing was or will be written.

        Raises `OutcomeUnknown`, `Unavailable`.
        """
        job = self._jobs.get(entry)
        if job is not None:
            future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            job.callbacks.append(lambda outcome: None if future.done() else future.set_result(outcome))
            outcome = checked(await future)
            return outcome if outcome.committed else None
        return await self._core.store.find_outcome(entry)

    async def sign_crl(self, issuer: IssuerID, tbs: bytes) -> bytes:
        """See `Notary.sign_crl`. Raises `Forbidden` for bytes that are no CRL of this issuer."""
        signing = self._core.find_signing(issuer)
        if signing is None or not signing.signer.costly:
            return self._core.sign_list(issuer, tbs)
        return await self._pool(signing.signer).run(lambda: self._core.sign_list(issuer, tbs))

    async def sign_head(self, issuer: IssuerID, text: bytes) -> bytes:
        """See `Notary.sign_head`. Raises `Forbidden` for what is not the next head of the log."""
        signing = self._core.admit_head(issuer, text)
        if signing is None:
            return b""
        if not signing.signer.costly:
            return self._core.sign_admitted_head(signing, text)
        return await self._pool(signing.signer).run(lambda: self._core.sign_admitted_head(signing, text))

    async def health(self) -> StoreHealth:
        """See `NotaryCore.health`: the answer of who can write."""
        async with self._committing:
            return await self._core.health()

    async def drain(self) -> None:
        """Wait until every entry that was begun has its outcome."""
        await self._idle.wait()

    def close(self) -> None:
        """Let the threads go. The store belongs to who opened it."""
        for _, pool in self._pools.values():
            pool.close()
        self._pools.clear()

    # -- batches --------------------------------------------------------------------------------

    def _schedule(self) -> None:
        if self._runner is None:
            self._runner = asyncio.get_running_loop().create_task(self._run())
            self._runner.add_done_callback(self._stopped)

    async def _run(self) -> None:
        while self._arrived or self._signed:
            async with self._committing:
                await self._turn(_take(self._signed), _take(self._arrived))
            # Whatever came meanwhile is read now, and makes up the next batch.
            await asyncio.sleep(0)

    def _stopped(self, runner: asyncio.Task[None]) -> None:
        self._runner = None
        if runner.cancelled():
            return
        fault = runner.exception()
        if fault is not None:
            runner.get_loop().call_exception_handler({"message": "fault in the notary", "exception": fault})
        if self._arrived or self._signed:
            self._schedule()

    async def _turn(self, signed: Sequence[_Job], arrived: Sequence[_Job]) -> None:
        """One batch: what has arrived, and what costly keys have signed meanwhile."""
        try:
            ready = list(signed)
            costly: list[_Job] = []
            for job in arrived:
                (costly if self._core.is_costly(job.entry) else ready).append(job)
            if costly:
                await self._send_elsewhere(costly)
            outcomes = await self._core.commit([job.entry for job in ready], [job.signed for job in ready])
            for job, outcome in zip(ready, outcomes, strict=True):
                self._finish(job, outcome)
        finally:
            # Only after a fault of ours: nobody is left waiting for an answer that will not come.
            for job in (*signed, *arrived):
                if not job.elsewhere and self._jobs.get(job.entry.id) is job:
                    self._finish(job, Outcome(job.entry.id, UNKNOWN, reason="fault in the notary"))

    async def _send_elsewhere(self, jobs: Sequence[_Job]) -> None:
        """Have these signed without holding up the others; what is decided already ends here."""
        for job, verdict in zip(jobs, await self._core.examine([job.entry for job in jobs]), strict=True):
            if isinstance(verdict, Outcome):
                self._finish(job, verdict)
                continue
            job.elsewhere = True
            task = asyncio.get_running_loop().create_task(self._sign_elsewhere(job, verdict))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _sign_elsewhere(self, job: _Job, admitted: Admitted) -> None:
        outcome = Outcome(job.entry.id, "unavailable", reason="the key failed")
        try:
            job.signed = await self._pool(admitted.signing.signer).run(lambda: self._core.sign(admitted))
        except ProvisorError as error:
            outcome = failed_outcome(job.entry.id, error)
        finally:
            job.elsewhere = False
            if job.signed is None:
                self._finish(job, outcome)
            else:
                self._signed.append(job)
                self._schedule()

    def _finish(self, job: _Job, outcome: Outcome) -> None:
        del self._jobs[job.entry.id]
        if not self._jobs:
            self._idle.set()
        for done in job.callbacks:
            done(outcome)

    def _pool(self, signer: Signer) -> SignerPool:
        if id(signer) not in self._pools:
            pool = SignerPool(self._limits, threads=signer.concurrency, monotonic=self._monotonic)
            self._pools[id(signer)] = signer, pool
        return self._pools[id(signer)][1]


def checked(outcome: Outcome) -> Outcome:
    """The outcome, unless nobody knows it. Raises `OutcomeUnknown`."""
    if outcome.status == UNKNOWN:
        raise OutcomeUnknown(f"commit failed and its outcome cannot be looked up: {outcome.reason}")
    return outcome


def _take(jobs: deque[_Job]) -> Sequence[_Job]:
    return [jobs.popleft() for _ in range(min(len(jobs), MAX_BATCH))]
