"""Signer and store of the notary, with a clock beside them: for the metrics, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import final

from provisor.core.keys import PublicKey
from provisor.kms.base import Signer
from provisor.ports import Entry, EntryID, IssuerRecord, Ledger, Outcome, StoreHealth
from provisor.server.metrics import Metrics
from provisor.storage.base import Sign, Store


@final
class TimedSigner:
    """Counts signatures and failures of a signer, and how long they take."""

    def __init__(self, signer: Signer, metrics: Metrics) -> None:
        self._signer = signer
        self._metrics = metrics

    @property
    def public_key(self) -> PublicKey:
        return self._signer.public_key

    @property
    def signature_algorithms(self) -> tuple[bytes, ...]:
        return self._signer.signature_algorithms

    @property
    def costly(self) -> bool:
        return self._signer.costly

    @property
    def concurrency(self) -> int:
        return self._signer.concurrency

    def sign(self, data: bytes, signature_algorithm: bytes) -> bytes:
        began = perf_counter()
        try:
            signature = self._signer.sign(data, signature_algorithm)
        except BaseException:
            self._metrics.kms_errors.inc()
            raise
        self._metrics.sign_seconds.observe(perf_counter() - began)
        self._metrics.kms_signed.inc()
        return signature


@final
class TimedStore:
    """Tells how long commits take, signing in them included. See `storage.base.Store` for every method."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    async def commit(self, entries: Sequence[Entry], sign: Sign, *, now: int) -> list[Outcome]:
        began = perf_counter()
        try:
            return await self._store.commit(entries, sign, now=now)
        finally:
            self._metrics.store_commit_seconds.observe(perf_counter() - began)

    async def precheck(self, entries: Sequence[Entry], *, now: int) -> list[Outcome | None]:
        return await self._store.precheck(entries, now=now)

    async def find_outcome(self, entry: EntryID) -> Outcome | None:
        return await self._store.find_outcome(entry)

    async def issuers(self) -> list[IssuerRecord]:
        return await self._store.issuers()

    async def health(self) -> StoreHealth:
        return await self._store.health()

    async def touch(self, *, now: int) -> None:
        await self._store.touch(now=now)

    async def reopen(self) -> None:
        await self._store.reopen()

    async def close(self) -> None:
        await self._store.close()

    @property
    def ledger(self) -> Ledger:
        return self._store.ledger
