"""The writing half of a store, as the notary uses it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from provisor.errors import Unavailable
from provisor.ports import Entry, EntryID, IssuerRecord, Ledger, Outcome, StoreHealth

CLOCK_TOLERANCE_SECONDS = 120
"""How far the clock may stand behind the store's high-water time before nothing is forgotten any more."""


class SignedCertificate(Struct, frozen=True):
    """The DER of a certificate, with its window in unix seconds."""

    der: bytes
    not_before: int
    not_after: int


class StoreFailed(Unavailable):
    """The database failed: full disk, read error, failed fsync. It must be reopened before the next commit.

    `uncertain`: the commit may have happened all the same; after reopening, its outcome is looked up.
    """

    def __init__(self, detail: str, *, uncertain: bool) -> None:
        super().__init__(detail)
        self.uncertain = uncertain


class Store(Protocol):
    """One writer. Not for use by several threads.

    An entry happens whole or not at all, and is durable when `commit` returns. Entries of a batch are
    judged in their order, so of twins the first wins. A bad entry fails alone. An entry whose id is
    recorded already is answered as committed, with its certificate, and nothing is done.
    """

    def precheck(self, entries: Sequence[Entry], *, now: int) -> list[Outcome | None]:
        """What would become of each entry, None if nothing stands against it. Writes nothing.

        Raises `StoreFailed`.
        """
        ...

    def commit(
        self, entries: Sequence[Entry], certificates: Sequence[SignedCertificate | None], *, now: int
    ) -> list[Outcome]:
        """One durable transaction; an outcome an entry, in their order.

        `certificates` has one for each entry that asks for a signature. `now` is in unix seconds and
        raises the high-water time. Raises `StoreFailed`, then nothing is written, or `uncertain`.
        """
        ...

    def find_outcome(self, entry: EntryID) -> Outcome | None:
        """The outcome of an entry that was committed. Raises `StoreFailed`."""
        ...

    def issuers(self) -> list[IssuerRecord]:
        """Every issuer that was ever made known. Raises `StoreFailed`."""
        ...

    def health(self) -> StoreHealth:
        """What the store says of itself. Raises `StoreFailed`."""
        ...

    def touch(self, *, now: int) -> None:
        """Write the high-water time durably: shows whether the store can be written. Raises `StoreFailed`."""
        ...

    def reopen(self) -> None:
        """Drop the connection and open another one; what is found there is durable. Raises `StoreFailed`."""
        ...

    def close(self) -> None: ...

    @property
    def ledger(self) -> Ledger:
        """The reading half, over the same connection."""
        ...
